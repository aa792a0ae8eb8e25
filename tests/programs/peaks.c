/* A peak made by one thread while others sleep, each holding memory that it took when the peak before was far away.
   Usage: peaks SIZE, of the blocks. Says the most that was ever live, in requested bytes, threads' own needs aside, and waits
   for the test. */
#include "handshake.h"
#include <pthread.h>

/* In thousands of bytes. */
enum { FIRST = 1000, KEPT = 200, LAST = 8000 };
enum { THREADS = 8 };

static long size;

static pthread_barrier_t step;

/* Blocks are linked through their first word. */
static void *grown(void *list, int thousands) {
    for (int i = 0; i < thousands * 1000 / size; i++) {
        void **block = malloc(size);
        must(block != NULL);
        *block = list;
        list = block;
    }
    return list;
}

static void dropped(void *list) {
    while (list != NULL) {
        void *next = *(void **)list;
        free(list);
        list = next;
    }
}

static void *work(void *unused) {
    void *first = grown(NULL, FIRST);
    pthread_barrier_wait(&step);
    dropped(first);
    pthread_barrier_wait(&step);
    /* Far below the peak now, the thread has reason to settle. */
    dropped(grown(NULL, FIRST / 2));
    void *kept = grown(NULL, KEPT);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    dropped(kept);
    return unused;
}

int main(int argc, char **argv) {
    must(argc == 2 && (size = atol(argv[1])) >= 1000 && KEPT * 1000 % size == 0);
    must(pthread_barrier_init(&step, NULL, THREADS + 1) == 0);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        must(pthread_create(&threads[i], NULL, work, NULL) == 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_barrier_wait(&step);
    }
    void *last = grown(NULL, LAST);
    dropped(last);
    pause_here("%d", 1000 * (LAST + THREADS * KEPT));
    pthread_barrier_wait(&step);
    for (int i = 0; i < THREADS; i++) {
        must(pthread_join(threads[i], NULL) == 0);
    }
    return 0;
}
