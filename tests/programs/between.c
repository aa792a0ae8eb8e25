/* A thread frees another's block, the first that it ever frees of anybody's; before instruction number STEP of that call the owner
   goes on, and asks for blocks of OTHER bytes until it has the block back, or has asked often. Then all is freed.
   Usage: between STEP SIZE OTHER. Says whether the call has so many instructions, whether the owner met the block, and by how much
   the bytes requested differ in the end from those at the start. */
#include "stepping.h"
#include "totals.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { OFTEN = 100 };

static atomic_int turn;
static void *freed;
static long step, steps;

static void wait_for_turn(int number) {
    while (turn < number) {
        sched_yield();
    }
}

static void trapped(int signal, siginfo_t *info, void *context) {
    (void)signal;
    if (is_mark(info, context) || ++steps != step) {
        return;
    }
    turn = 3;
    wait_for_turn(4);
}

static void *frees(void *unused) {
    void *volatile own = malloc(40);
    free(own);
    turn = 1;
    wait_for_turn(2);
    MARK();
    free(freed);
    MARK();
    if (steps < step) {
        turn = 3;
    }
    wait_for_turn(5);
    return unused;
}

int main(int argument_count, char **arguments) {
    must(argument_count == 4);
    step = atol(arguments[1]);
    size_t size = (size_t)atol(arguments[2]), other = (size_t)atol(arguments[3]);
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    must(sigaction(SIGTRAP, &action, NULL) == 0);
    count();
    pthread_t thread;
    must(pthread_create(&thread, NULL, frees, NULL) == 0);
    wait_for_turn(1);
    long before = count().requested;
    must((freed = malloc(size)) != NULL);
    void *old = freed, *blocks[OFTEN];
    turn = 2;
    wait_for_turn(3);
    int taken = 0, met = 0;
    while (taken < OFTEN && !met) {
        must((blocks[taken] = malloc(other)) != NULL);
        met = blocks[taken++] == old;
    }
    turn = 4;
    for (int i = 0; i < taken; i++) {
        free(blocks[i]);
    }
    turn = 5;
    must(pthread_join(thread, NULL) == 0);
    say("%d %d %ld", steps >= step, met, count().requested - before);
    return 0;
}
