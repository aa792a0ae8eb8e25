/* A program that steps through itself: from one mark to the next a trap follows every instruction, for SIGTRAP's handler. */
#pragma once
#include "handshake.h"
#include <signal.h>
#include <stdbool.h>
#include <ucontext.h>

/* Starts the stepping, or ends it. */
#define MARK() __asm__ volatile("int3" ::: "memory")

enum { TRAP_FLAG = 0x100 };

static inline greg_t *flags_of(void *context) { return &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL]; }

static volatile bool stepping;

/* For the handler: whether the trap is a mark, which has then been heeded; else it is a step. A mark is known by its own code, and
   sets the flag instead of turning it round: on a virtual machine, once in some hundred million steps, the stepping has been
   seen to end by itself. */
static inline bool is_mark(const siginfo_t *info, void *context) {
    if (info->si_code != SI_KERNEL) {
        return false;
    }
    stepping = !stepping;
    *flags_of(context) = stepping ? *flags_of(context) | TRAP_FLAG : *flags_of(context) & ~TRAP_FLAG;
    return true;
}

/* For the handler: no more steps, and no second mark. */
static inline void stop_stepping(void *context) {
    stepping = false;
    *flags_of(context) &= ~TRAP_FLAG;
}
