/* A thread whose first call of the allocator comes from its vfork child. Says the thread's number, and pauses. */
#include "handshake.h"
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void *vforks(void *unused) {
    pid_t child = vfork();
    if (child == 0) {
        free(malloc(64));
        _exit(0);
    }
    int status;
    must(waitpid(child, &status, 0) == child && status == 0);
    void *block = malloc(64);
    must(block != NULL);
    pause_here("%ld", syscall(SYS_gettid));
    free(block);
    return unused;
}

int main(void) {
    pthread_t thread;
    must(pthread_create(&thread, NULL, vforks, NULL) == 0);
    must(pthread_join(thread, NULL) == 0);
    return 0;
}
