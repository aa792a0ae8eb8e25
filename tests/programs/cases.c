/* Thirteen heaps with a trouble each, or none, for the diagnosis. Usage: cases NAME. A thread called "culprit" does it, in
   steps of 10 ms, until the test closes our input. */
#include "handshake.h"
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

enum { MIB = 1 << 20, STEPS = 100 };

static void *blocks[400000];

static void step(void) {
    static struct timespec next;
    if (next.tv_sec == 0) {
        must(clock_gettime(CLOCK_MONOTONIC, &next) == 0);
    }
    /* The history is written on slow paths; most programs come by there often. */
    void *volatile passing = malloc(100000);
    free(passing);
    next.tv_nsec += 1000000000 / STEPS;
    next.tv_sec += next.tv_nsec / 1000000000;
    next.tv_nsec %= 1000000000;
    must(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL) == 0);
}

static void *block(size_t size) {
    char *block = malloc(size);
    must(block != NULL);
    memset(block, 1, size);
    return block;
}

/* Blocks nobody will ever free. */
static void keep(size_t bytes, size_t size) {
    for (size_t done = 0; done < bytes; done += size) {
        block(size);
    }
}

static void leak(void) {
    keep(8 * MIB, 1024);
    for (;; step()) {
        keep(MIB / STEPS, 64);
    }
}

/* One block of a hundred survives. */
static void survivors(void) {
    for (;; step()) {
        for (int i = 0; i < 16000; i++) {
            void *one = block(60);
            if (i % 100 != 0) {
                free(one);
            }
        }
    }
}

static void sawtooth(void) {
    for (unsigned i = 0;; i++, step()) {
        keep(MIB / STEPS, 64);
        if (i % 50 == 0) {
            blocks[0] = block(6 * MIB);
        } else if (i % 50 == 10) {
            free(blocks[0]);
        }
    }
}

static void warmup(void) {
    double room = 200.0 * MIB;
    for (;; step()) {
        double share = room / 8 / STEPS;
        keep((size_t)share, 512);
        room -= share;
    }
}

/* One live block on each page: where there is none, the pages go back after some time, and the trouble with them. */
static void pinned(void) {
    enum { COUNT = 64000 };
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = block(1000);
    }
    for (int i = 0; i < COUNT; i++) {
        if (i % 4 != 0) {
            free(blocks[i]);
        }
    }
    for (;; step()) {
    }
}

/* All is freed, and nothing called for afterwards. */
static void cached(void) {
    enum { COUNT = 60000 };
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = block(1000);
    }
    for (int i = 0; i < COUNT; i++) {
        free(blocks[i]);
    }
    for (;;) {
        pause();
    }
}

static void churn(void) {
    enum { HELD = 2000 };
    for (int i = 0; i < HELD; i++) {
        blocks[i] = block(300);
    }
    for (unsigned i = 0;; step()) {
        for (int j = 0; j < 4000; j++, i++) {
            free(blocks[i % HELD]);
            blocks[i % HELD] = block(300);
        }
    }
}

static void *brief(void *argument) {
    (void)argument;
    free(block(100));
    return NULL;
}

static void threads(void) {
    for (;; step()) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, brief, NULL) == 0);
        must(pthread_join(thread, NULL) == 0);
    }
}

static pthread_barrier_t barrier;

static void *heir(void *argument) {
    (void)argument;
    pthread_setname_np(pthread_self(), "testator");
    keep(2 * MIB, 900);
    /* All at once: none shall take over what another has left. */
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void stranded(void) {
    enum { THREADS = 12 };
    pthread_t ids[THREADS];
    must(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
    for (int i = 0; i < THREADS; i++) {
        must(pthread_create(&ids[i], NULL, heir, NULL) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        must(pthread_join(ids[i], NULL) == 0);
    }
    for (;; step()) {
    }
}

static void *leaker(void *argument) {
    (void)argument;
    pthread_setname_np(pthread_self(), "leaker");
    keep(MIB / 20, 1000);
    return NULL;
}

static void *innocent(void *argument) {
    (void)argument;
    pthread_setname_np(pthread_self(), "innocent");
    for (int i = 0; i < STEPS / 20; i++, step()) {
        free(block(16));
    }
    return NULL;
}

/* Short threads leak, and the next one, which has their heap, does not. */
static void heirs(void) {
    for (;;) {
        void *(*const run[])(void *) = {leaker, innocent};
        for (int i = 0; i < 2; i++) {
            pthread_t thread;
            must(pthread_create(&thread, NULL, run[i], NULL) == 0);
            must(pthread_join(thread, NULL) == 0);
        }
    }
}

static void outside(void) {
    for (int i = 0;; i++, step()) {
        size_t bytes = i == 0 ? 80 * MIB : MIB / 50;
        void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must(map != MAP_FAILED);
        memset(map, 1, bytes);
    }
}

static void steady(void) {
    keep(20 * MIB, 2000);
    for (;; step()) {
        free(block(5000));
    }
}

static void idle(void) {
    keep(20 * MIB, 2000);
    for (;;) {
        pause();
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"leak", leak},       {"survivors", survivors}, {"sawtooth", sawtooth}, {"warmup", warmup},
    {"pinned", pinned},   {"cached", cached},       {"churn", churn},       {"threads", threads},
    {"stranded", stranded}, {"outside", outside},   {"steady", steady},     {"idle", idle},
    {"heirs", heirs},
};

static void *culprit(void *run) {
    pthread_setname_np(pthread_self(), "culprit");
    ((void (*)(void))run)();
    return NULL;
}

int main(int count, char **arguments) {
    must(count == 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(cases[i].name, arguments[1]) == 0) {
            pthread_t thread;
            must(pthread_create(&thread, NULL, culprit, (void *)cases[i].run) == 0);
            pause_here("ready");
            return 0;
        }
    }
    fail("no case is called %s", arguments[1]);
}
