/* Destructors of thread-specific data that set their key again, so that they run in every round glibc allows, and
   allocate and free each time: 200 threads, four rounds at most, the first two allocating. */
#include "handshake.h"
#include <pthread.h>

static pthread_key_t early, late;
static __thread int rounds;
static __thread void *kept;

static void destroy(void *block) {
    rounds++;
    if (rounds == 1) {
        kept = malloc(7000);
        must(kept != NULL);
        must(pthread_setspecific(early, block) == 0);
    } else if (rounds == 2) {
        must(malloc(7000) != NULL); /* stays */
        must(pthread_setspecific(early, block) == 0);
    } else if (rounds == 3) {
        free(kept);
        must(pthread_setspecific(early, block) == 0);
    }
}

static void *brief(void *unused) {
    (void)unused;
    must(pthread_setspecific(early, &rounds) == 0);
    must(pthread_setspecific(late, &rounds) == 0);
    return NULL;
}

static void nothing(void *unused) { (void)unused; }

int main(void) {
    must(pthread_key_create(&early, destroy) == 0);
    pthread_key_t filler;
    for (int i = 0; i < 40; i++) { /* beyond the first block of keys glibc allocates a table */
        must(pthread_key_create(&filler, nothing) == 0);
    }
    must(pthread_key_create(&late, nothing) == 0);
    pause_here("ready");
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, brief, NULL) == 0);
        must(pthread_join(thread, NULL) == 0);
    }
    pause_here("done");
    return 0;
}
