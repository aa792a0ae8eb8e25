/* How throughput changes with the number of threads.
   Usage: scaling pairs|tables|exchange THREADS OPERATIONS (of all threads together). Prints nanoseconds of wall time per
   operation. pairs: a small block is taken and freed. tables: each thread replaces blocks in a table of its own.
   exchange: the table is everyone's. */
#include "bench.h"

enum { SLOTS = 2048, MOST = 256 };

typedef struct {
    uint64_t seed, operations;
    void **table;
} Task;

static char kind;
static void *shared[SLOTS];
static pthread_barrier_t together;

static void operate(Task *task) {
    Random random = seeded(task->seed);
    for (uint64_t i = 0; i < task->operations; i++) {
        size_t size = 16 + below(&random, 240);
        void *fresh = filled(block(size), 16, i);
        if (kind == 'p') {
            free(fresh);
            continue;
        }
        void **slot = &task->table[below(&random, SLOTS)];
        void *old = kind == 'e' ? __atomic_exchange_n(slot, fresh, __ATOMIC_ACQ_REL) : *slot;
        if (kind == 't') {
            *slot = fresh;
        }
        free(old);
    }
}

static void *work(void *argument) {
    Task *task = (Task *)argument;
    void *own[SLOTS] = {0};
    task->table = kind == 'e' ? shared : own;
    /* All are there; they may begin; all have ended. */
    pthread_barrier_wait(&together);
    pthread_barrier_wait(&together);
    operate(task);
    pthread_barrier_wait(&together);
    for (int i = 0; i < SLOTS; i++) {
        free(own[i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    must(argc == 4);
    kind = argv[1][0];
    must(kind == 'p' || kind == 't' || kind == 'e');
    uint64_t threads = number(argv[2]), each = number(argv[3]) / threads;
    must(threads >= 1 && threads <= MOST && each >= 1);
    static Task tasks[MOST];
    pthread_t running[MOST];
    pthread_barrier_init(&together, NULL, (unsigned)threads + 1);
    for (uint64_t i = 0; i < threads; i++) {
        tasks[i] = (Task){i + 1, each, NULL};
        running[i] = started(work, &tasks[i]);
    }
    pthread_barrier_wait(&together);
    double start = now();
    pthread_barrier_wait(&together);
    pthread_barrier_wait(&together);
    printf("%.3f\n", (now() - start) * 1e9 / (double)(each * threads));
    for (uint64_t i = 0; i < threads; i++) {
        joined(running[i]);
    }
    for (int i = 0; i < SLOTS; i++) {
        free(shared[i]);
    }
    return 0;
}
