/* Children forked while other threads change the runs, and their children, forked in peace: what the first had to put in
   order is in order for the second, which know as much of what is cached.
   Usage: cutgenerations CHILDREN. */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>

enum { THREADS = 3, LARGE = 3 << 20 };

static void *change_runs(void *unused) {
    for (;;) {
        char *volatile block = malloc(LARGE);
        must(block != NULL);
        memset(block, 1, LARGE);
        free(block);
    }
    return unused;
}

static size_t cached(void) {
    char *volatile block = malloc(10);
    free(block);
    return mallinfo2().keepcost;
}

static void be_a_child(int number) {
    cached();
    malloc_trim(0);
    size_t left = cached();
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        size_t now = cached();
        if (now > left + 65536) {
            fail("child %d has %zu bytes cached, its child %zu", number, left, now);
        }
        _exit(0);
    }
    int status;
    must(waitpid(pid, &status, 0) == pid);
    _exit(status != 0);
}

int main(int count, char **arguments) {
    must(count == 2);
    int children = atoi(arguments[1]);
    pthread_t thread;
    for (int i = 0; i < THREADS; i++) {
        must(pthread_create(&thread, NULL, change_runs, NULL) == 0);
    }
    usleep(50000);
    for (int i = 0; i < children; i++) {
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            be_a_child(i);
        }
        int status;
        must(waitpid(pid, &status, 0) == pid && status == 0);
    }
    printf("%d children\n", children);
    fflush(stdout);
    _exit(0);
}
