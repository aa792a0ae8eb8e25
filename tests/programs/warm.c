/* Calls whose instructions are counted, each between two marks, after enough of the same to warm everything up.
   Some blocks of the class stay live all the time, so that no slab empties or fills up at a mark.
   Usage: warm malloc|calloc|free|realloc|moves|pairs|others SIZE. Sixteen sections; of pairs, each is a loop of sixteen, moves
   are reallocations into another class, and others are frees of blocks that another thread has allocated, which lives. */
#include "handshake.h"
#include <pthread.h>

#define MARK() __asm__ volatile("int3" ::: "memory")

enum { KEPT = 3, WARM = 200, SECTIONS = 16, PAIRS = 16 };

/* As short as a loop can be that calls both. */
__attribute__((noinline)) static void pairs(size_t size) {
    for (int i = PAIRS; i > 0; i--) {
        void *block = malloc(size);
        __asm__ volatile("" : "+r"(block) : : "memory");
        free(block);
    }
}

static char *others_blocks[WARM + SECTIONS];
static pthread_barrier_t allocated, freed;

static void *allocate_for_another(void *size) {
    for (int round = 0; round < WARM + SECTIONS; round++) {
        must((others_blocks[round] = malloc(*(size_t *)size)) != NULL);
    }
    pthread_barrier_wait(&allocated);
    pthread_barrier_wait(&freed);
    return NULL;
}

static void others(size_t size) {
    pthread_t other;
    must(pthread_barrier_init(&allocated, NULL, 2) == 0 && pthread_barrier_init(&freed, NULL, 2) == 0);
    must(pthread_create(&other, NULL, allocate_for_another, &size) == 0);
    pthread_barrier_wait(&allocated);
    for (int round = 0; round < WARM; round++) {
        free(others_blocks[round]);
    }
    for (int round = WARM; round < WARM + SECTIONS; round++) {
        MARK();
        free(others_blocks[round]);
        MARK();
    }
    pthread_barrier_wait(&freed);
    must(pthread_join(other, NULL) == 0);
}

int main(int count, char **arguments) {
    must(count == 3);
    const char *what = arguments[1];
    size_t size = (size_t)atol(arguments[2]);
    size_t other = size > 20000 ? size / 2 : size + size / 4 + 16;
    if (strcmp(what, "others") == 0) {
        others(size);
        return 0;
    }
    static char *kept[KEPT];
    for (int i = 0; i < KEPT; i++) {
        must((kept[i] = malloc(size)) != NULL);
    }
    for (int round = 0; round < WARM + SECTIONS; round++) {
        int marked = round >= WARM;
        if (strcmp(what, "pairs") == 0) {
            if (marked) {
                MARK();
                pairs(size);
                MARK();
            } else {
                pairs(size);
            }
            continue;
        }
        char *block;
        if (marked && strcmp(what, "malloc") == 0) {
            MARK();
            block = malloc(size);
            MARK();
        } else if (strcmp(what, "calloc") == 0) {
            if (marked) {
                MARK();
                block = calloc(1, size);
                MARK();
            } else {
                block = calloc(1, size);
            }
            for (size_t i = 0; i < size; i++) {
                must(block[i] == 0);
            }
            memset(block, 1, size);
        } else {
            block = malloc(size);
        }
        must(block != NULL);
        if (strcmp(what, "calloc") == 0) {
            free(block);
            continue;
        }
        char *again;
        if (marked && strcmp(what, "realloc") == 0) {
            MARK();
            again = realloc(block, size + 1);
            MARK();
        } else {
            again = realloc(block, size + 1);
        }
        must(again == block);
        must(realloc(block, size) == block);
        if (strcmp(what, "moves") == 0) {
            if (marked) {
                MARK();
                block = realloc(block, other);
                MARK();
            } else {
                block = realloc(block, other);
            }
            must(block != again);
        }
        if (marked && strcmp(what, "free") == 0) {
            MARK();
            free(block);
            MARK();
        } else {
            free(block);
        }
    }
    return 0;
}
