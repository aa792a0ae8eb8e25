/* Rests for three seconds, over and over, and in between builds something up in a quarter of a second and lets go of it at
   once. Usage: bursts BURSTS. */
#include "handshake.h"
#include <time.h>

enum { BLOCKS = 20000, SIZE = 1000, STEPS = 5, BASE = 2 << 20 };

static struct timespec next;

static void pass(long milliseconds) {
    next.tv_nsec += milliseconds % 1000 * 1000000;
    next.tv_sec += milliseconds / 1000 + next.tv_nsec / 1000000000;
    next.tv_nsec %= 1000000000;
    must(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL) == 0);
}

int main(int count, char **arguments) {
    must(count == 2);
    int bursts = atoi(arguments[1]);
    static void *blocks[BLOCKS];
    char *base = malloc(BASE);
    must(base != NULL && clock_gettime(CLOCK_MONOTONIC, &next) == 0);
    memset(base, 1, BASE);
    for (int i = 0; i < bursts; i++) {
        pass(3000);
        for (int k = 0; k < BLOCKS; k++) {
            if (k % (BLOCKS / STEPS) == 0) {
                pass(60);
            }
            must((blocks[k] = malloc(SIZE)) != NULL);
        }
        for (int k = 0; k < BLOCKS; k++) {
            free(blocks[k]);
        }
    }
    pass(1000);
    pause_here("ready");
    free(base);
    return 0;
}
