/* Blocks overwritten as a whole, far beyond what was requested.
   live: all blocks live. free: every second one is free, so what is overwritten may be the free list itself. */
#include "handshake.h"
#include <malloc.h>

enum { SIZES = 6, BLOCKS = 2000, ALL = SIZES * BLOCKS };

static const size_t sizes[SIZES] = {16, 48, 112, 1000, 5000, 40000};
static unsigned char *blocks[ALL];

static int by_address(const void *a, const void *b) {
    uintptr_t x = (uintptr_t) * (unsigned char *const *)a, y = (uintptr_t) * (unsigned char *const *)b;
    return x < y ? -1 : x > y;
}

static void allocate(int size) {
    for (int i = 0; i < BLOCKS; i++) {
        blocks[size * BLOCKS + i] = malloc(sizes[size] - 3);
        must(blocks[size * BLOCKS + i] != NULL);
    }
}

/* Everything up to the next block, where that is a neighbour. */
static void smash(int size) {
    unsigned char **of_size = blocks + size * BLOCKS;
    /* Sorting in place allocates nothing: a simple shell sort. */
    for (int gap = BLOCKS / 2; gap; gap /= 2) {
        for (int i = gap; i < BLOCKS; i++) {
            for (int j = i; j >= gap && by_address(&of_size[j - gap], &of_size[j]) > 0; j -= gap) {
                unsigned char *swapped = of_size[j];
                of_size[j] = of_size[j - gap];
                of_size[j - gap] = swapped;
            }
        }
    }
    for (int i = 0; i + 1 < BLOCKS; i++) {
        size_t distance = (size_t)(of_size[i + 1] - of_size[i]);
        memset(of_size[i], 0xff, distance <= sizes[size] * 5 / 4 ? distance : sizes[size] - 3);
    }
}

static void live(void) {
    pause_here("ready");
    for (int size = 0; size < SIZES; size++) {
        allocate(size);
        smash(size);
    }
    for (int i = 0; i < ALL; i++) {
        free(blocks[(i * 7919l) % ALL]);
    }
    pause_here("freed");
}

static void freed(void) {
    for (int size = 0; size < SIZES - 1; size++) {
        allocate(size);
        for (int i = 1; i < BLOCKS; i += 2) {
            free(blocks[size * BLOCKS + i]);
        }
        for (int i = 1; i < BLOCKS; i += 2) { /* written after the free */
            memset(blocks[size * BLOCKS + i], 0x41, sizes[size] - 3);
        }
    }
    /* Whatever is handed out now must be a block of its own. */
    for (int size = 0; size < SIZES - 1; size++) {
        unsigned char **of_size = blocks + size * BLOCKS;
        for (int i = 1; i < BLOCKS; i += 2) {
            of_size[i] = malloc(sizes[size] - 3);
            must(of_size[i] != NULL && (uintptr_t)of_size[i] % 16 == 0);
        }
        for (int i = 0; i < BLOCKS; i++) {
            memset(of_size[i], 0, sizes[size] - 3);
            memcpy(of_size[i], &i, sizeof i);
        }
        for (int i = 0; i < BLOCKS; i++) {
            must(memcmp(of_size[i], &i, sizeof i) == 0);
        }
    }
    for (int i = 0; i < ALL - BLOCKS; i++) {
        free(blocks[i]);
    }
}

int main(int count, char **arguments) {
    must(count == 2);
    strcmp(arguments[1], "live") == 0 ? live() : freed();
    return 0;
}
