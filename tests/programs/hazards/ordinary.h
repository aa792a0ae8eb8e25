/* What an ordinary program does: it uses the heap, starts a thread, forks. */
#pragma once
#include "hazard.h"

static void *use_in_thread(void *unused) {
    use_the_heap();
    return unused;
}

static void ordinary_life(void) {
    use_the_heap();
    in_a_thread(use_in_thread, NULL);
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        use_the_heap();
        exit(0);
    }
    reap(pid);
}
