/* A thread that is cancelled after a chosen number of the instructions between two marks. */
#pragma once
#include "stepping.h"
#include <pthread.h>

static volatile int steps, last_step;

/* SIGTRAP's handler. */
__attribute__((unused)) static void trapped(int signal, siginfo_t *info, void *context) {
    (void)signal;
    if (!is_mark(info, context) && ++steps == last_step) {
        stop_stepping(context);
        must(pthread_cancel(pthread_self()) == 0);
    }
}
