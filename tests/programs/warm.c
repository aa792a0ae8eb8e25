/* Calls whose instructions are counted, each between two marks, after enough of the same to warm everything up.
   Usage: warm malloc|calloc|free|realloc SIZE. Sixteen sections. */
#include "handshake.h"

#define MARK() __asm__ volatile("int3" ::: "memory")

enum { WARM = 64, SECTIONS = 16 };

int main(int count, char **arguments) {
    must(count == 3);
    const char *what = arguments[1];
    size_t size = (size_t)atol(arguments[2]);
    static char *blocks[WARM];
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < WARM; i++) {
            must((blocks[i] = malloc(size)) != NULL);
        }
        for (int i = 0; i < WARM; i++) {
            /* Each grows in place by a byte, and shrinks again. */
            must(realloc(blocks[i], size + 1) == blocks[i] && realloc(blocks[i], size) == blocks[i]);
        }
        for (int i = 0; i < WARM; i++) {
            free(blocks[(i * 37) % WARM]);
        }
    }
    for (int i = 0; i < WARM / 2; i++) {
        must((blocks[i] = malloc(size)) != NULL);
    }
    for (int i = 0; i < SECTIONS; i++) {
        void *volatile result = NULL;
        if (strcmp(what, "malloc") == 0) {
            MARK();
            result = malloc(size);
            MARK();
            must(result != NULL);
        } else if (strcmp(what, "free") == 0) {
            MARK();
            free(blocks[i]);
            MARK();
        } else if (strcmp(what, "realloc") == 0) {
            MARK();
            result = realloc(blocks[i], size + 1);
            MARK();
            must(result == blocks[i]);
        } else {
            fail("what is %s?", what);
        }
    }
    return 0;
}
