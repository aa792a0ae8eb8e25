/* A thread that is cancelled after a chosen number of the instructions between two marks: a trap follows each. */
#pragma once
#include "handshake.h"
#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

/* The first starts the stepping, the next ends it. */
#define MARK() __asm__ volatile("int3" ::: "memory")

static volatile int steps, last_step;

/* SIGTRAP's handler. */
__attribute__((unused)) static void trapped(int signal, siginfo_t *info, void *context) {
    enum { TRAP_FLAG = 0x100 };
    (void)signal;
    greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];
    if (info->si_code != TRAP_TRACE) {
        *flags ^= TRAP_FLAG;
    } else if (++steps == last_step) {
        *flags &= ~TRAP_FLAG;
        must(pthread_cancel(pthread_self()) == 0);
    }
}
