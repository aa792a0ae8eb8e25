/* Threads that fork while the library's own thread gives back what has just been freed (STATSALLOC_BACKGROUND=1): each fork
   has to wait for it, several at once, and none for ever, though nothing is freed after that.
   Usage: purgedforks THREADS ROUNDS. */
#include "handshake.h"
#include <pthread.h>
#include <sys/wait.h>

enum { MOST = 16, FORKS = 6, BLOCKS = 64, SIZE = 256 << 10 };

static pthread_barrier_t barrier;

static void *fork_often(void *rounds) {
    for (int i = 0; i < *(int *)rounds * FORKS; i++) {
        if (i % FORKS == 0) {
            pthread_barrier_wait(&barrier);
        }
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            _exit(0);
        }
        int status;
        must(waitpid(pid, &status, 0) == pid && status == 0);
    }
    return NULL;
}

int main(int count, char **arguments) {
    must(count == 3);
    int threads = atoi(arguments[1]), rounds = atoi(arguments[2]);
    must(threads <= MOST && pthread_barrier_init(&barrier, NULL, threads + 1) == 0);
    pthread_t others[MOST];
    for (int i = 0; i < threads; i++) {
        must(pthread_create(&others[i], NULL, fork_often, &rounds) == 0);
    }
    for (int round = 0; round < rounds; round++) {
        static char *blocks[BLOCKS];
        for (int i = 0; i < BLOCKS; i++) {
            must((blocks[i] = malloc(SIZE)) != NULL);
            memset(blocks[i], round, SIZE);
        }
        for (int i = 0; i < BLOCKS; i++) {
            free(blocks[i]);
        }
        pthread_barrier_wait(&barrier);
    }
    for (int i = 0; i < threads; i++) {
        must(pthread_join(others[i], NULL) == 0);
    }
    printf("%d forks\n", threads * rounds * FORKS);
    return 0;
}
