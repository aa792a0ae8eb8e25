/* Memory that is freed, and what the program does then. Usage: returns all|most NEXT [MILLISECONDS].
   Blocks of 320 MiB are taken and written; all are freed, or nine of ten in the order of their addresses. Says "ready" at
   the start, and the bytes that stay live after the frees. NEXT, after so many milliseconds: idle does nothing; one makes a
   single call that takes a slow path; pairs and resizes make 65,536 calls, of malloc and free, or of realloc in place; large makes
   16 pairs for a large block, like one before;
   child forks, and the child does the same anew and idles, after its PID was said; leave ends the main thread before
   another one. */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { TAKEN = 320 << 20, SMALLEST = 24, MOST = TAKEN / SMALLEST };

static int by_address(const void *left, const void *right) {
    uintptr_t one = *(const uintptr_t *)left, other = *(const uintptr_t *)right;
    return (one > other) - (one < other);
}

/* Bytes that stay live. The table of blocks is not on the heap, and given back. */
static long rise_and_fall(int all) {
    uintptr_t *blocks = mmap(NULL, MOST * sizeof *blocks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(blocks != MAP_FAILED);
    unsigned seed = 1;
    size_t count = 0;
    for (size_t taken = 0; taken < TAKEN; count++) {
        seed = seed * 1103515245 + 12345;
        /* Of every size up to 64 bytes as many as of all sizes from there to 1,000 together. */
        size_t size = SMALLEST + (seed >> 8) % (seed >> 31 ? 41 : 977);
        void *block = malloc(size);
        must(block != NULL);
        blocks[count] = (uintptr_t)memset(block, 1, size);
        taken += size;
    }
    qsort(blocks, count, sizeof *blocks, by_address);
    size_t freed = all ? count : count / 10 * 9;
    long live = 0;
    for (size_t i = 0; i < freed; i++) {
        free((void *)blocks[i]);
    }
    for (size_t i = freed; i < count; i++) {
        live += *(char *)blocks[i] * (long)malloc_usable_size((void *)blocks[i]);
    }
    must(munmap(blocks, MOST * sizeof *blocks) == 0);
    return live;
}

static void large_pair(void) {
    void *volatile block = malloc(400000);
    must(block != NULL);
    free(block);
}

static void *later(void *nothing) {
    free(malloc(100));
    pause_here("the main thread has ended");
    return nothing;
}

int main(int count, char **arguments) {
    must(count >= 3);
    int all = strcmp(arguments[1], "all") == 0;
    const char *next = arguments[2];
    long pause = count > 3 ? atol(arguments[3]) : 0;
    /* What the sort and the first calls need is there before anybody looks. */
    free(malloc(100));
    pause_here("ready");
    long live = rise_and_fall(all);
    if (strcmp(next, "large") == 0) {
        large_pair();
    }
    if (pause > 0) {
        struct timespec time = {pause / 1000, pause % 1000 * 1000000};
        must(nanosleep(&time, NULL) == 0);
    }
    if (strcmp(next, "one") == 0) {
        free(malloc(100000));
    } else if (strcmp(next, "pairs") == 0) {
        for (int i = 0; i < 65536 / 2; i++) {
            free(malloc(64));
        }
    } else if (strcmp(next, "resizes") == 0) {
        char *block = malloc(64);
        for (int i = 0; i < 65536; i++) {
            must((block = realloc(block, 57 + i % 8)) != NULL);
        }
    } else if (strcmp(next, "large") == 0) {
        for (int i = 0; i < 16; i++) {
            large_pair();
        }
    } else if (strcmp(next, "child") == 0) {
        pid_t child = fork();
        must(child >= 0);
        if (child == 0) {
            live += rise_and_fall(all);
            pause_here("%d %ld", getpid(), live);
            _exit(0);
        }
        int status;
        must(waitpid(child, &status, 0) == child && status == 0);
        return 0;
    } else if (strcmp(next, "leave") == 0) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, later, NULL) == 0);
        pthread_exit(NULL);
    } else {
        must(strcmp(next, "idle") == 0);
    }
    pause_here("%d %ld", getpid(), live);
    return 0;
}
