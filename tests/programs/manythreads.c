/* Many threads at once, each holding three blocks of 5,000 bytes. Usage: manythreads THREADS */
#include "handshake.h"
#include <pthread.h>

enum { MOST = 8192 };

static pthread_barrier_t barrier;
static pthread_t threads[MOST];

static void *hold(void *unused) {
    (void)unused;
    void *blocks[3];
    pthread_barrier_wait(&barrier); /* all are there */
    pthread_barrier_wait(&barrier); /* the test has looked */
    for (int i = 0; i < 3; i++) {
        must((blocks[i] = malloc(5000)) != NULL);
    }
    pthread_barrier_wait(&barrier); /* all hold theirs */
    pthread_barrier_wait(&barrier); /* the test has looked */
    for (int i = 0; i < 3; i++) {
        free(blocks[i]);
    }
    return NULL;
}

int main(int count, char **arguments) {
    must(count == 2);
    unsigned number = (unsigned)atoi(arguments[1]);
    must(number <= MOST && pthread_barrier_init(&barrier, NULL, number + 1) == 0);
    pthread_attr_t small;
    must(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 32768) == 0);
    for (unsigned i = 0; i < number; i++) {
        must(pthread_create(&threads[i], &small, hold, NULL) == 0);
    }
    pthread_barrier_wait(&barrier);
    pause_here("ready");
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    pause_here("held");
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < number; i++) {
        must(pthread_join(threads[i], NULL) == 0);
    }
    pause_here("ended");
    return 0;
}
