/* Threads that live briefly: each allocates some blocks, frees those of the thread before it, and leaves its own to the
   next. Usage: threads COUNT. */
#include "bench.h"

enum { BLOCKS = 200, TOGETHER = 4 };

typedef struct {
    void *blocks[BLOCKS];
    uint64_t seed, sum;
} Life;

static void *live(void *argument) {
    Life *life = (Life *)argument;
    Random random = seeded(life->seed++);
    for (int i = 0; i < BLOCKS; i++) {
        if (life->blocks[i] != NULL) {
            life->sum += word(life->blocks[i]);
            free(life->blocks[i]);
        }
        size_t size = realistic(&random);
        life->blocks[i] = filled(block(size), size, life->seed);
    }
    return NULL;
}

int main(int argc, char **argv) {
    must(argc == 2);
    static Life lives[TOGETHER];
    pthread_t threads[TOGETHER];
    uint64_t sum = 0;
    for (uint64_t i = 0; i < number(argv[1]) / TOGETHER; i++) {
        for (int k = 0; k < TOGETHER; k++) {
            threads[k] = started(live, &lives[k]);
        }
        for (int k = 0; k < TOGETHER; k++) {
            joined(threads[k]);
        }
    }
    for (int k = 0; k < TOGETHER; k++) {
        sum += lives[k].sum;
        for (int i = 0; i < BLOCKS; i++) {
            free(lives[k].blocks[i]);
        }
    }
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
