/* A piece of ordinary work: threads, small and large blocks, a fork. Says "worked".
   "closed": all descriptors are closed, and stay so; ends with 42. "pause": waits for the test first. */
#include "handshake.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>

enum { THREADS = 24 };

static void *work(void *argument) {
    unsigned seed = (unsigned)(uintptr_t)argument;
    char *held[100] = {NULL};
    for (int i = 0; i < 5000; i++) {
        seed = seed * 1103515245 + 12345;
        unsigned slot = (seed >> 16) % 100;
        size_t size = (seed >> 8) % (i % 100 ? 2000 : 200000) + 1;
        if (held[slot] && i % 2) {
            held[slot] = realloc(held[slot], size);
        } else {
            free(held[slot]);
            held[slot] = malloc(size);
        }
        must(held[slot] != NULL);
        memset(held[slot], i, size < 300 ? size : 300);
        held[slot][size - 1] = 1;
    }
    for (int i = 0; i < 100; i++) {
        free(held[i]);
    }
    return NULL;
}

int main(int count, char **arguments) {
    int closed = count > 1 && strcmp(arguments[1], "closed") == 0;
    if (count > 1 && !closed) {
        pause_here("ready");
    }
    work(NULL);
    if (closed) {
        /* Nobody else has taken the lowest descriptors meanwhile. */
        must(open("/dev/null", O_RDWR) == 0 && open("/dev/null", O_RDWR) == 1);
        close(0);
        close(1);
    }
    pthread_attr_t small;
    must(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 65536) == 0);
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        must(pthread_create(&threads[i], &small, work, (void *)i) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        must(pthread_join(threads[i], NULL) == 0);
    }
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        work(NULL);
        exit(33);
    }
    int status;
    must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 33);
    if (closed) {
        return 42;
    }
    say("worked");
    return 0;
}
