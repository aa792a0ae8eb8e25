/* A parent and a child made in the way the first argument names, each allocating what it knows. The child speaks to
   the parent by pipes; only the parent speaks to the test, and at every pause says the child's PID.
   Second argument: how the child ends (exit, _exit, quick_exit, leave, return). */
#include "handshake.h"
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { PARENT = 300, CHILD = 500 };

static int to_child[2], to_parent[2];

static void tell(int pipe) { must(write(pipe, "x", 1) == 1); }
static void hear(int pipe) {
    char byte;
    must(read(pipe, &byte, 1) == 1);
}

static void *blocks[PARENT + CHILD];

static void allocate(int from, int count, size_t size) {
    for (int i = from; i < from + count; i++) {
        must((blocks[i] = malloc(size)) != NULL);
        memset(blocks[i], i, size);
    }
}

static void release(int from, int count) {
    for (int i = from; i < from + count; i++) {
        free(blocks[i]);
    }
}

static int child(const char *end) {
    hear(to_child[0]); /* nothing done yet */
    allocate(PARENT, CHILD, 64);
    tell(to_parent[1]);
    hear(to_child[0]); /* the test has looked */
    release(0, PARENT); /* the parent's blocks, our copies of them */
    tell(to_parent[1]);
    hear(to_child[0]);
    if (strcmp(end, "_exit") == 0) {
        _exit(7);
    } else if (strcmp(end, "quick_exit") == 0) {
        quick_exit(7);
    } else if (strcmp(end, "_Exit") == 0) {
        _Exit(7);
    } else if (strcmp(end, "exit") == 0) {
        exit(7);
    } else if (strcmp(end, "syscall") == 0) {
        syscall(SYS_exit_group, 7);
    } else if (strcmp(end, "leave") == 0) {
        syscall(SYS_exit, 7); /* the thread only: as it is where the function that `clone` calls returns */
    }
    return 7;
}

int main(int count, char **arguments) {
    must(count == 3);
    must(pipe(to_child) == 0 && pipe(to_parent) == 0);
    allocate(0, PARENT, 1000);
    pause_here("before");
    pid_t pid;
    if (strcmp(arguments[1], "fork") == 0) {
        pid = fork();
    } else if (strcmp(arguments[1], "_Fork") == 0) {
        pid = _Fork();
    } else if (strcmp(arguments[1], "clone") == 0) {
        /* As fork does it, but nobody's handlers run. */
        pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    } else {
        fail("how is %s?", arguments[1]);
    }
    must(pid >= 0);
    if (pid == 0) {
        return child(arguments[2]);
    }
    tell(to_child[1]);
    hear(to_parent[0]);
    pause_here("%d", pid); /* the child has allocated, the parent nothing */
    allocate(PARENT, CHILD / 5, 2000);
    tell(to_child[1]);
    hear(to_parent[0]);
    pause_here("%d", pid); /* both have gone on */
    release(PARENT, CHILD / 5);
    tell(to_child[1]);
    int status;
    must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    pause_here("%d", pid); /* the child has ended */
    return 0;
}
