/* Frees memory that is locked, in runs of two lengths, and other memory after it; then has all given back. */
#include "handshake.h"
#include <malloc.h>
#include <sys/mman.h>

enum { SHORT = 1 << 20, LONG = 100 << 20, OTHERS = 16 };

static char *filled(size_t size) {
    char *block = malloc(size);
    must(block != NULL);
    memset(block, 1, size);
    return block;
}

int main(void) {
    char *brief = filled(SHORT), *between = filled(40000), *full = filled(LONG), *behind = filled(40000);
    char *others[OTHERS];
    for (int i = 0; i < OTHERS; i++) {
        others[i] = filled(SHORT);
    }
    if (mlock(brief, SHORT) != 0 || mlock(full, LONG) != 0) {
        say("no right to lock");
        return 0;
    }
    free(brief);
    free(full);
    for (int i = 0; i < OTHERS; i++) {
        free(others[i]);
    }
    malloc_trim(0);
    pause_here("%d", SHORT + LONG);
    free(between);
    free(behind);
    return 0;
}
