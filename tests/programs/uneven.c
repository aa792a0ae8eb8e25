/* Zeroed blocks of 4 and of 64 MiB in turn, one at a time. Usage: uneven ROUNDS PERCENT, the part of a large one that is written; a
   small one is written whole. Says how many KiB were resident at most, beyond those before the first. */
#include "handshake.h"
#include <sys/resource.h>

static long most_resident(void) {
    struct rusage usage;
    must(getrusage(RUSAGE_SELF, &usage) == 0);
    return usage.ru_maxrss;
}

int main(int argc, char **argv) {
    must(argc == 3);
    long rounds = atol(argv[1]), percent = atol(argv[2]), before = most_resident();
    for (long round = 0; round < rounds; round++) {
        size_t size = (size_t)(round % 2 != 0 ? 64 : 4) << 20;
        size_t written = round % 2 != 0 ? size / 100 * (size_t)percent : size;
        char *block = calloc(1, size);
        must(block != NULL);
        for (size_t at = 0; at < written; at++) {
            must(block[at] == 0);
            block[at] = (char)(at | 1);
        }
        free(block);
    }
    say("%ld", most_resident() - before);
    return 0;
}
