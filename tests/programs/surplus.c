/* Frees much in blocks that are each too small to have anything given back for them; then one that is not; then as much as
   that again and again. */
#include "handshake.h"

enum { MUCH = 200 << 20, SMALL = 400 << 10, LARGE = 1 << 20, BLOCKS = MUCH / SMALL, AGAIN = 40 };

static void *filled(size_t size) {
    void *block = malloc(size);
    must(block != NULL);
    return memset(block, 1, size);
}

int main(void) {
    static void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = filled(SMALL);
    }
    void *larges[AGAIN + 1];
    for (int i = 0; i <= AGAIN; i++) {
        larges[i] = filled(LARGE);
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
    pause_here("freed");
    free(larges[AGAIN]);
    pause_here("one more");
    for (int i = 0; i < AGAIN; i++) {
        free(larges[i]);
    }
    pause_here("all");
    return 0;
}
