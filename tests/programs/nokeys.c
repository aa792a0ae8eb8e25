/* Brief threads in a process that has no thread-specific key left. Built with -DLIBRARY it is a library whose constructor
   takes them all, to be preloaded behind the allocator, which is then initialised after it. Where an allocator is named by
   LOADED, the program takes all keys itself, and then loads and uses that one. Usage: nokeys THREADS. Pauses at the start
   and at the end. */
#include "handshake.h"
#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>

static void take_all_keys(void) {
    pthread_key_t key;
    while (pthread_key_create(&key, NULL) == 0) {
    }
}

#ifdef LIBRARY
__attribute__((constructor)) static void come_first(void) { take_all_keys(); }
#else
enum { AT_ONCE = 4, BLOCKS = 100 };

static void *(*allocate)(size_t) = malloc;
static void (*release)(void *) = free;

/* Leaves nothing, and yet its heap has slabs when it ends. */
static void *brief(void *unused) {
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        must((blocks[i] = allocate(i * 20 + 1)) != NULL);
        memset(blocks[i], 1, i * 20 + 1);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        release(blocks[i]);
    }
    return unused;
}

static pthread_barrier_t known;
static volatile int over;

/* Its vfork child is the first to use the heap. Goes on with it while others come and go. */
static void *borrows(void *unused) {
    pid_t child = vfork();
    if (child == 0) {
        release(allocate(64));
        _exit(0);
    }
    int status;
    must(waitpid(child, &status, 0) == child && status == 0);
    pthread_barrier_wait(&known);
    do {
        unsigned char *blocks[BLOCKS];
        for (int i = 0; i < BLOCKS; i++) {
            must((blocks[i] = allocate(64)) != NULL);
            memset(blocks[i], i, 64);
        }
        for (int i = 0; i < BLOCKS; i++) {
            for (int at = 0; at < 64; at++) {
                must(blocks[i][at] == i);
            }
            release(blocks[i]);
        }
    } while (!over);
    return unused;
}

static void run(int threads) {
    pthread_t ids[AT_ONCE];
    for (int i = 0; i < threads + AT_ONCE; i++) {
        if (i >= AT_ONCE) {
            must(pthread_join(ids[i % AT_ONCE], NULL) == 0);
        }
        if (i < threads) {
            must(pthread_create(&ids[i % AT_ONCE], NULL, brief, NULL) == 0);
        }
    }
}

int main(int count, char **arguments) {
    must(count == 2);
    const char *loaded = getenv("LOADED");
    if (loaded) {
        take_all_keys();
        void *library = dlopen(loaded, RTLD_NOW | RTLD_LOCAL);
        must(library != NULL);
        *(void **)&allocate = dlsym(library, "malloc");
        *(void **)&release = dlsym(library, "free");
        must(allocate && release);
    }
    pthread_key_t key;
    must(pthread_key_create(&key, NULL) != 0);
    brief(NULL);
    pause_here("ready");
    pthread_t borrower;
    must(pthread_barrier_init(&known, NULL, 2) == 0);
    must(pthread_create(&borrower, NULL, borrows, NULL) == 0);
    pthread_barrier_wait(&known);
    run(atoi(arguments[1]));
    over = 1;
    must(pthread_join(borrower, NULL) == 0);
    pause_here("done");
    return 0;
}
#endif
