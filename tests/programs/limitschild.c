/* Threads use the heap and stay while a child is forked, which limits its own address space to fewer heaps than its parent has
   made, and starts threads. Usage: limitschild THREADS LIMIT. */
#include "handshake.h"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { MOST = 200, BLOCKS = 2000, CHILDREN = 12 };

static pthread_barrier_t used, done;

static void use(void) {
    static _Thread_local void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(16 + (size_t)i % 1000);
        must(blocks[i] != NULL);
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
}

static void *in_thread(void *nothing) {
    use();
    pthread_barrier_wait(&used);
    pthread_barrier_wait(&done);
    return nothing;
}

static void start(pthread_t *threads, int count) {
    pthread_attr_t small;
    must(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 64 << 10) == 0);
    must(pthread_barrier_init(&used, NULL, (unsigned)count + 1) == 0);
    must(pthread_barrier_init(&done, NULL, (unsigned)count + 1) == 0);
    for (int i = 0; i < count; i++) {
        must(pthread_create(&threads[i], &small, in_thread, NULL) == 0);
    }
    pthread_barrier_wait(&used);
}

static void finish(pthread_t *threads, int count) {
    pthread_barrier_wait(&done);
    for (int i = 0; i < count; i++) {
        must(pthread_join(threads[i], NULL) == 0);
    }
}

int main(int count, char **arguments) {
    must(count == 3);
    int threads = atoi(arguments[1]);
    rlim_t limit = (rlim_t)atol(arguments[2]);
    static pthread_t others[MOST], more[CHILDREN];
    must(threads <= MOST);
    start(others, threads);
    pid_t child = fork();
    if (child == 0) {
        must(setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit}) == 0);
        use();
        start(more, CHILDREN);
        finish(more, CHILDREN);
        _exit(0);
    }
    int status;
    must(waitpid(child, &status, 0) == child);
    must(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    finish(others, threads);
    say("limited");
    return 0;
}
