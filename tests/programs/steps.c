/* Holds one MiB more every tenth of a second, for the seconds given, then waits: something for the history. */
#include "handshake.h"
#include <time.h>

int main(int count, char **arguments) {
    must(count == 2);
    int tenths = 10 * atoi(arguments[1]);
    struct timespec next;
    must(clock_gettime(CLOCK_MONOTONIC, &next) == 0);
    for (int i = 0; i < tenths; i++) {
        char *block = malloc(1 << 20);
        must(block != NULL);
        memset(block, i, 1 << 20);
        /* Slow paths come by in any program; here they are called for. */
        for (int j = 0; j < 2000; j++) {
            void *volatile passing = malloc(100000);
            free(passing);
        }
        next.tv_nsec += 100 * 1000 * 1000;
        next.tv_sec += next.tv_nsec / 1000000000;
        next.tv_nsec %= 1000000000;
        must(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL) == 0);
    }
    pause_here("ready");
    return 0;
}
