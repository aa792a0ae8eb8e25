/* Calls whose instructions are counted, each between two marks, after enough of the same to warm everything up.
   Some blocks of the class stay live all the time, so that no slab empties or fills up at a mark.
   Usage: warm malloc|free|realloc|moves|pairs SIZE. Sixteen sections; of pairs, each is a loop of sixteen, and moves
   are reallocations into another class. */
#include "handshake.h"

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

int main(int count, char **arguments) {
    must(count == 3);
    const char *what = arguments[1];
    size_t size = (size_t)atol(arguments[2]);
    size_t other = size > 20000 ? size / 2 : size + size / 4 + 16;
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
        } else {
            block = malloc(size);
        }
        must(block != NULL);
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
