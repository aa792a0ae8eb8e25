/* Batches of blocks of realistic sizes, freed in the order they came, the other way round, or at random.
   Usage: batch fifo|lifo|random BATCHES. */
#include "bench.h"

enum { BATCH = 25000 };

int main(int argc, char **argv) {
    must(argc == 3);
    char order_wanted = argv[1][0];
    must(order_wanted == 'f' || order_wanted == 'l' || order_wanted == 'r');
    uint64_t batches = number(argv[2]), sum = 0;
    static void *blocks[BATCH];
    static uint32_t order[BATCH], sizes[BATCH];
    Random random = seeded(3);
    shuffled(order, BATCH, &random);
    for (int i = 0; i < BATCH; i++) {
        order[i] = order_wanted == 'f' ? (uint32_t)i : order_wanted == 'l' ? (uint32_t)(BATCH - 1 - i) : order[i];
        size_t size = realistic(&random);
        sizes[i] = (uint32_t)(size < 1024 ? size : 1024);
    }
    for (uint64_t batch = 0; batch < batches; batch++) {
        for (int i = 0; i < BATCH; i++) {
            blocks[i] = filled(block(sizes[i]), sizes[i], batch + (uint64_t)i);
        }
        for (int i = 0; i < BATCH; i++) {
            sum += word(blocks[order[i]]);
            free(blocks[order[i]]);
        }
    }
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
