/* Allocates blocks of a size until there are no more, says how many MiB that were, frees all and does it again: the
   second time there must be about as much. Usage: exhaust SIZE */
#include "handshake.h"

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

int main(int count, char **arguments) {
    must(count == 2);
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
    say("%lu", first);
    return 0;
}
