/* Threads put blocks into common places and free what lay there, by atomic exchange: every block may be freed by any
   thread. Usage: exchange THREADS EXCHANGES (of all threads together). */
#include "bench.h"

enum { PLACES = 4096, MOST = 64 };

static void *places[PLACES];

typedef struct {
    uint64_t seed, exchanges, freed;
} Task;

static void *work(void *argument) {
    Task *task = (Task *)argument;
    Random random = seeded(task->seed);
    /* Tasks share lines, and shall not while they are at work. */
    uint64_t exchanges = task->exchanges, freed = 0;
    for (uint64_t i = 0; i < exchanges; i++) {
        size_t size = realistic(&random);
        void *fresh = filled(block(size), size, 1);
        /* A few blocks are used up at home before one is given away. */
        for (uint64_t k = below(&random, 4); k > 0; k--) {
            size_t own = realistic(&random);
            free(filled(block(own), own, k));
        }
        void *old = __atomic_exchange_n(&places[below(&random, PLACES)], fresh, __ATOMIC_ACQ_REL);
        if (old != NULL) {
            freed += word(old);
            free(old);
        }
    }
    task->freed = freed;
    return NULL;
}

int main(int argc, char **argv) {
    must(argc == 3);
    uint64_t threads = number(argv[1]), freed = 0;
    must(threads >= 1 && threads <= MOST);
    static Task tasks[MOST];
    pthread_t running[MOST];
    for (uint64_t i = 0; i < threads; i++) {
        tasks[i] = (Task){i + 1, number(argv[2]) / threads, 0};
        running[i] = started(work, &tasks[i]);
    }
    for (uint64_t i = 0; i < threads; i++) {
        joined(running[i]);
        freed += tasks[i].freed;
    }
    for (int i = 0; i < PLACES; i++) {
        if (places[i] != NULL) {
            freed += word(places[i]);
            free(places[i]);
        }
    }
    printf("%llu\n", (unsigned long long)freed);
    return 0;
}
