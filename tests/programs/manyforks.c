/* Threads that fork at the same time, over and over: from glibc 2.36 on, their fork handlers overlap. Every child looks at
   what its heap says of its parent's past, and uses it.
   Usage: manyforks THREADS FORKS (of each). */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>

enum { MOST = 16, PAST = 100000, BLOCKS = 300, SIZE = 1000 };

static FILE *stream;
static char text[1 << 16], buffer[1 << 16];
static pthread_barrier_t barrier;
static long before;

/* Allocations of the process and its parents. */
static long allocations(void) {
    static const char wanted[] = "<total type=\"allocations\" count=\"";
    rewind(stream);
    must(malloc_info(0, stream) == 0 && fflush(stream) == 0);
    const char *found = strstr(text, wanted);
    must(found != NULL);
    return atol(found + sizeof wanted - 1);
}

static void be_a_child(int fork) {
    long seen = allocations();
    if (seen < before || seen > before + 1000) {
        fail("the child of fork %d counts %ld allocations; its parent had made %ld", fork, seen, before);
    }
    static char *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        must((blocks[i] = malloc(SIZE)) != NULL);
        memset(blocks[i], i, SIZE);
    }
    for (int i = 0; i < BLOCKS; i++) {
        must(blocks[i][0] == (char)i && blocks[i][SIZE - 1] == (char)i);
        free(blocks[i]);
    }
    _exit(0);
}

static void *fork_often(void *argument) {
    for (int i = 0; i < *(int *)argument; i++) {
        pthread_barrier_wait(&barrier);
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            be_a_child(i);
        }
        int status;
        must(waitpid(pid, &status, 0) == pid);
        if (status != 0) {
            fail("the child of fork %d ended with %#x", i, status);
        }
    }
    return NULL;
}

int main(int count, char **arguments) {
    must(count == 3);
    int threads = atoi(arguments[1]), forks = atoi(arguments[2]);
    must(threads >= 1 && threads <= MOST);
    must((stream = fmemopen(text, sizeof text, "w")) != NULL && setvbuf(stream, buffer, _IOFBF, sizeof buffer) == 0);
    for (int i = 0; i < PAST; i++) {
        void *volatile block = malloc(SIZE);
        free(block);
    }
    must(pthread_barrier_init(&barrier, NULL, (unsigned)threads) == 0);
    before = allocations();
    pthread_t started[MOST];
    for (int i = 0; i < threads; i++) {
        must(pthread_create(&started[i], NULL, fork_often, &forks) == 0);
    }
    for (int i = 0; i < threads; i++) {
        must(pthread_join(started[i], NULL) == 0);
    }
    return 0;
}
