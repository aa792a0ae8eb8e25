/* The life of processes and threads: forks in every way, at every time. */
#include "hazard.h"
#include <sched.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

extern char **environ;

static pid_t raw_fork(void) { return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }

static atomic_bool over;
static void *volatile shared[64];

/* Allocates and frees for ever; most frees are of another thread's block. */
static void *storm(void *argument) {
    unsigned seed = (unsigned)(uintptr_t)argument;
    while (!over) {
        seed = seed * 1103515245 + 12345;
        size_t size = (seed >> 16) % (seed % 97 ? 3000 : 300000);
        free(__atomic_exchange_n(&shared[seed / 7 % 64], (void *)take(size), __ATOMIC_ACQ_REL));
    }
    return NULL;
}

enum { STORMS = 4 };
static pthread_t storms[STORMS];

static void begin_storm(void *(*work)(void *)) {
    for (uintptr_t i = 0; i < STORMS; i++) {
        must(pthread_create(&storms[i], NULL, work, (void *)(i * 7919 + 1)) == 0);
    }
}

static void end_storm(void) {
    over = true;
    for (int i = 0; i < STORMS; i++) {
        must(pthread_join(storms[i], NULL) == 0);
    }
}

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

HAZARD(life, fork_while_threads_allocate, "") { fork_in_storm(fork, 200); }

/* Handlers do not run; where a lock is held at that moment, nobody resets it. */
HAZARD(life, raw_fork_while_threads_allocate, "") { fork_in_storm(raw_fork, 200); }
HAZARD(life, underscore_fork_while_threads_allocate, "") { fork_in_storm(_Fork, 200); }

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
    for (int i = 0; i < 200; i++) {
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
    fork_in_storm(fork, 50);
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

static void *one_block(void *unused) {
    free(take(100));
    return unused;
}

HAZARD(life, a_hundred_thousand_threads, "") {
    for (int i = 0; i < 100000; i++) {
        in_a_thread(one_block, NULL);
    }
}

static pthread_barrier_t meet;

static void *hold_some(void *unused) {
    void *blocks[3];
    for (int i = 0; i < 3; i++) {
        blocks[i] = take(5000);
    }
    pthread_barrier_wait(&meet);
    for (int i = 0; i < 3; i++) {
        free(blocks[i]);
    }
    return unused;
}

HAZARD(life, two_thousand_live_threads, "") {
    enum { THREADS = 2000 };
    static pthread_t threads[THREADS];
    pthread_attr_t small;
    must(pthread_barrier_init(&meet, NULL, THREADS) == 0);
    must(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 32768) == 0);
    for (int i = 0; i < THREADS; i++) {
        must(pthread_create(&threads[i], &small, hold_some, NULL) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        must(pthread_join(threads[i], NULL) == 0);
    }
}

static pthread_key_t key;
static __thread int rounds;

static void destroy(void *block) {
    free(block);
    rounds++;
    if (rounds < 4) {
        must(pthread_setspecific(key, take(2000)) == 0);
    }
}

static void *with_destructor(void *unused) {
    must(pthread_setspecific(key, take(2000)) == 0);
    return unused;
}

HAZARD(life, allocation_in_every_round_of_destructors, "") {
    must(pthread_key_create(&key, destroy) == 0);
    for (int i = 0; i < 1000; i++) {
        in_a_thread(with_destructor, NULL);
    }
}

/* No key is left for anybody, and the highest of them need tables of their own. */
HAZARD(life, no_keys_left, "") {
    pthread_key_t last = 0, made;
    while (pthread_key_create(&made, free) == 0) {
        last = made;
    }
    key = last;
    for (int i = 0; i < 100; i++) {
        in_a_thread(with_destructor, NULL);
    }
}

static void *until_cancelled(void *unused) {
    for (;;) {
        void *block = take(3000);
        pthread_cleanup_push(free, block);
        pthread_testcancel();
        pthread_cleanup_pop(1);
        FILE *null = fopen("/dev/null", "r");
        if (null) {
            fclose(null);
        }
    }
    return unused;
}

HAZARD(life, cancelled_threads, "") {
    for (int i = 0; i < 300; i++) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, until_cancelled, NULL) == 0);
        if (i % 3) {
            sched_yield();
        }
        must(pthread_cancel(thread) == 0 && pthread_join(thread, NULL) == 0);
    }
}

static void fork_and_end(void (*end)(void)) {
    for (int i = 0; i < 50; i++) {
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            over = false;
            for (uintptr_t k = 0; k < STORMS; k++) {
                pthread_t thread;
                must(pthread_create(&thread, NULL, storm, (void *)k) == 0);
                must(pthread_detach(thread) == 0);
            }
            use_the_heap();
            end();
        }
        reap(pid);
    }
}

static void by_exit(void) { exit(0); }
static void by_quick_exit(void) { quick_exit(0); }
static void allocate_at_end(void) { use_the_heap(); }

HAZARD(life, exit_while_threads_allocate, "") {
    must(atexit(allocate_at_end) == 0);
    fork_and_end(by_exit);
}

HAZARD(life, quick_exit_while_threads_allocate, "") {
    must(at_quick_exit(allocate_at_end) == 0);
    fork_and_end(by_quick_exit);
}

static void *end_process(void *unused) {
    use_the_heap();
    exit(0);
    return unused;
}

HAZARD(life, exit_by_another_thread, "") {
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            pthread_t thread;
            must(pthread_create(&thread, NULL, end_process, NULL) == 0);
            for (;;) {
                free(take(100));
            }
        }
        reap(pid);
    }
}

static void *outlive(void *unused) {
    use_the_heap();
    return unused;
}

HAZARD(life, main_thread_ends_first, "") {
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, outlive, NULL) == 0);
        pthread_exit(NULL);
    }
    reap(pid);
}

static void *fork_child_exits_thread(void *unused) {
    pid_t pid = fork();
    if (pid == 0) {
        use_the_heap();
        pthread_exit(NULL);
    }
    reap(pid);
    return unused;
}

HAZARD(life, a_childs_only_thread_ends, "") { in_a_thread(fork_child_exits_thread, NULL); }

static void allocate_in_handler(int signal) {
    (void)signal;
    handled = handled + 1;
}

/* Signals rain while malloc runs; the handler does not allocate, but moves to a stack of its own. */
HAZARD(life, signals_on_another_stack, "") {
    stack_t stack = {.ss_sp = take(65536), .ss_size = 65536, .ss_flags = 0};
    must(sigaltstack(&stack, NULL) == 0);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = allocate_in_handler;
    action.sa_flags = SA_ONSTACK | SA_RESTART;
    must(sigaction(SIGALRM, &action, NULL) == 0);
    struct itimerval timer = {{0, 200}, {0, 200}}, none = {{0, 0}, {0, 0}};
    must(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    while (handled < 500) {
        use_the_heap();
    }
    must(setitimer(ITIMER_REAL, &none, NULL) == 0);
}

static ucontext_t here, there;

static void coroutine(void) {
    for (int i = 0; i < 100; i++) {
        free(take((size_t)i * 50));
        must(swapcontext(&there, &here) == 0);
    }
}

static void *with_coroutine(void *unused) {
    static __thread char *stack;
    stack = take(65536);
    must(getcontext(&there) == 0);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = 65536;
    there.uc_link = &here;
    makecontext(&there, coroutine, 0);
    for (int i = 0; i < 100; i++) {
        must(swapcontext(&here, &there) == 0);
    }
    return unused;
}

HAZARD(life, coroutines_on_heap_stacks, "") { in_a_thread(with_coroutine, NULL); }

static void *in_little_stack(void *unused) {
    for (int i = 0; i < 200; i++) {
        free(take((size_t)i * 100));
        void *block = realloc(take(50000), 300000);
        must(block != NULL);
        free(block);
        free(calloc(3, 40000));
    }
    return unused;
}

HAZARD(life, smallest_stacks, "") {
    pthread_attr_t small;
    must(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 16384) == 0);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        must(pthread_create(&thread, &small, in_little_stack, NULL) == 0 && pthread_join(thread, NULL) == 0);
    }
}

