/* Ends in the way the argument names. */
#include "handshake.h"
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

static void *leave(void *how) {
    if (how) {
        _exit(0);
    }
    return NULL;
}

int main(int count, char **arguments) {
    must(count == 2);
    const char *how = arguments[1];
    void *volatile block = malloc(100);
    must(block != NULL);
    pthread_t thread;
    if (strcmp(how, "exit") == 0) {
        exit(0);
    } else if (strcmp(how, "_exit") == 0) {
        _exit(0);
    } else if (strcmp(how, "_Exit") == 0) {
        _Exit(0);
    } else if (strcmp(how, "quick_exit") == 0) {
        quick_exit(0);
    } else if (strcmp(how, "pthread_exit") == 0) {
        must(pthread_create(&thread, NULL, leave, NULL) == 0);
        pthread_exit(NULL);
    } else if (strcmp(how, "thread_exit") == 0) {
        must(pthread_create(&thread, NULL, leave, arguments) == 0);
        pthread_join(thread, NULL);
    } else if (strcmp(how, "daemon") == 0) {
        /* Its parent ends in it, and whoever waits for that has the pipe's end when the daemon has gone as well. */
        must(daemon(1, 1) == 0);
    } else if (strcmp(how, "kill") == 0) {
        raise(SIGKILL);
    } else if (strcmp(how, "syscall") == 0) {
        syscall(SYS_exit_group, 0);
    }
    return 0;
}
