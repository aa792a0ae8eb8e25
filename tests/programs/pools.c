/* Large blocks, of which one page in so many is written to, and then one that is larger. Says "asked" before that one is written to
   likewise, and "written" after it. Usage: pools PAGES. */
#include "handshake.h"

enum { POOLS = 8, POOL = 16 << 20, LAST = 64 << 20, PAGE = 4096 };

static char *pool(size_t size) {
    char *block = malloc(size);
    must(block != NULL);
    return block;
}

static void write_to(char *block, size_t size, size_t pages) {
    for (size_t at = 0; at < size; at += pages * PAGE) {
        block[at] = 1;
    }
}

int main(int count, char **arguments) {
    must(count == 2);
    size_t pages = (size_t)atol(arguments[1]);
    for (int i = 0; i < POOLS; i++) {
        write_to(pool(POOL), POOL, pages);
    }
    char *last = pool(LAST);
    pause_here("asked");
    write_to(last, LAST, pages);
    pause_here("written");
    return 0;
}
