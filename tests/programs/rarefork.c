/* A rare call of the allocator, and a fork at every instruction of it, the first times that it comes; each child goes on using the
   heap and looks at every byte.
   Usage: rarefork first (a thread's first allocation; the handler of the trap that follows each instruction forks, and the child
   ends the call) or emptied (a free with which a slab goes back, with STATSALLOC_DECAY_MS=0; another thread forks). Prints the
   number of forks. */
#include "stepping.h"
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

enum { SIZE = 2048, BLOCKS = 32, SLABS = 6, MORE = 60, PLACES = 1 << 20 };

static volatile int forks, is_child;
/* Who forks: the handler, or the main thread when it is its turn. */
static int by_another;
static volatile enum { STEPPING, FORKING, DONE } turn;

static unsigned char *held[SLABS * BLOCKS];

static void fill(unsigned char *block, size_t size, int mark) {
    must(block != NULL);
    memset(block, mark, size);
}

static void holds(const unsigned char *block, size_t size, int mark) {
    for (size_t at = 0; at < size; at++) {
        must(block[at] == (unsigned char)mark);
    }
}

static size_t size_of(int i) { return i % 3 == 0 ? SIZE : i % 3 == 1 ? 40000 + (size_t)(i % 4) * 30000 : 16 + (size_t)(i * 37 % 3000); }

/* New blocks overlap neither each other nor those that live. */
static void go_on(void) {
    static unsigned char *blocks[MORE];
    for (int i = 0; i < MORE; i++) {
        fill(blocks[i] = malloc(size_of(i)), size_of(i), i);
    }
    for (int i = 0; i < MORE; i++) {
        holds(blocks[i], size_of(i), i);
        free(blocks[i]);
    }
    for (int i = 0; i < SLABS * BLOCKS; i++) {
        if (held[i] != NULL) {
            holds(held[i], SIZE, i);
        }
    }
}

/* Forks, and waits for the child in the parent. */
static void split(void) {
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        is_child = 1;
        alarm(20);
        return;
    }
    forks++;
    int status;
    must(waitpid(pid, &status, 0) == pid);
    if (status != 0) {
        fail("the child of fork %d ended with %#x", forks, status);
    }
}

static void trapped(int signal, siginfo_t *info, void *context) {
    (void)signal;
    static unsigned char times[PLACES];
    unsigned char *here = &times[(size_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] % PLACES];
    if (is_child || is_mark(info, context) || *here == (by_another ? 8 : 2)) {
        return;
    }
    *here += 1;
    if (by_another) {
        turn = FORKING;
        while (turn == FORKING) {
            sched_yield();
        }
        return;
    }
    split();
    if (is_child) {
        stop_stepping(context);
    }
}

static void *allocate_first(void *unused) {
    MARK();
    unsigned char *first = malloc(SIZE);
    if (!is_child) {
        MARK();
    }
    fill(first, SIZE, 1);
    go_on();
    holds(first, SIZE, 1);
    free(first);
    if (is_child) {
        _exit(0);
    }
    return unused;
}

static void free_from(int i) {
    free(held[i]);
    held[i] = NULL;
}

static void *empty_a_slab(void *unused) {
    for (int i = 0; i < SLABS * BLOCKS; i++) {
        fill(held[i] = malloc(SIZE), SIZE, i);
    }
    /* These fill the bin, the next are a slab that stays, and the last lie behind the slab that is looked at. */
    for (int i = 0; i < BLOCKS; i++) {
        free_from(i);
    }
    for (int i = 3 * BLOCKS; i < 5 * BLOCKS; i++) {
        free_from(i);
    }
    for (int i = 2 * BLOCKS; i < 3 * BLOCKS - 1; i++) {
        free_from(i);
    }
    void *last = held[3 * BLOCKS - 1];
    held[3 * BLOCKS - 1] = NULL;
    MARK();
    free(last);
    MARK();
    go_on();
    turn = DONE;
    return unused;
}

int main(int argument_count, char **arguments) {
    must(argument_count == 2);
    by_another = strcmp(arguments[1], "emptied") == 0;
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    must(sigaction(SIGTRAP, &action, NULL) == 0);
    go_on();
    pthread_t thread;
    must(pthread_create(&thread, NULL, by_another ? empty_a_slab : allocate_first, NULL) == 0);
    while (by_another && turn != DONE) {
        if (turn == FORKING) {
            split();
            if (is_child) {
                go_on();
                _exit(0);
            }
            turn = STEPPING;
        } else {
            sched_yield();
        }
    }
    must(pthread_join(thread, NULL) == 0);
    say("%d", forks);
    return 0;
}
