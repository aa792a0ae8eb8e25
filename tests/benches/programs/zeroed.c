/* Zeroed tables of all sizes, sparsely used: every one is checked where it is written. Usage: zeroed TABLES. */
#include "bench.h"

enum { SLOTS = 512 };

int main(int argc, char **argv) {
    must(argc == 2);
    Random random = seeded(10);
    char *table[SLOTS] = {0};
    uint64_t sum = 0;
    for (uint64_t i = 0; i < number(argv[1]); i++) {
        uint64_t slot = below(&random, SLOTS);
        free(table[slot]);
        /* One in 200 is large. */
        size_t size = below(&random, 200) ? realistic(&random) : 100000 + below(&random, 1000000);
        table[slot] = (char *)calloc(1, size);
        must(table[slot] != NULL);
        for (int k = 0; k < 4; k++) {
            uint64_t at = below(&random, size);
            sum += table[slot][at] == 0 || k > 0;
            table[slot][at] = 1;
        }
    }
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
