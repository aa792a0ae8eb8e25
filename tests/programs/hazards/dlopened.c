/* Nothing was preloaded: the allocator comes by dlopen, and is used by those who ask it. */
#include "hazard.h"
#include <dlfcn.h>

static void *library;
static void *(*allocate)(size_t);
static void (*release)(void *);

static void find_calls(void) {
    must(library != NULL);
    *(void **)&allocate = dlsym(library, "malloc");
    *(void **)&release = dlsym(library, "free");
    must(allocate && release);
}

static void load(void) {
    library = dlopen(getenv("HAZARD_ALLOCATOR"), RTLD_NOW | RTLD_LOCAL);
    find_calls();
}

static void *use_both(void *unused) {
    use_the_heap();
    for (int i = 0; i < 1000; i++) {
        char *block = allocate((size_t)i * 100);
        must(block != NULL);
        memset(block, 1, (size_t)i * 100);
        release(block);
    }
    return unused;
}

HAZARD(life, loaded_by_dlopen, "unloaded") {
    char *mine = take(100);
    load();
    use_both(NULL);
    free(mine);
    in_a_thread(use_both, NULL);
    dlclose(library);
    use_the_heap();
}

static pthread_barrier_t closed;
static char *theirs;

static void *use_before_and_after(void *unused) {
    use_both(NULL);
    char *block = allocate(5000);
    must(block != NULL);
    memset(block, 2, 5000);
    pthread_barrier_wait(&closed);
    pthread_barrier_wait(&closed);
    must(block[4999] == 2);
    return unused;
}

/* Closed while threads that have used it live on, and while its blocks are in use: what it has asked the C library to call
   when threads end, when the process forks and when it ends, must still be there. */
HAZARD(life, closed_while_in_use, "unloaded") {
    load();
    theirs = allocate(100000);
    must(theirs != NULL);
    memset(theirs, 3, 100000);
    pthread_t threads[4];
    must(pthread_barrier_init(&closed, NULL, 5) == 0);
    for (int i = 0; i < 4; i++) {
        must(pthread_create(&threads[i], NULL, use_before_and_after, NULL) == 0);
    }
    pthread_barrier_wait(&closed);
    must(dlclose(library) == 0);
    must(theirs[99999] == 3);
    pthread_barrier_wait(&closed);
    for (int i = 0; i < 4; i++) {
        must(pthread_join(threads[i], NULL) == 0);
    }
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        must(theirs[99999] == 3);
        use_the_heap();
        exit(0);
    }
    reap(pid);
    pid = fork();
    if (pid == 0) {
        quick_exit(0);
    }
    reap(pid);
}

HAZARD(life, loaded_and_closed_again_and_again, "unloaded") {
    for (int i = 0; i < 20; i++) {
        load();
        use_both(NULL);
        must(dlclose(library) == 0);
        in_a_thread(use_both, NULL);
    }
}

static void *one_block(void *unused) {
    char *block = allocate(3000);
    must(block != NULL);
    memset(block, 4, 3000);
    release(block);
    return unused;
}

/* It cannot be told of the ends of threads. */
HAZARD(life, loaded_without_a_key_left, "unloaded") {
    pthread_key_t made;
    while (pthread_key_create(&made, free) == 0) {
    }
    load();
    for (int i = 0; i < 5000; i++) {
        in_a_thread(one_block, NULL);
    }
}

HAZARD(life, loaded_into_another_name_space, "unloaded") {
    library = dlmopen(LM_ID_NEWLM, getenv("HAZARD_ALLOCATOR"), RTLD_NOW);
    find_calls();
    for (int i = 0; i < 20; i++) {
        in_a_thread(use_both, NULL);
    }
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        use_both(NULL);
        exit(0);
    }
    reap(pid);
}
