/* One call of the allocator, and a fork at every instruction of it, up to a number that only rare work exceeds: the handler of the trap that follows each
   instruction forks, and the child returns from the handler into the middle of the call, ends it, counts what the heap
   holds then, and goes on using it.
   Usage: everyfork fork|clone alone|threads malloc|calloc|free|realloc|move|remote SIZE [PAIRS BLOCKS FROM TO]. Prints the number of forks.
   With the others it first makes so many pairs of calls, then as many blocks that stay, after which a free finds its heap climbing;
   and forks only between these distances from the start of malloc's code. */
#include "stepping.h"
#include "totals.h"
#include <dlfcn.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { MOST = 1000 };

static volatile int forks;
/* Where it forks. */
static intptr_t first, end = INTPTR_MAX;
static volatile int is_child;
static int raw;

static pid_t split(void) {
    return raw ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
}

static void trapped(int signal, siginfo_t *info, void *context) {
    (void)signal;
    static greg_t last;
    greg_t at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    /* A repeated string instruction traps at every repetition; once is enough. */
    if (is_child || is_mark(info, context) || at == last || forks == MOST || at < first || at >= end) {
        return;
    }
    last = at;
    forks++;
    pid_t pid = split();
    must(pid >= 0);
    if (pid == 0) {
        is_child = 1;
        stop_stepping(context);
        return;
    }
    int status;
    must(waitpid(pid, &status, 0) == pid);
    if (status != 0) {
        fail("the child of fork %d, at %#llx, ended with %#x", forks, (unsigned long long)last, status);
    }
}

static void *others[2];
static size_t size;
static pthread_barrier_t barrier;

static void *hold_blocks(void *unused) {
    (void)unused;
    must((others[0] = malloc(size)) != NULL && (others[1] = malloc(size)) != NULL);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

/* Blocks come, keep their contents and go; the counters follow. */
static void go_on(struct totals before) {
    enum { BLOCKS = 10 };
    unsigned char *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        must((blocks[i] = malloc(size + (size_t)i)) != NULL);
        blocks[i][0] = blocks[i][size + (size_t)i - 1] = (unsigned char)i;
    }
    must(count().blocks == before.blocks + BLOCKS);
    for (int i = 0; i < BLOCKS; i++) {
        must((blocks[i] = realloc(blocks[i], size + 2 * (size_t)i)) != NULL);
        must(blocks[i][0] == i && blocks[i][size + (size_t)i - 1] == i);
        free(blocks[i]);
    }
}

static void expect(struct totals wanted) {
    struct totals got = count();
    if (got.requested != wanted.requested || got.allocated != wanted.allocated || got.blocks != wanted.blocks) {
        fail("%s after %d forks: %ld requested, %ld allocated, %ld blocks instead of %ld, %ld, %ld",
             is_child ? "child" : "parent", forks, got.requested, got.allocated, got.blocks, wanted.requested,
             wanted.allocated, wanted.blocks);
    }
}

int main(int argument_count, char **arguments) {
    must(argument_count == 5 || argument_count == 9);
    raw = strcmp(arguments[1], "clone") == 0;
    int threads = strcmp(arguments[2], "threads") == 0;
    const char *what = arguments[3];
    size = (size_t)atol(arguments[4]);
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    must(sigaction(SIGTRAP, &action, NULL) == 0);
    pthread_t thread;
    if (threads) {
        must(pthread_barrier_init(&barrier, NULL, 2) == 0);
        must(pthread_create(&thread, NULL, hold_blocks, NULL) == 0);
        pthread_barrier_wait(&barrier);
    }
    /* Everything warm, some blocks live, one beyond them to free. */
    void *volatile kept[20];
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 20; i++) {
            must((kept[i] = malloc(size)) != NULL);
        }
        for (int i = 0; i < 20 && round < 99; i++) {
            free(kept[i]);
        }
    }
    /* One of each size at hand; of large blocks, that freed last, and with a guard. */
    void *volatile twice = malloc(2 * size);
    long larger = (long)malloc_usable_size(twice);
    free(twice);
    free(others[1]);
    free(kept[19]);
    count();
    kept[19] = malloc(size);
    memset(kept[19], 1, size);
    free(kept[19]);
    if (argument_count == 9) {
        for (long pair = atol(arguments[5]); pair > 0; pair--) {
            void *volatile passing = malloc(size);
            free(passing);
        }
        for (long stays = atol(arguments[6]); stays > 0; stays--) {
            void *volatile stayed = malloc(size);
            must(stayed != NULL);
        }
        first = (intptr_t)dlsym(RTLD_DEFAULT, "malloc") + atol(arguments[7]);
        end = first + atol(arguments[8]) - atol(arguments[7]);
    }
    struct totals before = count();
    long block = (long)malloc_usable_size(kept[0]);
    struct totals after = before;
    char *result = NULL;
    if (strcmp(what, "malloc") == 0) {
        after = (struct totals){before.requested + (long)size, before.allocated + block, before.blocks + 1};
        MARK();
        result = malloc(size);
        MARK();
        result[0] = result[size - 1] = 1;
    } else if (strcmp(what, "calloc") == 0) {
        after = (struct totals){before.requested + (long)size, before.allocated + block, before.blocks + 1};
        MARK();
        result = calloc(1, size);
        MARK();
        must(result[0] == 0 && memcmp(result, result + 1, size - 1) == 0);
    } else if (strcmp(what, "realloc") == 0) {
        after.requested += 1;
        MARK();
        result = realloc(kept[0], size + 1);
        MARK();
        must(result == kept[0]);
    } else if (strcmp(what, "move") == 0) {
        after.requested += (long)size;
        after.allocated += larger - block;
        memset(kept[0], 7, size);
        MARK();
        result = realloc(kept[0], 2 * size);
        MARK();
        must(result != kept[0] && result[0] == 7 && result[size - 1] == 7);
    } else {
        void *volatile freed = strcmp(what, "remote") == 0 ? others[0] : kept[0];
        after = (struct totals){before.requested - (long)size, before.allocated - block, before.blocks - 1};
        MARK();
        free(freed);
        MARK();
    }
    /* Only a raw fork leaves the parent counting the rest of the call for its child. */
    if (is_child || !raw) {
        expect(after);
        go_on(after);
        expect(after);
    }
    if (is_child) {
        _exit(0);
    }
    if (threads) {
        pthread_barrier_wait(&barrier);
        must(pthread_join(thread, NULL) == 0);
    }
    say("%d", forks);
    return 0;
}
