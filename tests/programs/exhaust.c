/* Allocates blocks until there are no more (mixed: not even of the smallest size), says how many bytes that were, frees all and does it again: the second time
   there must be about as much.
   Usage: exhaust SIZE|mixed [THREADS [beside|together [LIMIT]]]: beside so many threads, which hold their stacks and a block
   each, or together with them; after it has limited its own address space to so many bytes. */
#include "handshake.h"
#include <pthread.h>
#include <stdbool.h>
#include <sys/resource.h>

struct block {
    struct block *next;
    size_t size;
};

enum { MOST = 64, MIXED = 0 };

static size_t wanted;
static bool together;
static pthread_barrier_t meet;
/* A thread has its block, and the next may begin: the C library's arenas take twice their address space for a moment, beside which
   there is not always room for another stack. */
static pthread_barrier_t begun;

enum { SMALLEST = 64, MAGNITUDES = 14 };

/* At most so many bytes; mixed: between 64 bytes and 1 MiB, as many of one magnitude as of another. */
static size_t next_size(uint64_t *state, size_t most) {
    if (wanted != MIXED) {
        return wanted;
    }
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    size_t magnitude = (size_t)SMALLEST << (*state >> 59) % MAGNITUDES;
    size_t size = magnitude + (size_t)(*state >> 20) % magnitude;
    return size < most ? size : most;
}

static size_t fill(struct block **all) {
    size_t bytes = 0, most = wanted == MIXED ? (size_t)SMALLEST << MAGNITUDES : wanted;
    uint64_t state = 1;
    while (most >= SMALLEST) {
        size_t size = next_size(&state, most);
        errno = 0;
        struct block *block = malloc(size);
        if (block == NULL) {
            must(errno == ENOMEM);
            most = wanted == MIXED ? size / 2 : 0;
            continue;
        }
        block->next = *all;
        block->size = size;
        *all = block;
        if (size > sizeof *block) {
            ((char *)block)[size - 1] = 7;
        }
        bytes += size;
    }
    return bytes;
}

static void empty(struct block **all) {
    while (*all) {
        struct block *next = (*all)->next;
        free(*all);
        *all = next;
    }
}

/* Growing what is there must fail cleanly too. */
static void grow(struct block *all) {
    for (struct block *block = all; block; block = block->next) {
        must(realloc(block, 1ul << 30) == NULL && errno == ENOMEM);
        if (block->size >= 100000 || block == all) {
            break;
        }
    }
}

/* All who take part fill at the same time, and empty when all are full. */
static size_t filled[MOST + 1];

static void take_part(int number) {
    struct block *all = NULL;
    for (int round = 0; round < 2; round++) {
        pthread_barrier_wait(&meet);
        size_t bytes = fill(&all);
        pthread_barrier_wait(&meet);
        if (round == 0) {
            filled[number] = bytes;
        } else {
            grow(all);
        }
        empty(&all);
    }
    pthread_barrier_wait(&meet);
}

static void *in_thread(void *number) {
    void *volatile block = malloc(1000);
    must(block != NULL);
    pthread_barrier_wait(&begun);
    if (together) {
        take_part((int)(intptr_t)number);
    } else {
        pthread_barrier_wait(&meet);
        pthread_barrier_wait(&meet);
    }
    free(block);
    return NULL;
}

int main(int count, char **arguments) {
    must(count >= 2 && count <= 5);
    if (count > 4) {
        rlim_t limit = (rlim_t)atol(arguments[4]);
        must(setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit}) == 0);
    }
    wanted = strcmp(arguments[1], "mixed") ? (size_t)atol(arguments[1]) : MIXED;
    must(wanted == MIXED || wanted >= SMALLEST);
    intptr_t threads = count > 2 ? atoi(arguments[2]) : 0;
    together = count > 3 && strcmp(arguments[3], "together") == 0;
    pthread_t others[MOST];
    must(threads <= MOST && pthread_barrier_init(&meet, NULL, (unsigned)threads + 1) == 0);
    must(pthread_barrier_init(&begun, NULL, 2) == 0);
    for (intptr_t i = 0; i < threads; i++) {
        must(pthread_create(&others[i], NULL, in_thread, (void *)(i + 1)) == 0);
        pthread_barrier_wait(&begun);
    }
    if (together) {
        take_part(0);
    } else {
        struct block *all = NULL;
        pthread_barrier_wait(&meet);
        filled[0] = fill(&all);
        empty(&all);
        must(fill(&all) / 9 >= filled[0] / 10);
        grow(all);
        empty(&all);
        pthread_barrier_wait(&meet);
    }
    size_t bytes = filled[0];
    for (intptr_t i = 0; i < threads; i++) {
        must(pthread_join(others[i], NULL) == 0);
        bytes += filled[i + 1];
    }
    say("%zu", bytes);
    return 0;
}
