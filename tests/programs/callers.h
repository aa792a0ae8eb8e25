/* Ten functions that free a block each from a place of their own. */
#include <stdlib.h>

#define CALLERS 10
#define CALLER(prefix, n)                                                                                             \
    __attribute__((noinline)) void prefix##n(void *block) {                                                           \
        free(block);                                                                                                  \
        /* No tail call: the return address lies in here. */                                                          \
        __asm__ volatile("" ::: "memory");                                                                            \
    }
#define TEN_CALLERS(prefix)                                                                                           \
    CALLER(prefix, 0)                                                                                                 \
    CALLER(prefix, 1)                                                                                                 \
    CALLER(prefix, 2)                                                                                                 \
    CALLER(prefix, 3)                                                                                                 \
    CALLER(prefix, 4)                                                                                                 \
    CALLER(prefix, 5)                                                                                                 \
    CALLER(prefix, 6)                                                                                                 \
    CALLER(prefix, 7)                                                                                                 \
    CALLER(prefix, 8)                                                                                                 \
    CALLER(prefix, 9)                                                                                                 \
    void (*const prefix##callers[CALLERS])(void *) = {prefix##0, prefix##1, prefix##2, prefix##3, prefix##4,          \
                                                      prefix##5, prefix##6, prefix##7, prefix##8, prefix##9};
