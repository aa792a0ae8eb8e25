/* Threads that are cancelled, at points of cancellation and between them. */
#include "../cancelled.h"
#include "storm.h"
#include <sched.h>

/* glibc 2.36 loses the result of a thread that is cancelled when it allows it again. */
static void cancel_and_join(pthread_t thread) { must(pthread_cancel(thread) == 0 && pthread_join(thread, NULL) == 0); }

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
        cancel_and_join(thread);
    }
}

/* Where threads sleep, and are cancelled in their sleep. */
static int ends[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

static void sleep_in_read(void) {
    char byte;
    (void)!read(ends[0], &byte, 1);
}

static void unlock(void *unused) {
    (void)unused;
    pthread_mutex_unlock(&mutex);
}

static void sleep_in_a_condition(void) {
    must(pthread_mutex_lock(&mutex) == 0);
    pthread_cleanup_push(unlock, NULL);
    for (;;) {
        pthread_cond_wait(&never, &mutex);
    }
    pthread_cleanup_pop(1);
}

static void sleep_in_pause(void) { pause(); }

static void free_two(void *blocks) {
    free(((void **)blocks)[0]);
    free(((void **)blocks)[1]);
    use_the_heap();
}

static void *asleep(void *sleep) {
    void *blocks[2] = {take(200), take(100000)};
    pthread_cleanup_push(free_two, blocks);
    for (;;) {
        ((void (*)(void))sleep)();
    }
    pthread_cleanup_pop(1);
    return NULL;
}

HAZARD(life, cancelled_while_asleep, "") {
    static void (*const sleeps[])(void) = {sleep_in_read, sleep_in_a_condition, sleep_in_pause};
    must(pipe(ends) == 0);
    begin_storm(storm);
    for (int i = 0; i < 90; i++) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, asleep, (void *)sleeps[i % 3]) == 0);
        if (i % 2) {
            sched_yield();
        }
        cancel_and_join(thread);
    }
    end_storm();
}

static atomic_int computing;

static void *compute(void *unused) {
    void *volatile blocks[2] = {take(200), take(100000)};
    pthread_cleanup_push(free_two, (void *)blocks);
    computing = 1;
    must(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL) == 0);
    for (volatile unsigned long number = 0;; number = number + 1) {
    }
    pthread_cleanup_pop(1);
    return unused;
}

/* At any instruction of a thread that calls nobody, while others allocate. */
HAZARD(life, cancelled_while_computing, "") {
    begin_storm(storm);
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        computing = 0;
        must(pthread_create(&thread, NULL, compute, NULL) == 0);
        while (!computing) {
            sched_yield();
        }
        cancel_and_join(thread);
    }
    end_storm();
}

static void *allocate_until_cancelled(void *argument) {
    void *blocks[16] = {NULL};
    unsigned seed = (unsigned)(uintptr_t)argument;
    must(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL) == 0);
    computing = 1;
    for (;;) {
        seed = seed * 1103515245 + 12345;
        size_t size = (seed >> 16) % (seed % 7 ? 3000 : 300000);
        if (seed % 3 == 0) {
            free(__atomic_exchange_n(&shared[seed / 7 % 64], malloc(size), __ATOMIC_ACQ_REL));
        } else {
            free(__atomic_exchange_n(&blocks[seed / 7 % 16], malloc(size), __ATOMIC_ACQ_REL));
        }
    }
    return NULL;
}

/* POSIX allows no call here that is not made for it, and malloc is not. What is lost must be the cancelled thread's alone:
   nobody else may hang or be given what is in use. */
HAZARD(life, cancelled_inside_malloc, "") {
    begin_storm(storm);
    for (uintptr_t i = 0; i < 100; i++) {
        pthread_t thread;
        computing = 0;
        must(pthread_create(&thread, NULL, allocate_until_cancelled, (void *)i) == 0);
        while (!computing) {
            sched_yield();
        }
        for (volatile unsigned wait = 0; wait < i * 97 % 20000; wait = wait + 1) {
        }
        cancel_and_join(thread);
    }
    end_storm();
}

static atomic_bool ended;
static size_t stepped_size;
static void *volatile block;

static void step_malloc(void) {
    MARK();
    void *volatile got = malloc(stepped_size);
    MARK();
    free(got);
}

static void step_free(void) {
    void *volatile own = malloc(stepped_size);
    MARK();
    free(own);
    MARK();
}

static void step_realloc(void) {
    void *volatile own = malloc(stepped_size);
    MARK();
    own = realloc(own, stepped_size * 3);
    MARK();
    free(own);
}

/* Another thread's block. */
static void step_remote_free(void) {
    MARK();
    free(block);
    MARK();
}

static void *be_stepped(void *call) {
    void *first = malloc(stepped_size), *kept = malloc(stepped_size);
    free(first);
    /* What a realloc moves to is at hand. */
    free(malloc(stepped_size * 3));
    pthread_cleanup_push(free, kept);
    must(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL) == 0);
    ((void (*)(void))call)();
    must(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL) == 0);
    ended = true;
    pthread_cleanup_pop(1);
    return NULL;
}

/* Nobody is given a block twice, and nobody waits. */
static void check_blocks(void) {
    enum { BLOCKS = 300 };
    static unsigned char *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        must((blocks[i] = malloc(stepped_size)) != NULL);
        memset(blocks[i], i, stepped_size);
    }
    for (int i = 0; i < BLOCKS; i++) {
        must(blocks[i][0] == (i & 255) && blocks[i][stepped_size - 1] == (i & 255));
        free(blocks[i]);
    }
}

/* Every instruction of the fast paths, ever fewer of the others. */
static void cancel_everywhere(void (*call)(void), size_t size) {
    stepped_size = size;
    last_step = 0;
    for (ended = false; !ended;) {
        last_step = last_step + (last_step < 160 ? 1 : last_step / 4);
        steps = 0;
        block = malloc(size);
        pthread_t thread;
        must(pthread_create(&thread, NULL, be_stepped, (void *)call) == 0 && pthread_join(thread, NULL) == 0);
        if (last_step % 20 == 0) {
            check_blocks();
        }
    }
    must(steps > 20);
    check_blocks();
}

HAZARD(life, cancelled_at_every_instruction, "") {
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    pthread_t thread;
    /* The first cancellation of a process loads a library. */
    must(pthread_create(&thread, NULL, until_cancelled, NULL) == 0);
    cancel_and_join(thread);
    must(sigaction(SIGTRAP, &action, NULL) == 0);
    static const struct {
        void (*call)(void);
        size_t size;
    } cases[] = {
        {step_malloc, 40},      {step_free, 40},      {step_realloc, 40}, {step_remote_free, 40},
        {step_malloc, 5000},    {step_free, 5000},    {step_malloc, 100000}, {step_free, 100000},
        {step_remote_free, 100000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cancel_everywhere(cases[i].call, cases[i].size);
    }
}
