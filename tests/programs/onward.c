/* A block that is on its way to a heap which has ended meanwhile, and whose slab the first thread has taken over: it has to
   go on from there. Usage: onward trims | ends | heir. What gets it there:
   trims: the thread that has freed it calls malloc_trim.
   ends: that thread ends.
   heir: another thread has the heap by then, and both call malloc_trim. */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>

enum { BLOCKS = 24, SIZE = 3000 };

static void *blocks[BLOCKS];
static const char *mode;
static atomic_int step;

static int is_mode(const char *name) { return strcmp(mode, name) == 0; }

static void await(int wanted) {
    while (atomic_load(&step) < wanted) {
        usleep(50);
    }
}

/* A first call takes a heap; later ones look at the clock, so that the next does not. */
static void call(void) {
    void *volatile block = malloc(100);
    free(block);
}

static void *frees(void *unused) {
    (void)unused;
    call();
    atomic_store(&step, 1);
    await(2);
    call();
    free(blocks[0]);
    atomic_store(&step, 3);
    await(4);
    if (!is_mode("ends")) {
        malloc_trim(0);
        atomic_store(&step, 5);
        await(7);
    }
    return NULL;
}

static void *allocates(void *unused) {
    (void)unused;
    for (int i = 0; i < BLOCKS; i++) {
        must((blocks[i] = malloc(SIZE)) != NULL);
    }
    atomic_store(&step, 2);
    await(3);
    return NULL;
}

static void *inherits(void *unused) {
    (void)unused;
    call();
    atomic_store(&step, 4);
    await(5);
    malloc_trim(0);
    atomic_store(&step, 6);
    await(7);
    return NULL;
}

static pthread_t begin(void *(*run)(void *)) {
    pthread_t id;
    must(pthread_create(&id, NULL, run, NULL) == 0);
    return id;
}

static void end(pthread_t id) { must(pthread_join(id, NULL) == 0); }

int main(int count, char **arguments) {
    must(count == 2);
    mode = arguments[1];
    pthread_t freeing = begin(frees), heir = freeing;
    await(1);
    end(begin(allocates));
    /* What it has left is nobody's from here on, and then, but for the block that is on its way, the first thread's. */
    malloc_trim(0);
    for (int i = 1; i < BLOCKS; i++) {
        free(blocks[i]);
    }
    if (is_mode("heir")) {
        heir = begin(inherits);
        await(6);
    } else {
        atomic_store(&step, 4);
    }
    if (is_mode("ends")) {
        end(freeing);
    } else {
        await(5);
    }
    malloc_trim(0);
    pause_here("trimmed");
    atomic_store(&step, 7);
    if (!is_mode("ends")) {
        end(freeing);
    }
    if (is_mode("heir")) {
        end(heir);
    }
    return 0;
}
