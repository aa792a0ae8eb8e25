/* Makes millions of calls of the fastest kind about blocks of a few sizes, in stages; before each it says how many bytes the calls
   of the one before have asked for, and waits for the test. */
#include "handshake.h"
#include <pthread.h>

enum { CALLS = 2500000, HANDED = 6000000, BATCH = 100, LARGE = 3, STOCK = 600 };

static const size_t sizes[] = {40, 1000, 5000, 30000};

static long pairs(void) {
    long requested = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (long call = 0; call < CALLS; call++) {
            size_t size = sizes[i] - (size_t)(call & 7);
            void *volatile block = malloc(size);
            must(block != NULL);
            free(block);
            requested += (long)size;
        }
    }
    return requested;
}

/* In place. */
static long resizes(void) {
    long requested = 100;
    void *block = malloc(100);
    for (long call = 0; call < CALLS; call++) {
        size_t size = 100 + (size_t)(call & 7);
        block = realloc(block, size);
        must(block != NULL);
        requested += (long)size;
    }
    free(block);
    return requested;
}

/* Some large ones first: with these, the others come home, so that their bin, which is full at the start, never has to be filled. */
static void *batch[BATCH + LARGE];
static pthread_barrier_t handed;

static void *frees(void *unused) {
    for (long call = 0; call < HANDED; call += BATCH) {
        pthread_barrier_wait(&handed);
        for (int i = 0; i < BATCH + LARGE; i++) {
            free(batch[i]);
        }
        pthread_barrier_wait(&handed);
    }
    return unused;
}

static long handed_over(void) {
    static void *stock[STOCK];
    for (int i = 0; i < STOCK; i++) {
        must((stock[i] = malloc(64)) != NULL);
    }
    for (int i = 0; i < STOCK; i++) {
        free(stock[i]);
    }
    for (long call = 0; call < HANDED; call += BATCH) {
        for (int i = 0; i < BATCH + LARGE; i++) {
            batch[i] = malloc(i < LARGE ? 30000 : 64);
            must(batch[i] != NULL);
        }
        pthread_barrier_wait(&handed);
        pthread_barrier_wait(&handed);
    }
    return STOCK * 64 + (long)HANDED / BATCH * (BATCH * 64 + LARGE * 30000);
}

int main(void) {
    pthread_t thread;
    must(pthread_barrier_init(&handed, NULL, 2) == 0);
    must(pthread_create(&thread, NULL, frees, NULL) == 0);
    pause_here("%d", 0);
    pause_here("%ld", pairs());
    pause_here("%ld", resizes());
    pause_here("%ld", handed_over());
    must(pthread_join(thread, NULL) == 0);
    return 0;
}
