/* The life of threads and the ends of processes. */
#include "storm.h"
#include <sys/time.h>
#include <ucontext.h>

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

static volatile int handled;

static void count_signal(int signal) {
    (void)signal;
    handled = handled + 1;
}

/* Signals rain while malloc runs; the handler does not allocate, but moves to a stack of its own. */
HAZARD(life, signals_on_another_stack, "") {
    stack_t stack = {.ss_sp = take(65536), .ss_size = 65536, .ss_flags = 0};
    must(sigaltstack(&stack, NULL) == 0);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = count_signal;
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

