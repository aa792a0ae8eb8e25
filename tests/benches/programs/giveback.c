/* Whether freed memory goes back to the system.
   Usage: giveback small|middling|large all|most|scattered at-once|later|idle|going-on MEBIBYTES.
   So many MiB of blocks are taken and written; all of them are freed, or nine of ten in the order of their addresses, or nine
   of ten anywhere. Then the resident set is looked at: at once; or 1.2 s later, after 65,536 further calls; or after 2.2 s
   without any; or after 4 s with some all the time.
   Prints the KiB that are resident beyond what is live and what was resident at the start. */
#include "bench.h"
#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>

static long resident(void) {
    char text[4096];
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    must(file >= 0);
    ssize_t length = read(file, text, sizeof text - 1);
    must(length > 0);
    close(file);
    text[length] = 0;
    char *line = strstr(text, "\nRss:");
    must(line != NULL);
    return strtol(line + 5, NULL, 10);
}

/* By address, in place and without memory of its own, as `qsort` would need: a heap sort. */
static void sort(uintptr_t *items, uint64_t count) {
    for (uint64_t root = count / 2, end = count; end > 1;) {
        uintptr_t item;
        if (root > 0) {
            item = items[--root];
        } else {
            item = items[--end];
            items[end] = items[0];
        }
        uint64_t hole = root;
        for (uint64_t child; (child = 2 * hole + 1) < end; hole = child) {
            child += child + 1 < end && items[child] < items[child + 1];
            if (items[child] <= item) {
                break;
            }
            items[hole] = items[child];
        }
        items[hole] = item;
    }
}

static void wait_for(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    must(nanosleep(&time, NULL) == 0);
}

int main(int argc, char **argv) {
    must(argc == 5);
    int large = argv[1][0] == 'l', middling = argv[1][0] == 'm';
    int all = argv[2][0] == 'a', scattered = argv[2][0] == 's';
    uint64_t wanted = number(argv[4]) << 20, most = wanted / 64, count = 0;
    Random random = seeded(12);
    /* The table of blocks is not on the heap, and resident before the start. */
    uintptr_t *blocks = (uintptr_t *)mmap(NULL, most * sizeof *blocks, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    must(blocks != MAP_FAILED);
    free(block(64));
    long start = resident();
    for (uint64_t taken = 0; taken < wanted; count++) {
        size_t size = large      ? (256 << 10) + below(&random, 1 << 20)
                      : middling ? 1024 + below(&random, 7169)
                                 : 24 + realistic(&random) % 1000;
        must(count < most);
        blocks[count] = (uintptr_t)memset(block(size), 1, size);
        taken += size;
    }
    sort(blocks, count);
    uint64_t freed = all ? count : count / 10 * 9, live = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (scattered ? below(&random, 10) != 0 : i < freed) {
            free((void *)blocks[i]);
        } else {
            live += malloc_usable_size((void *)blocks[i]);
        }
    }
    switch (argv[3][0]) {
    case 'l':
        wait_for(1200);
        for (int i = 0; i < 65536; i++) {
            free(block(64));
        }
        break;
    case 'i':
        wait_for(2200);
        break;
    case 'g':
        for (int i = 0; i < 4000; i++) {
            for (int k = 0; k < 100; k++) {
                free(block(64));
            }
            wait_for(1);
        }
        break;
    default:
        must(argv[3][0] == 'a');
    }
    printf("%ld\n", resident() - start - (long)(live >> 10));
    return 0;
}
