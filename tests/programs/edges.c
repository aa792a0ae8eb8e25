/* Blocks of 16 bytes that lie at the very end of what has been committed, where the tables' last entries tell of them: each becomes
   larger, or is freed twice. Says how many it met, and waits.
   Usage: edges realloc|double. */
#include "handshake.h"

enum { BLOCKS = 600000, MIB = 1 << 20 };

int main(int count, char **arguments) {
    must(count == 2);
    int twice = strcmp(arguments[1], "double") == 0, met = 0;
    for (int i = 0; i < BLOCKS; i++) {
        char *block = malloc(16);
        must(block != NULL);
        uintptr_t left = MIB - (uintptr_t)block % MIB;
        if (left != 16 && left != 80 && left != 144) {
            continue;
        }
        met++;
        if (twice) {
            void *volatile freed = block;
            free(freed);
            free(freed);
        } else {
            memcpy(block, "a block's bytes", 16);
            block = realloc(block, 2000);
            must(block != NULL && memcmp(block, "a block's bytes", 16) == 0);
        }
        /* The place itself is the next to be handed out. */
        void *volatile again = malloc(16);
        must(again != NULL);
    }
    pause_here("%d", met);
    return 0;
}
