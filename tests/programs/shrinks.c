/* Under a limit on address space: a large block that shrinks after all address space has been used up gives its memory
   back, and keeps its contents. */
#include "handshake.h"
#include <malloc.h>

enum { MOST = 8192, SMALL = 70000, KEPT = 100000 };

static const size_t LARGE = (80 << 20) + 5000;
static void *blocks[MOST];

static size_t resident(void) {
    unsigned long all = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    must(file != NULL && fscanf(file, "%lu %lu", &all, &pages) == 2);
    fclose(file);
    return pages * (size_t)getpagesize();
}

int main(void) {
    unsigned char *large = malloc(LARGE);
    must(large != NULL);
    memset(large, 7, LARGE);
    size_t before = resident();
    int count = 0;
    while (count < MOST && (blocks[count] = malloc(SMALL)) != NULL) {
        count++;
    }
    must(count > 0 && count < MOST);
    while (count > 0) {
        free(blocks[--count]);
    }
    large = realloc(large, KEPT);
    must(large != NULL);
    for (int at = 0; at < KEPT; at++) {
        must(large[at] == 7);
    }
    must(malloc_trim(0) >= 0);
    size_t after = resident();
    must(before > LARGE && after + (64 << 20) < before);
    /* And it grows again. */
    must((large = realloc(large, LARGE / 2)) != NULL);
    memset(large + KEPT, 8, LARGE / 2 - KEPT);
    must(large[KEPT - 1] == 7);
    free(large);
    say("shrunk");
    return 0;
}
