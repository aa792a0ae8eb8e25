/* Linked with the allocator instead of preloaded. */
#include "hazard.h"

static void *use_in_thread(void *unused) {
    use_the_heap();
    return unused;
}

HAZARD(life, linked_with_it, "linked") {
    use_the_heap();
    in_a_thread(use_in_thread, NULL);
    pid_t pid = fork();
    if (pid == 0) {
        use_the_heap();
        exit(0);
    }
    reap(pid);
}
