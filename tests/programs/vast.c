/* A block far larger than what is ever touched of it: prints how many KiB it makes resident. */
#include <stdio.h>
#include <stdlib.h>

static long resident(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1) {
        exit(2);
    }
    fclose(file);
    return pages * 4;
}

int main(void) {
    long before = resident();
    char *block = malloc((size_t)64 << 30);
    if (!block) {
        return 1;
    }
    block[0] = 1;
    printf("%ld\n", resident() - before);
    return block[0] - 1;
}
