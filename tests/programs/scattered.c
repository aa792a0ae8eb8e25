/* Large blocks are freed, every other one and over some time, and smaller ones taken from what they left: each of the free
   runs is cut, and what is left of it goes back to its place in a queue of all that became free later. Then those are freed,
   too, and join their neighbours. Prints the instructions of the shortest of some calls of either kind, in the middle of the
   queue: what has to be done now and then is left out with the others. */
#include "stepping.h"
#include <limits.h>
#include <time.h>

enum { BLOCKS = 40000, SIZE = 180000, SMALLER = 120000, AT_ONCE = 4000, FIRST = BLOCKS / 2, LOOKED_AT = 4, KEPT = 16 };

static void *volatile blocks[BLOCKS];
static long volatile steps;

static void step(int number, siginfo_t *info, void *context) {
    (void)number;
    if (!is_mark(info, context)) {
        steps++;
    }
}

static long shortest_malloc(void) {
    long least = LONG_MAX;
    for (int i = FIRST; i < FIRST + 2 * LOOKED_AT; i += 2) {
        steps = 0;
        MARK();
        blocks[i] = malloc(SMALLER);
        MARK();
        must(blocks[i] != NULL);
        least = steps < least ? steps : least;
    }
    return least;
}

static long shortest_free(void) {
    long least = LONG_MAX;
    for (int i = FIRST; i < FIRST + 2 * LOOKED_AT; i += 2) {
        steps = 0;
        MARK();
        free(blocks[i]);
        MARK();
        least = steps < least ? steps : least;
    }
    return least;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO};
    must(sigaction(SIGTRAP, &action, NULL) == 0);
    for (int i = 0; i < BLOCKS; i++) {
        must((blocks[i] = malloc(SIZE)) != NULL);
    }
    for (int i = 0; i < BLOCKS; i += 2) {
        free(blocks[i]);
        if (i % AT_ONCE == 0) {
            /* What is freed from now on is freed later. */
            struct timespec moment = {.tv_nsec = 20 * 1000 * 1000};
            must(nanosleep(&moment, NULL) == 0);
        }
    }
    for (int i = 0; i < FIRST; i += 2) {
        must((blocks[i] = malloc(SMALLER)) != NULL);
    }
    long of_malloc = shortest_malloc();
    /* The first few are kept for the next blocks of their size. */
    for (int i = 0; i < 2 * KEPT; i += 2) {
        free(blocks[i]);
    }
    say("%ld %ld", of_malloc, shortest_free());
    return 0;
}
