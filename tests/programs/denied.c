/* Frees runs of memory that may not be given back, among others, and then asks for more than there is: all that lies about is
   looked at for that, once. */
#include "advices.h"
#include <sys/mman.h>

enum { RUNS = 12, SIZE = 2 << 20, DONTNEED_LOCKED = 24 };

int main(void) {
    answer_advices(MADV_DONTNEED, DONTNEED_LOCKED, SECCOMP_RET_ERRNO | EINVAL, 1);
    char *blocks[RUNS];
    for (int i = 0; i < RUNS; i++) {
        must((blocks[i] = malloc(SIZE)) != NULL);
        memset(blocks[i], 1, SIZE);
    }
    for (int i = 0; i < RUNS; i += 2) {
        free(blocks[i]);
    }
    say("%s", malloc((size_t)1 << 45) == NULL ? "refused" : "granted");
    for (int i = 1; i < RUNS; i += 2) {
        free(blocks[i]);
    }
    return 0;
}
