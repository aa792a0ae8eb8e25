/* Threads whose first call of the allocator comes in the last round of destructors. Usage: lastround THREADS. */
#include "handshake.h"
#include <limits.h>
#include <pthread.h>

static pthread_key_t key;

static void end(void *round) {
    if ((long)round < PTHREAD_DESTRUCTOR_ITERATIONS) {
        must(pthread_setspecific(key, (void *)((long)round + 1)) == 0);
        return;
    }
    void *volatile block = malloc(100);
    must(block != NULL);
    free(block);
}

static void *run(void *nothing) {
    must(pthread_setspecific(key, (void *)1) == 0);
    return nothing;
}

int main(int count, char **arguments) {
    must(count == 2 && pthread_key_create(&key, end) == 0);
    for (int i = 0; i < atoi(arguments[1]); i++) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, run, NULL) == 0 && pthread_join(thread, NULL) == 0);
    }
    pause_here("ready");
    return 0;
}
