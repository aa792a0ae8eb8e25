/* Forks in every way, at every time, and what else makes processes. */
#include "storm.h"
#include <sched.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/time.h>

extern char **environ;

static pid_t raw_fork(void) { return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }

static void fork_in_storm(pid_t (*how)(void), int times) {
    begin_storm(storm);
    for (int i = 0; i < times; i++) {
        pid_t pid = how();
        must(pid >= 0);
        if (pid == 0) {
            use_the_heap();
            for (int k = 0; k < 64; k++) {
                free(shared[k]);
            }
            _exit(0);
        }
        reap(pid);
    }
    end_storm();
}

HAZARD(life, fork_while_threads_allocate, "") { fork_in_storm(fork, 60); }

/* Handlers do not run; where a lock is held at that moment, nobody resets it. */
HAZARD(life, raw_fork_while_threads_allocate, "") { fork_in_storm(raw_fork, 60); }
HAZARD(life, underscore_fork_while_threads_allocate, "") { fork_in_storm(_Fork, 60); }

static void *print_lines(void *argument) {
    FILE *null = fopen("/dev/null", "w");
    must(null != NULL);
    while (!over) {
        fprintf(null, "%s %p\n", "a line", argument);
        FILE *memory = tmpfile();
        must(memory != NULL);
        fclose(memory);
    }
    fclose(null);
    return NULL;
}

/* stdio's locks and an allocator's, taken in one order here and in the other there. */
HAZARD(life, fork_while_threads_print, "") {
    begin_storm(print_lines);
    for (int i = 0; i < 100; i++) {
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            printf("%s", "");
            use_the_heap();
            _exit(0);
        }
        reap(pid);
    }
    end_storm();
}

static void *flush_all(void *unused) {
    while (!over) {
        fflush(NULL);
        free(take(100));
    }
    return unused;
}

HAZARD(life, fork_while_threads_flush, "") {
    begin_storm(flush_all);
    for (int i = 0; i < 100; i++) {
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            fflush(NULL);
            use_the_heap();
            _exit(0);
        }
        reap(pid);
    }
    end_storm();
}

static void *fork_often(void *unused) {
    for (int i = 0; i < 40; i++) {
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            use_the_heap();
            _exit(0);
        }
        reap(pid);
    }
    return unused;
}

HAZARD(life, threads_fork_at_once, "") {
    begin_storm(fork_often);
    end_storm();
}

HAZARD(life, chain_of_forks, "") {
    void *block = take(100);
    for (int depth = 0; depth < 30; depth++) {
        pid_t pid = fork();
        must(pid >= 0);
        if (pid != 0) {
            reap(pid);
            if (depth == 0) {
                return;
            }
            _exit(0);
        }
        free(block);
        block = take(100 + (size_t)depth * 1000);
        use_the_heap();
    }
    _exit(0);
}

static volatile int handled;

static void fork_in_handler(int signal) {
    (void)signal;
    if (handled >= 200) {
        return;
    }
    handled = handled + 1;
    pid_t pid = _Fork();
    if (pid == 0) {
        _exit(0);
    }
    if (pid > 0) {
        int status;
        waitpid(pid, &status, 0);
    }
}

/* The child of a handler goes on where malloc was interrupted. */
static void fork_and_return(int signal) {
    (void)signal;
    if (handled >= 100) {
        return;
    }
    handled = handled + 1;
    pid_t pid = _Fork();
    if (pid == 0) {
        handled = 1000;
    } else if (pid > 0) {
        int status = 0;
        waitpid(pid, &status, 0);
        if (status != 0) {
            fail("the child of a handler ended with %#x", status);
        }
    }
}

static void interrupted(void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    must(sigaction(SIGALRM, &action, NULL) == 0);
    struct itimerval timer = {{0, 500}, {0, 500}};
    must(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    void *blocks[100] = {NULL};
    unsigned seed = 1;
    int limit = handler == fork_and_return ? 100 : 200;
    while (handled < limit) {
        seed = seed * 1103515245 + 12345;
        free(blocks[seed / 77 % 100]);
        blocks[seed / 77 % 100] = take((seed >> 16) % (seed % 91 ? 2000 : 200000));
    }
    struct itimerval none = {{0, 0}, {0, 0}};
    must(setitimer(ITIMER_REAL, &none, NULL) == 0);
    use_the_heap();
    if (handled >= 1000) {
        _exit(0);
    }
}

HAZARD(life, fork_in_a_handler_inside_malloc, "") { interrupted(fork_in_handler); }
HAZARD(life, childs_handler_returns_into_malloc, "") { interrupted(fork_and_return); }

static void *kept[3];
static void allocate_before(void) { kept[0] = take(3000); }
static void allocate_in_parent(void) {
    free(kept[0]);
    kept[1] = take(5000);
}
static void allocate_in_child(void) {
    free(kept[0]);
    kept[2] = take(7000);
    use_the_heap();
}

HAZARD(life, fork_handlers_allocate, "") {
    must(pthread_atfork(allocate_before, allocate_in_parent, allocate_in_child) == 0);
    fork_in_storm(fork, 30);
}

HAZARD(life, vfork_and_exec, "") {
    static char *arguments[] = {(char *)"true", NULL};
    for (int i = 0; i < 100; i++) {
        pid_t pid = vfork();
        if (pid == 0) {
            void *volatile block = take(300);
            free(block);
            execv("/bin/true", arguments);
            _exit(1);
        }
        reap(pid);
        use_the_heap();
    }
}

HAZARD(life, spawn_from_threads, "") {
    static char *arguments[] = {(char *)"true", NULL};
    begin_storm(storm);
    for (int i = 0; i < 100; i++) {
        pid_t pid;
        must(posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, environ) == 0);
        reap(pid);
    }
    end_storm();
}

HAZARD(life, popen_and_system, "") {
    begin_storm(storm);
    for (int i = 0; i < 20; i++) {
        char line[16] = "";
        FILE *pipe = popen("echo line", "r");
        must(pipe && fgets(line, sizeof line, pipe) && strcmp(line, "line\n") == 0 && pclose(pipe) == 0);
        must(system("exit 0") == 0);
    }
    end_storm();
}

HAZARD(life, exec_while_threads_allocate, "") {
    if (getenv("HAZARD_AGAIN") == NULL) {
        must(setenv("HAZARD_AGAIN", "1", 1) == 0);
        begin_storm(storm);
        use_the_heap();
        execl("/proc/self/exe", "life", "exec_while_threads_allocate", NULL);
        fail("exec failed");
    }
}

HAZARD(life, daemonised, "pid-namespace") {
    int ends[2];
    must(pipe(ends) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        begin_storm(storm);
        must(daemon(1, 1) == 0);
        use_the_heap();
        must(write(ends[1], "d", 1) == 1);
        _exit(0);
    }
    reap(pid);
    char byte;
    must(read(ends[0], &byte, 1) == 1 && byte == 'd');
}
