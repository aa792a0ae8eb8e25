/* Realistic sizes, random lifetimes: each thread keeps a table of blocks and replaces one at random, some blocks very
   soon, others late. Usage: mixed THREADS REPLACEMENTS (of all threads together). */
#include "bench.h"

enum { SLOTS = 20000, YOUNG = 64 };

typedef struct {
    uint64_t seed, replacements, sum;
} Task;

static void *work(void *argument) {
    Task *task = (Task *)argument;
    Random random = seeded(task->seed);
    /* Tasks share lines, and shall not while they are at work. */
    uint64_t replacements = task->replacements, sum = 0;
    void **table = (void **)calloc(SLOTS, sizeof *table);
    must(table != NULL);
    for (uint64_t i = 0; i < replacements; i++) {
        /* Three of four go into the few places whose blocks die young. */
        uint64_t slot = below(&random, 4) ? below(&random, YOUNG) : below(&random, SLOTS);
        if (table[slot] != NULL) {
            sum += word(table[slot]);
            free(table[slot]);
        }
        size_t size = realistic(&random);
        table[slot] = filled(block(size), size, i);
    }
    for (int i = 0; i < SLOTS; i++) {
        free(table[i]);
    }
    free(table);
    task->sum = sum;
    return NULL;
}

int main(int argc, char **argv) {
    must(argc == 3);
    uint64_t threads = number(argv[1]), sum = 0;
    Task tasks[64];
    pthread_t running[64];
    must(threads >= 1 && threads <= 64);
    for (uint64_t i = 0; i < threads; i++) {
        tasks[i] = (Task){i + 1, number(argv[2]) / threads, 0};
    }
    if (threads == 1) {
        work(&tasks[0]);
    } else {
        for (uint64_t i = 0; i < threads; i++) {
            running[i] = started(work, &tasks[i]);
        }
        for (uint64_t i = 0; i < threads; i++) {
            joined(running[i]);
        }
    }
    for (uint64_t i = 0; i < threads; i++) {
        sum += tasks[i].sum;
    }
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
