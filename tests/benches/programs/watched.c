/* Threads that do nothing but replace blocks in tables of their own, until the input ends.
   Usage: watched THREADS. For every byte of input, prints the operations so far, of all threads, and the nanoseconds of
   processor and of wall time that they took. */
#include "bench.h"

enum { SLOTS = 2048, MOST = 64, STEP = 256 };

/* Each on lines of its own: counting must not cost what is looked for. */
static struct {
    _Alignas(128) uint64_t operations;
} done[MOST];

static void *work(void *argument) {
    uint64_t *operations = argument;
    Random random = seeded((uint64_t)(uintptr_t)argument);
    void *table[SLOTS] = {0};
    for (;;) {
        for (int i = 0; i < STEP; i++) {
            void **slot = &table[below(&random, SLOTS)];
            size_t size = realistic(&random);
            free(*slot);
            *slot = filled(block(size), 16, (uint64_t)i);
        }
        __atomic_store_n(operations, *operations + STEP, __ATOMIC_RELAXED);
    }
    return NULL;
}

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec time;
    must(clock_gettime(clock, &time) == 0);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

int main(int argc, char **argv) {
    must(argc == 2);
    uint64_t threads = number(argv[1]);
    must(threads >= 1 && threads <= MOST);
    for (uint64_t i = 0; i < threads; i++) {
        started(work, &done[i].operations);
    }
    for (char byte; read(0, &byte, 1) == 1;) {
        uint64_t sum = 0;
        for (uint64_t i = 0; i < threads; i++) {
            sum += __atomic_load_n(&done[i].operations, __ATOMIC_RELAXED);
        }
        printf("%lu %lu %lu\n", sum, nanoseconds(CLOCK_PROCESS_CPUTIME_ID), nanoseconds(CLOCK_MONOTONIC));
        fflush(stdout);
    }
    /* The threads end with the process. */
    _exit(0);
}
