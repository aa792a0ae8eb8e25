/* Allocates blocks of a size until there are no more, says how many MiB that were, frees all and does it again: the
   second time there must be about as much. Usage: exhaust SIZE [THREADS]: beside so many threads, which hold their
   stacks and a block each. */
#include "handshake.h"
#include <pthread.h>

struct block {
    struct block *next;
};

static unsigned long fill(size_t size, struct block **all) {
    unsigned long count = 0;
    struct block *block;
    errno = 0;
    while ((block = malloc(size)) != NULL) {
        memset(block, 7, size < 4096 ? size : 4096);
        block->next = *all;
        *all = block;
        count++;
    }
    must(errno == ENOMEM);
    return count * size >> 20;
}

static void empty(struct block **all) {
    while (*all) {
        struct block *next = (*all)->next;
        free(*all);
        *all = next;
    }
}

static pthread_barrier_t meet;

static void *hold(void *unused) {
    void *volatile block = malloc(1000);
    must(block != NULL);
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet);
    free(block);
    return unused;
}

int main(int count, char **arguments) {
    must(count == 2 || count == 3);
    enum { MOST = 64 };
    pthread_t threads[MOST];
    int beside = count == 3 ? atoi(arguments[2]) : 0;
    must(beside <= MOST && pthread_barrier_init(&meet, NULL, (unsigned)beside + 1) == 0);
    for (int i = 0; i < beside; i++) {
        must(pthread_create(&threads[i], NULL, hold, NULL) == 0);
    }
    pthread_barrier_wait(&meet);
    size_t size = (size_t)atol(arguments[1]);
    struct block *all = NULL;
    unsigned long first = fill(size, &all);
    empty(&all);
    unsigned long second = fill(size, &all);
    must(second * 10 >= first * 9);
    /* Growing what is there must fail cleanly too. */
    for (struct block *block = all; block; block = block->next) {
        must(realloc(block, 200ul << 20) == NULL && errno == ENOMEM);
        if (size >= 100000 || block == all) {
            break;
        }
    }
    empty(&all);
    pthread_barrier_wait(&meet);
    for (int i = 0; i < beside; i++) {
        must(pthread_join(threads[i], NULL) == 0);
    }
    say("%lu", first);
    return 0;
}
