/* A program with a malloc of its own, which looks for its settings at its first call, and whose free may not be called before
   the program has begun. Says what the setting was. */
#include "handshake.h"
#include <stdbool.h>

static char arena[1 << 20];
static size_t used;
static bool asked, begun;
static char setting[32] = "(unset)";

void *malloc(size_t size) {
    if (!asked) {
        asked = true;
        const char *found = getenv("EARLY");
        if (found != NULL) {
            strncpy(setting, found, sizeof setting - 1);
        }
    }
    char *block = arena + used;
    used += (size + 31) & ~(size_t)15;
    must(used <= sizeof arena);
    return block;
}

void free(void *block) {
    must(begun || block == NULL);
}

void *calloc(size_t count, size_t size) {
    return malloc(count * size);
}

void *realloc(void *block, size_t size) {
    char *moved = malloc(size);
    if (block != NULL) {
        memcpy(moved, block, size);
    }
    return moved;
}

/* Before the one that `handshake.h` has. */
__attribute__((constructor(101))) static void begin(void) {
    begun = true;
}

int main(void) {
    free(malloc(1));
    say("%s", setting);
    return 0;
}
