/* Threads that never stop allocating while the main thread forks; every child allocates, starts a thread and ends.
   Usage: forkstorm FORKS */
#include "handshake.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>

enum { THREADS = 4 };

static atomic_bool over;
static void *volatile shared[64];

static void work(unsigned seed, unsigned rounds) {
    for (unsigned i = 0; i < rounds; i++) {
        seed = seed * 1103515245 + 12345;
        size_t size = (seed >> 16) % (i % 50 ? 3000 : 100000);
        char *block = malloc(size);
        must(block != NULL);
        memset(block, (int)i, size);
        block = realloc(block, size + size / 2 + 1);
        must(block != NULL);
        /* Hands it on: most frees are remote. */
        void *other = __atomic_exchange_n(&shared[seed % 64], (void *)block, __ATOMIC_ACQ_REL);
        free(other);
    }
}

static void *storm(void *argument) {
    for (unsigned seed = (unsigned)(uintptr_t)argument; !over; seed++) {
        work(seed, 100);
    }
    return NULL;
}

static void *once(void *argument) {
    work((unsigned)(uintptr_t)argument, 500);
    return NULL;
}

int main(int count, char **arguments) {
    must(count == 2);
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        must(pthread_create(&threads[i], NULL, storm, (void *)(i * 1000)) == 0);
    }
    int forks = atoi(arguments[1]);
    for (int i = 0; i < forks; i++) {
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            work((unsigned)i, 1000);
            pthread_t thread;
            must(pthread_create(&thread, NULL, once, (void *)(uintptr_t)i) == 0);
            must(pthread_join(thread, NULL) == 0);
            if (i % 10 == 0) { /* and a grandchild */
                pid_t grandchild = fork();
                if (grandchild == 0) {
                    work((unsigned)i, 100);
                    _exit(0);
                }
                int status;
                must(waitpid(grandchild, &status, 0) == grandchild && status == 0);
            }
            i % 2 ? _exit(0) : exit(0);
        }
        int status;
        must(waitpid(pid, &status, 0) == pid);
        if (status != 0) {
            fail("child %d ended with status %#x", i, status);
        }
    }
    over = true;
    for (int i = 0; i < THREADS; i++) {
        must(pthread_join(threads[i], NULL) == 0);
    }
    say("%d children", forks);
    return 0;
}
