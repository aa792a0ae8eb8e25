/* The main thread fills and frees slabs and ends; another, which has never allocated, forks. The child, in which nobody has
   the heap that they lie in, gives all of it back, and counts no less than nothing. */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>

enum { BLOCKS = 3000 };

static pthread_t first;

static void *fork_later(void *unused) {
    must(pthread_join(first, NULL) == 0);
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        char *volatile block = malloc(10);
        must(block != NULL);
        free(block);
        malloc_trim(0);
        struct mallinfo2 info = mallinfo2();
        if (info.keepcost > info.arena || info.fordblks > info.arena) {
            fail("%zu bytes cached and %zu free of %zu", info.keepcost, info.fordblks, info.arena);
        }
        _exit(0);
    }
    int status;
    must(waitpid(pid, &status, 0) == pid);
    say("the child ended with %d", status);
    _exit(0);
    return unused;
}

static void *end(void *unused) {
    pthread_exit(unused);
}

int main(void) {
    static void *blocks[BLOCKS];
    pthread_t other;
    /* The C library loads what `pthread_exit` needs, and allocates for it, now. */
    must(pthread_create(&other, NULL, end, NULL) == 0 && pthread_join(other, NULL) == 0);
    first = pthread_self();
    must(pthread_create(&other, NULL, fork_later, NULL) == 0);
    for (int size = 100; size <= 400; size *= 2) {
        for (int i = 0; i < BLOCKS; i++) {
            must((blocks[i] = malloc(size)) != NULL);
        }
        for (int i = 0; i < BLOCKS; i++) {
            free(blocks[i]);
        }
    }
    pthread_exit(NULL);
}
