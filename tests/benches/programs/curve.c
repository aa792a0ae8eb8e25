/* What an operation costs while much is live. Usage: curve MEBIBYTES OPERATIONS.
   So many MiB of small blocks are taken; then random ones are replaced. Prints nanoseconds per replacement. */
#include "bench.h"

enum { CHOICES = 1 << 16 };

int main(int argc, char **argv) {
    must(argc == 3);
    uint64_t wanted = number(argv[1]) << 20, operations = number(argv[2]);
    Random random = seeded(11);
    static uint16_t sizes[CHOICES];
    uint64_t sum = 0;
    for (int i = 0; i < CHOICES; i++) {
        size_t size = realistic(&random);
        sizes[i] = (uint16_t)(size < 1024 ? size : 1024);
        sum += sizes[i];
    }
    uint64_t count = wanted / (sum / CHOICES) + 1;
    void **blocks = (void **)block(count * sizeof *blocks);
    for (uint64_t i = 0; i < count; i++) {
        blocks[i] = block(sizes[i % CHOICES]);
        memcpy(blocks[i], &i, 8);
    }
    double start = now();
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t at = below(&random, count);
        free(blocks[at]);
        blocks[at] = block(sizes[(i + at) % CHOICES]);
        memcpy(blocks[at], &i, 8);
    }
    printf("%.3f\n", (now() - start) * 1e9 / (double)operations);
    fflush(stdout);
    /* Freeing all of it is not what is asked here. */
    _exit(0);
}
