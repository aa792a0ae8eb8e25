/* Blocks from 16 KiB to 4 MiB, few live at a time, replaced at random; their pages are written.
   Usage: large REPLACEMENTS. */
#include "bench.h"

enum { SLOTS = 24 };

int main(int argc, char **argv) {
    must(argc == 2);
    Random random = seeded(9);
    void *table[SLOTS] = {0};
    uint64_t sum = 0;
    for (uint64_t i = 0; i < number(argv[1]); i++) {
        uint64_t slot = below(&random, SLOTS);
        if (table[slot] != NULL) {
            sum += word(table[slot]);
            free(table[slot]);
        }
        /* As many blocks in every doubling. */
        uint64_t base = 16384u << below(&random, 8);
        uint64_t size = base + below(&random, base);
        char *fresh = (char *)block(size);
        for (uint64_t at = 0; at + 8 <= size; at += 4096) {
            memcpy(fresh + at, &i, 8);
        }
        table[slot] = fresh;
    }
    for (int i = 0; i < SLOTS; i++) {
        free(table[i]);
    }
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
