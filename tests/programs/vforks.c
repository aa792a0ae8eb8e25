/* vfork children borrow the parent's memory: what they allocate is the parent's, and their end is not its end. */
#include "handshake.h"
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

static void reap(pid_t pid, int code) {
    int status;
    must(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == code);
}

int main(void) {
    static void *volatile kept[4];
    static char *argv[] = {"true", NULL};
    kept[0] = malloc(100);
    /* The first use of these may allocate for good. */
    reap(vfork() ?: (_exit(3), 0), 3);
    pause_here("before");
    pid_t pid = vfork();
    if (pid == 0) {
        kept[1] = malloc(5000);
        free(kept[0]);
        kept[2] = calloc(10, 1000);
        kept[3] = malloc(300000);
        _exit(5);
    }
    reap(pid, 5);
    pause_here("ended by _exit");
    pid = vfork();
    if (pid == 0) {
        free(kept[1]);
        execv("/bin/true", argv);
        _exit(6);
    }
    reap(pid, 0);
    pause_here("ended by exec");
    pid = vfork();
    if (pid == 0) {
        execv("/nowhere/true", argv);
        _exit(6);
    }
    reap(pid, 6);
    must(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) == 0);
    reap(pid, 0);
    must(posix_spawn(&pid, "/nowhere/true", NULL, NULL, argv, environ) == ENOENT);
    free(kept[2]);
    free(kept[3]);
    pause_here("after failures");
    return 0;
}
