/* Sparse zeroed tables, freed all at once. Says how many KiB more than at the start are resident while there are 200 of them, of
   480 KiB, in each of which a byte on six pages is written, and when they have been freed; waits for the test. Then it makes
   calls until the allocator has looked after its memory, says "done", and waits once more. */
#include "resident.h"
#include <time.h>

enum { TABLES = 200, SIZE = 480 << 10, LARGER = 500 << 10, PAGES = 6 };

static char *table(void) {
    char *table = calloc(1, SIZE);
    must(table != NULL);
    for (int page = 0; page < PAGES; page++) {
        char *at = table + page * (SIZE / PAGES);
        must(*at == 0);
        *at = 1;
    }
    return table;
}

static double now(void) {
    struct timespec time;
    must(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

int main(void) {
    static char *tables[TABLES];
    /* What users do with such blocks is to be known. */
    for (int i = 0; i < TABLES; i++) {
        free(table());
    }
    pause_here("ready");
    long before = resident();
    for (int i = 0; i < TABLES; i++) {
        tables[i] = table();
    }
    long live = resident() - before;
    for (int i = 0; i < TABLES; i++) {
        free(tables[i]);
    }
    long freed = resident() - before;
    pause_here("%ld %ld", live, freed);
    /* What the freed tables have left there must not be seen in a longer one. */
    for (int i = 0; i < TABLES; i++) {
        tables[i] = calloc(1, LARGER);
        must(tables[i] != NULL && tables[i][0] == 0 && memcmp(tables[i], tables[i] + 1, LARGER - 1) == 0);
    }
    for (int i = 0; i < TABLES; i++) {
        free(tables[i]);
    }
    for (double start = now(); now() - start < 0.2;) {
        free(malloc(40));
    }
    pause_here("done");
    return 0;
}
