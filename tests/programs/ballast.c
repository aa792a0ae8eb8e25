/* Holds blocks of many sizes, all touched, with holes in between, and waits. */
#include "handshake.h"

int main(void) {
    static char *blocks[4000];
    for (int i = 0; i < 4000; i++) {
        size_t size = (size_t)(i * 37 % 900 + 1) * (i % 100 ? 1 : 500);
        must((blocks[i] = malloc(size)) != NULL);
        memset(blocks[i], i, size);
    }
    for (int i = 0; i < 4000; i += 3) {
        free(blocks[i]);
    }
    pause_here("ready");
    return 0;
}
