/* A thread that ends and leaves blocks behind, and what becomes of its heap. Usage: leaves next | main | trimmed | child.
   next: another thread follows. main: nobody does; the first thread goes on for longer than the heap is kept.
   trimmed: the first thread frees them, and calls malloc_trim.
   child: the process forks at once, and the child goes on. */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

enum { BLOCKS = 100, SIZE = 5000, LARGE = 100000 };

static void *left[BLOCKS];
/* Of the first thread's, and of a size that no other has. */
static void *others;

static void *leaves(void *unused) {
    (void)unused;
    for (int i = 0; i < BLOCKS; i++) {
        must((left[i] = malloc(SIZE)) != NULL);
        memset(left[i], i, SIZE);
    }
    /* Counted elsewhere than small ones. */
    void *volatile large = malloc(LARGE);
    must(large != NULL);
    free(large);
    /* Counted in a class of which this thread's heap has no block. */
    must((others = realloc(others, 310)) != NULL);
    return NULL;
}

/* Frees what was left, every byte of it checked, and takes as much itself. */
static void *replaces(void *unused) {
    (void)unused;
    for (int i = 0; i < BLOCKS; i++) {
        for (int at = 0; at < SIZE; at++) {
            must(((unsigned char *)left[i])[at] == (unsigned char)i);
        }
        free(left[i]);
        must((left[i] = malloc(SIZE)) != NULL);
        memset(left[i], i, SIZE);
    }
    return NULL;
}

static void thread(void *(*run)(void *)) {
    pthread_t id;
    must(pthread_create(&id, NULL, run, NULL) == 0);
    must(pthread_join(id, NULL) == 0);
}

/* Allocates and frees other sizes for so many milliseconds. */
static void go_on_for(long ms) {
    struct timespec from, now;
    clock_gettime(CLOCK_MONOTONIC, &from);
    do {
        for (size_t size = 16; size < 2000; size += 16) {
            void *volatile block = malloc(size);
            must(block != NULL);
            free(block);
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < ms);
}

int main(int count, char **arguments) {
    must(count == 2);
    must((others = malloc(300)) != NULL);
    pause_here("ready");
    thread(leaves);
    if (strcmp(arguments[1], "child") == 0) {
        pid_t child = fork();
        must(child >= 0);
        if (child > 0) {
            int status;
            must(waitpid(child, &status, 0) == child && status == 0);
            return 0;
        }
        say("%d", (int)getpid());
        wait_for_go();
        replaces(NULL);
        pause_here("replaced");
        return 0;
    }
    pause_here("left");
    if (strcmp(arguments[1], "next") == 0) {
        thread(replaces);
    } else if (strcmp(arguments[1], "trimmed") == 0) {
        for (int i = 0; i < BLOCKS; i++) {
            free(left[i]);
        }
        malloc_trim(0);
    } else {
        go_on_for(200);
        go_on_for(0);
        replaces(NULL);
    }
    pause_here("replaced");
    return 0;
}
