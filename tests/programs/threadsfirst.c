/* A forked child makes threads before it allocates anything: on stacks of threads that have ended in the parent, which takes
   no memory. Then all of them use the heap. Usage: threadsfirst together | behind FORKS.
   together: all of the child's threads at once, the one that forked among them.
   behind: the one that forked comes when another has used the heap already, and goes on at the same time. */
#include "handshake.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { THREADS = 8, PAST = 500, BLOCKS = 200, ROUNDS = 20, STACK = 256 << 10 };

static atomic_int arrived, gone;
static int begins, in_child;

static size_t size_of(int i, int round) { return 16 + (size_t)i * 8 + (size_t)(round % 3) * 1000; }

static void use(int number) {
    unsigned char *blocks[BLOCKS];
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            must((blocks[i] = malloc(size_of(i, round))) != NULL);
            memset(blocks[i], number, size_of(i, round));
        }
        for (int i = 0; i < BLOCKS; i++) {
            for (size_t at = 0; at < size_of(i, round); at++) {
                must(blocks[i][at] == number);
            }
            free(blocks[i]);
        }
    }
}

/* Waits until so many have come here. */
static void meet(atomic_int *counter, int wanted) {
    atomic_fetch_add(counter, 1);
    while (atomic_load(counter) < wanted) {
        sched_yield();
    }
}

static void *run(void *number) {
    if (in_child && begins) {
        void *volatile block = malloc(100);
        must(block != NULL);
        free(block);
    }
    meet(&arrived, THREADS + 1);
    if (in_child) {
        use((int)(intptr_t)number);
    }
    meet(&gone, THREADS);
    return NULL;
}

static void threads(void) {
    pthread_t ids[THREADS];
    pthread_attr_t small;
    must(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, STACK) == 0);
    atomic_store(&arrived, 0);
    atomic_store(&gone, 0);
    for (int i = 0; i < THREADS; i++) {
        must(pthread_create(&ids[i], &small, run, (void *)(intptr_t)(i + 1)) == 0);
    }
    meet(&arrived, THREADS + 1);
    if (in_child) {
        use(THREADS + 1);
    }
    for (int i = 0; i < THREADS; i++) {
        must(pthread_join(ids[i], NULL) == 0);
    }
}

int main(int count, char **arguments) {
    must(count == 3);
    begins = strcmp(arguments[1], "behind") == 0;
    static void *past[PAST];
    for (int i = 0; i < PAST; i++) {
        must((past[i] = malloc(1 + (size_t)i % 90 * 10)) != NULL);
    }
    for (int i = 0; i < PAST; i += 2) {
        free(past[i]);
    }
    threads();
    pause_here("ready");
    int forks = atoi(arguments[2]);
    for (int i = 1; i <= forks; i++) {
        pid_t child = fork();
        must(child >= 0);
        if (child == 0) {
            in_child = 1;
            threads();
            if (i == forks) {
                pause_here("%d", (int)getpid());
            }
            for (int block = 1; block < PAST; block += 2) {
                free(past[block]);
            }
            _exit(0);
        }
        int status;
        must(waitpid(child, &status, 0) == child);
        if (status != 0) {
            fail("the child of fork %d ended with %#x", i, status);
        }
    }
    return 0;
}
