/* A program that limits its own address space, and whose smallest blocks then come from the heap of threads that have none: in
   destructors that run after the library's own, and in more threads than the limit leaves heaps for.
   Usage: lowered LIMIT THREADS. */
#include "handshake.h"
#include <limits.h>
#include <pthread.h>
#include <sys/resource.h>

enum { MOST = 200 };

static pthread_key_t key;
static pthread_barrier_t all;

static void use(void) {
    char *volatile block = malloc(16);
    must(block != NULL);
    block[15] = 1;
    free(block);
}

/* Its value is the round, of which there are so many at most. */
static void destroy(void *round) {
    use();
    if ((intptr_t)round < PTHREAD_DESTRUCTOR_ITERATIONS) {
        must(pthread_setspecific(key, (char *)round + 1) == 0);
    }
}

static void *end_late(void *nothing) {
    use();
    must(pthread_setspecific(key, (void *)1) == 0);
    return nothing;
}

static void *be_one_of_many(void *nothing) {
    pthread_barrier_wait(&all);
    use();
    pthread_barrier_wait(&all);
    return nothing;
}

static void run(int count, void *(*what)(void *)) {
    pthread_t threads[MOST];
    pthread_attr_t small;
    must(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 64 << 10) == 0);
    for (int i = 0; i < count; i++) {
        must(pthread_create(&threads[i], &small, what, NULL) == 0);
    }
    for (int i = 0; i < count; i++) {
        must(pthread_join(threads[i], NULL) == 0);
    }
}

int main(int count, char **arguments) {
    must(count == 3);
    rlim_t limit = (rlim_t)atol(arguments[1]);
    int threads = atoi(arguments[2]);
    must(threads <= MOST);
    must(setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit}) == 0);
    must(pthread_key_create(&key, destroy) == 0);
    run(1, end_late);
    must(pthread_barrier_init(&all, NULL, (unsigned)threads) == 0);
    run(threads, be_one_of_many);
    say("lowered");
    return 0;
}
