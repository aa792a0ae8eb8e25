/* What other threads do while one forks. Every child looks at what its heap says.
   Usage: besidefork WHAT FORKS
   begins: another thread's first call, and its last, may come between the fork handlers and the fork
   large:  four others take large blocks and give them back all the time */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { SIZE = 1000, CLASS = 1024, LARGE = 3 << 20, BALLAST = 200 << 20 };

static FILE *stream;
static char text[1 << 16], buffer[1 << 16];

/* A figure of the heap's, in bytes. */
static long bytes(const char *name) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, "type=\"%s\" size=\"", name);
    rewind(stream);
    must(malloc_info(0, stream) == 0 && fflush(stream) == 0);
    const char *found = strstr(text, wanted);
    must(found != NULL);
    return atol(found + strlen(wanted));
}

static volatile int forking, stop;
static void *volatile kept;
static volatile long blocks;

static void before_fork(void) {
    forking = 1;
}

static void *begin_and_end(void *nothing) {
    while (!forking) {
    }
    for (volatile int i = 0; i < 20000; i++) {
    }
    kept = malloc(SIZE);
    blocks++;
    return nothing;
}

static void *take_and_give(void *nothing) {
    while (!stop) {
        char *volatile block = malloc(LARGE);
        must(block != NULL);
        block[0] = block[LARGE / 2] = 1;
        free(block);
    }
    return nothing;
}

static void child_counts_all_blocks(long before) {
    long seen = blocks, allocated = bytes("allocated");
    if (allocated < before + seen * CLASS) {
        fail("%ld blocks of %d bytes, %ld bytes are allocated, %ld before", seen, CLASS, allocated, before);
    }
}

static void child_lacks_nothing(void) {
    malloc_trim(0);
    long known = bytes("allocated") + bytes("pinned") + bytes("cached") + bytes("retained");
    long missing = bytes("committed") - known;
    if (missing >= 1 << 20) {
        fail("%ld bytes are neither in use nor free", missing);
    }
}

static void forked(int large, long before) {
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        alarm(60);
        free(malloc(10));
        large ? child_lacks_nothing() : child_counts_all_blocks(before);
        _exit(0);
    }
    int status;
    must(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(int count, char **arguments) {
    must(count == 3);
    int large = strcmp(arguments[1], "large") == 0;
    long forks = strtol(arguments[2], NULL, 10);
    stream = fmemopen(text, sizeof text, "w");
    must(stream != NULL && setvbuf(stream, buffer, _IOFBF, sizeof buffer) == 0);
    if (large) {
        pthread_t others[4];
        for (int i = 0; i < 4; i++) {
            must(pthread_create(&others[i], NULL, take_and_give, NULL) == 0);
        }
        for (long i = 0; i < forks; i++) {
            forked(large, 0);
        }
        stop = 1;
        for (int i = 0; i < 4; i++) {
            must(pthread_join(others[i], NULL) == 0);
        }
        return 0;
    }
    /* The more pages there are, the longer a fork takes. */
    char *ballast = mmap(NULL, BALLAST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(ballast != MAP_FAILED && madvise(ballast, BALLAST, MADV_NOHUGEPAGE) == 0);
    memset(ballast, 1, BALLAST);
    must(pthread_atfork(before_fork, NULL, NULL) == 0);
    long before = bytes("allocated");
    for (long i = 0; i < forks; i++) {
        forking = 0;
        pthread_t other;
        must(pthread_create(&other, NULL, begin_and_end, NULL) == 0);
        forked(large, before);
        must(pthread_join(other, NULL) == 0);
    }
    return 0;
}
