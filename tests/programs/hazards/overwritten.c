/* Writes into freed blocks, after which malloc must not return what the writer chose: neither an address of his, nor a
   block that somebody holds. Noticing it, or not being touched by it, are both good. */
#include "hazard.h"

static char target[1 << 16] __attribute__((aligned(4096)));

static void look(char **held, int count, size_t size) {
    static char *got[400];
    for (int i = 0; i < 400; i++) {
        got[i] = malloc(size);
        must(got[i] != NULL);
        if (got[i] >= target - size && got[i] < target + sizeof target) {
            chosen(got[i]);
        }
        for (int k = 0; k < count; k++) {
            if (got[i] == held[k]) {
                chosen(got[i]);
            }
        }
        for (int k = 0; k < i; k++) {
            if (got[i] == got[k]) {
                chosen(got[i]);
            }
        }
    }
}

enum { HELD = 32 };

/* Frees every other of some blocks, writes `value` over the first words of the freed, and allocates. */
static void overwrite(size_t size, uintptr_t value, int words) {
    char *held[HELD];
    for (int i = 0; i < HELD; i++) {
        held[i] = take(size);
    }
    for (int i = 1; i < HELD; i += 2) {
        free(held[i]);
    }
    for (int i = 1; i < HELD; i += 2) {
        for (int word = 0; word < words; word++) {
            memcpy(held[i] + 8 * word, &value, 8);
        }
        held[i] = held[0];
    }
    look(held, HELD, size);
}

HAZARD(overwritten, pointer_in_16, "") { overwrite(16, (uintptr_t)target + 4096, 1); }
HAZARD(overwritten, pointer_in_64, "") { overwrite(64, (uintptr_t)target + 4096, 1); }
HAZARD(overwritten, pointer_in_100, "") { overwrite(100, (uintptr_t)target + 4096, 1); }
HAZARD(overwritten, pointer_all_over_256, "") { overwrite(256, (uintptr_t)target + 4096, 32); }
HAZARD(overwritten, pointer_all_over_1_kib, "") { overwrite(1024, (uintptr_t)target + 4096, 128); }
HAZARD(overwritten, pointer_all_over_4_kib, "") { overwrite(4096, (uintptr_t)target + 4096, 512); }
HAZARD(overwritten, pointer_all_over_100_kib, "") { overwrite(100 << 10, (uintptr_t)target + 4096, 12800); }

/* The last freed block of a size leads to itself. */
HAZARD(overwritten, loop, "") {
    char *block = take(64), *held[1] = {NULL};
    free(block);
    memcpy(block, &block, 8);
    look(held, 0, 64);
}

/* Leads to a block of the same size that is in use. */
HAZARD(overwritten, live_block, "") {
    char *live = take(64), *block = take(64);
    free(block);
    memcpy(block, &live, 8);
    look(&live, 1, 64);
}

/* Allocators that keep distances instead of pointers. */
static void distance(uintptr_t step, uintptr_t limit) {
    for (uintptr_t value = 0; value < limit; value += step) {
        char *held[8];
        for (int i = 0; i < 8; i++) {
            held[i] = take(48);
        }
        free(held[7]);
        memcpy(held[7], &value, 8);
        held[7] = held[0];
        for (int i = 0; i < 8; i++) {
            char *got = malloc(48);
            must(got != NULL);
            for (int k = 0; k < 8; k++) {
                if (got == held[k] && k != 7) {
                    chosen(got);
                }
            }
        }
    }
}

HAZARD(overwritten, small_numbers, "") { distance(1, 200); }
HAZARD(overwritten, small_offsets, "") { distance(48, 20000); }

HAZARD(overwritten, freed_elsewhere, "") {
    char *live = take(64), *block = take(64);
    in_a_thread(free_it, block);
    memcpy(block, &live, 8);
    look(&live, 1, 64);
}

/* Zeroed memory must be zero also where a freed block was written to. */
HAZARD(overwritten, zeroed_after, "") {
    for (size_t size = 16; size < 4 << 20; size *= 3) {
        char *block = take(size);
        free(block);
        memset(block + size / 2, 0x5a, size / 4);
        char *zeroed = calloc(1, size);
        must(zeroed != NULL);
        for (size_t i = 0; i < size; i++) {
            must(zeroed[i] == 0);
        }
    }
}

/* A block that runs over into its freed neighbour. */
HAZARD(overwritten, by_an_overflow, "") {
    char *blocks[HELD];
    for (int i = 0; i < HELD; i++) {
        blocks[i] = take(64);
    }
    free(blocks[5]);
    uintptr_t value = (uintptr_t)target + 4096;
    for (size_t at = 64; at + 8 <= 160; at += 8) {
        if (blocks[4] + at >= blocks[5] && blocks[4] + at < blocks[5] + 64) {
            memcpy(blocks[4] + at, &value, 8);
        }
    }
    blocks[5] = blocks[0];
    look(blocks, HELD, 64);
}
