/* Short-lived threads, eight at a time. Every thread allocates, frees half itself and leaves the rest to its
   successor, which frees them from another thread. Usage: churn THREADS. Pauses at the start and at the end. */
#include "handshake.h"
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

enum { AT_ONCE = 8, BLOCKS = 40 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *left[AT_ONCE * BLOCKS];
static int left_count;

static size_t size_of(unsigned i) { return (i * 2654435761u >> 7) % (i % 37 == 0 ? 40000 : 700) + 1; }

static void *brief(void *argument) {
    unsigned number = (unsigned)(uintptr_t)argument;
    void *own[BLOCKS], *others[BLOCKS / 2];
    for (unsigned i = 0; i < BLOCKS; i++) {
        size_t size = size_of(number * BLOCKS + i);
        own[i] = malloc(size);
        must(own[i] != NULL);
        memset(own[i], (int)i, size < 64 ? size : 64);
    }
    for (int i = 0; i < BLOCKS / 2; i++) {
        free(own[i]);
    }
    int found = 0;
    pthread_mutex_lock(&lock);
    while (left_count > 0 && found < BLOCKS / 2) {
        others[found++] = left[--left_count];
    }
    for (int i = BLOCKS / 2; i < BLOCKS; i++) {
        if (left_count < (int)(sizeof left / sizeof *left)) {
            left[left_count++] = own[i];
            own[i] = NULL;
        }
    }
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < found; i++) {
        free(others[i]);
    }
    for (int i = BLOCKS / 2; i < BLOCKS; i++) {
        free(own[i]);
    }
    return NULL;
}

/* Allocates and frees for so many milliseconds: longer than heaps wait for the next thread. */
static void go_on_for(long ms) {
    struct timespec from, now;
    clock_gettime(CLOCK_MONOTONIC, &from);
    do {
        for (unsigned i = 0; i < 1000; i++) {
            void *volatile block = malloc(size_of(i));
            must(block != NULL);
            free(block);
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < ms);
}

static void run(unsigned threads) {
    pthread_t ids[AT_ONCE];
    for (unsigned i = 0; i < threads + AT_ONCE; i++) {
        if (i >= AT_ONCE) {
            must(pthread_join(ids[i % AT_ONCE], NULL) == 0);
        }
        if (i < threads) {
            must(pthread_create(&ids[i % AT_ONCE], NULL, brief, (void *)(uintptr_t)i) == 0);
        }
    }
    while (left_count > 0) {
        free(left[--left_count]);
    }
    go_on_for(200);
    /* A program goes on using its heap: enough to meet what was left behind. */
    for (unsigned round = 0; round < 20; round++) {
        void *blocks[400];
        for (unsigned i = 0; i < 400; i++) {
            must((blocks[i] = malloc(size_of(i))) != NULL);
        }
        for (unsigned i = 0; i < 400; i++) {
            free(blocks[i]);
        }
    }
}

int main(int count, char **arguments) {
    must(count == 2);
    run(1000); /* stacks and their like are cached from here on */
    pause_here("ready");
    run((unsigned)atoi(arguments[1]));
    pause_here("done");
    return 0;
}
