/* A buffer grows by moves until it consists of several mappings, and once more where the process may make but few more.
   Usage: brim MAPPINGS, as many as it may make then. */
#include "handshake.h"
#include <sys/mman.h>

enum { START = 1 << 20, GROWTH = 3, TIMES = 2, PAGE = 4096 };

static char buffer[1 << 16];

/* What a file starts with. */
static ssize_t read_from(FILE *file) {
    return (ssize_t)fread(buffer, 1, sizeof buffer, file);
}

static long most(void) {
    FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
    must(file != NULL && read_from(file) > 0);
    fclose(file);
    return strtol(buffer, NULL, 10);
}

static long maps(void) {
    FILE *file = fopen("/proc/self/maps", "r");
    must(file != NULL);
    long lines = 0;
    for (ssize_t length; (length = read_from(file)) > 0;) {
        for (ssize_t i = 0; i < length; i++) {
            lines += buffer[i] == '\n';
        }
    }
    fclose(file);
    return lines;
}

static char byte_at(size_t at) {
    return (char)(at * 7 + at / PAGE + 1);
}

/* `block` of `from` bytes, grown to `to`, the new ones filled. Something else lies behind it, so that it has to move. */
static char *grown(char *block, size_t from, size_t to) {
    void *behind = malloc(2 << 20);
    must(behind != NULL);
    *(volatile char *)behind = 1;
    block = realloc(block, to);
    must(block != NULL);
    for (size_t at = from; at < to; at++) {
        block[at] = byte_at(at);
    }
    return block;
}

int main(int argc, char **argv) {
    must(argc == 2);
    long left = strtol(argv[1], NULL, 10), limit = most();
    size_t size = START;
    char *block = grown(NULL, 0, size);
    for (int i = 0; i < TIMES; i++, size *= GROWTH) {
        block = grown(block, size, size * GROWTH);
    }
    /* Memory that the heap need not map first. */
    free(malloc(4 * size));
    size_t pages = 2 * (size_t)limit;
    char *comb = mmap(NULL, pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must(comb != MAP_FAILED);
    /* A page within makes two mappings more, the first one. */
    long have = maps();
    if ((limit - left - have) % 2 != 0) {
        must(mprotect(comb, PAGE, PROT_READ) == 0);
        have++;
    }
    for (size_t page = 2; have < limit - left; page += 2, have += 2) {
        must(mprotect(comb + page * PAGE, PAGE, PROT_READ) == 0);
    }
    must(maps() == limit - left);
    block = realloc(block, size * GROWTH);
    must(block != NULL);
    for (size_t at = 0; at < size; at++) {
        must(block[at] == byte_at(at));
    }
    return 0;
}
