/* Large blocks and slabs freed by a thread, which stay with it. Usage: kept again|slabs|ended|asleep|vanished|raw or
   malloc|calloc|realloc|grow (until that is refused); says what mallinfo2 calls cached, in KiB, and waits for the test. */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum { THREADS = 8, SIZE = 400 << 10, SMALL = 16 << 10, MANY = 48 };

static pthread_barrier_t have_freed, may_end;

static char *touched(void) {
    char *block = malloc(SIZE);
    must(block != NULL);
    memset(block, 1, SIZE);
    return block;
}

static void *touched_small(void) {
    char *volatile block = malloc(100);
    must(block != NULL);
    block[0] = 1;
    return block;
}

static void touch_many(void **blocks) {
    for (int i = 0; i < MANY; i++) {
        must((blocks[i] = malloc(SMALL)) != NULL);
        memset(blocks[i], 1, SMALL);
    }
}

static void free_many(void **blocks) {
    for (int i = 0; i < MANY; i++) {
        free(blocks[i]);
    }
}

static long cached(void) { return (long)(mallinfo2().keepcost >> 10); }

/* Nothing more is mapped from now on. */
static void limit_memory(void) {
    struct rlimit limit = {1, RLIM_INFINITY};
    must(setrlimit(RLIMIT_DATA, &limit) == 0);
}

/* A block of SIZE bytes, by this call. */
static void *taken_by(const char *call) {
    if (strcmp(call, "malloc") == 0) {
        return malloc(SIZE);
    }
    if (strcmp(call, "calloc") == 0) {
        return calloc(1, SIZE);
    }
    void *block = malloc(strcmp(call, "grow") == 0 ? SIZE / 4 : SMALL);
    return block == NULL ? NULL : realloc(block, SIZE);
}

static void *allocate_and_free_large(void *unused) {
    char *block = touched();
    pthread_barrier_wait(&have_freed);
    free(block);
    pthread_barrier_wait(&have_freed);
    pthread_barrier_wait(&may_end);
    return unused;
}

static void *allocate_and_free(void *unused) {
    void *many[MANY];
    char *block = touched();
    touch_many(many);
    free_many(many);
    /* All have a block at the same time. */
    pthread_barrier_wait(&have_freed);
    free(block);
    pthread_barrier_wait(&have_freed);
    pthread_barrier_wait(&may_end);
    return unused;
}

int main(int count, char **arguments) {
    must(count == 2);
    if (strcmp(arguments[1], "again") == 0) {
        char *first = touched();
        free(first);
        long free_of_all = cached();
        char *again = malloc(SIZE);
        must(again == first);
        say("%ld", free_of_all);
        pause_here("%ld", cached());
        free(again);
        return 0;
    }
    if (strcmp(arguments[1], "slabs") == 0) {
        static void *many[MANY];
        touch_many(many);
        free_many(many);
        say("%ld", cached());
        touch_many(many);
        pause_here("%ld", cached());
        return 0;
    }
    if (strcmp(arguments[1], "raw") == 0) {
        /* What is cached when the child comes is in use in the parent before the child looks. */
        char *first = touched(), *second = touched();
        int told[2];
        must(pipe(told) == 0);
        free(first);
        free(second);
        say("%ld", cached());
        pid_t child = (pid_t)syscall(SYS_fork);
        must(child >= 0);
        if (child == 0) {
            char byte;
            must(read(told[0], &byte, 1) == 1);
            touched();
            touched();
            say("%ld", cached());
            syscall(SYS_exit_group, 0);
        }
        touched();
        touched();
        must(write(told[1], "", 1) == 1);
        int status;
        must(waitpid(child, &status, 0) == child && status == 0);
        return 0;
    }
    const char *calls = "malloc calloc realloc grow";
    bool is_call = strstr(calls, arguments[1]) != NULL;
    pthread_t threads[THREADS];
    must(pthread_barrier_init(&have_freed, NULL, THREADS + 1) == 0);
    must(pthread_barrier_init(&may_end, NULL, THREADS + 1) == 0);
    for (int i = 0; i < THREADS; i++) {
        must(pthread_create(&threads[i], NULL, is_call ? allocate_and_free_large : allocate_and_free, NULL) == 0);
    }
    pthread_barrier_wait(&have_freed);
    pthread_barrier_wait(&have_freed);
    if (is_call) {
        say("%ld", cached());
        limit_memory();
        while (taken_by(arguments[1]) != NULL) {
        }
        must(errno == ENOMEM);
        pause_here("%ld", cached());
    } else if (strcmp(arguments[1], "asleep") == 0) {
        long all = cached();
        say("%ld", all);
        /* The program goes on with a little work; the test's deadline ends it if the threads' large blocks never go back. */
        while (cached() > all - THREADS * SIZE / 1024) {
            for (int i = 0; i < 5000; i++) {
                free(touched_small());
            }
            struct timespec pause = {0, 1000000};
            nanosleep(&pause, NULL);
        }
        pause_here("%ld", cached());
    } else if (strcmp(arguments[1], "vanished") == 0) {
        pid_t child = fork();
        must(child >= 0);
        if (child == 0) {
            say("%ld", cached());
            for (int i = 0; i < THREADS; i++) {
                touched();
            }
            say("%ld", cached());
            _exit(0);
        }
        int status;
        must(waitpid(child, &status, 0) == child && status == 0);
    } else {
        say("%ld", cached());
    }
    pthread_barrier_wait(&may_end);
    for (int i = 0; i < THREADS; i++) {
        must(pthread_join(threads[i], NULL) == 0);
    }
    if (strcmp(arguments[1], "ended") == 0) {
        for (int i = 0; i < THREADS; i++) {
            touched();
        }
        pause_here("%ld", cached());
    }
    return 0;
}
