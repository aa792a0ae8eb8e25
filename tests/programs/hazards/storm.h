/* Threads that allocate and free at full speed until they are told to stop. */
#pragma once
#include "hazard.h"
#include <stdatomic.h>

static atomic_bool over;
static void *volatile shared[64];

/* Allocates and frees for ever; most frees are of another thread's block. */
__attribute__((unused)) static void *storm(void *argument) {
    unsigned seed = (unsigned)(uintptr_t)argument;
    while (!over) {
        seed = seed * 1103515245 + 12345;
        size_t size = (seed >> 16) % (seed % 97 ? 3000 : 300000);
        free(__atomic_exchange_n(&shared[seed / 7 % 64], (void *)take(size), __ATOMIC_ACQ_REL));
    }
    return NULL;
}

enum { STORMS = 4 };
static pthread_t storms[STORMS];

__attribute__((unused)) static void begin_storm(void *(*work)(void *)) {
    for (uintptr_t i = 0; i < STORMS; i++) {
        must(pthread_create(&storms[i], NULL, work, (void *)(i * 7919 + 1)) == 0);
    }
}

__attribute__((unused)) static void end_storm(void) {
    over = true;
    for (int i = 0; i < STORMS; i++) {
        must(pthread_join(storms[i], NULL) == 0);
    }
}
