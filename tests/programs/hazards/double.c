/* Blocks freed twice, in every shape; none has been handed out again in between. */
#include "hazard.h"
#include <dlfcn.h>
#include <malloc.h>

static void twice(char *block) {
    free(block);
    free(block);
}

HAZARD(double, empty, "") { twice(take(0)); }
HAZARD(double, tiny, "") { twice(take(1)); }
HAZARD(double, small, "") { twice(take(100)); }
HAZARD(double, medium, "") { twice(take(1500)); }
HAZARD(double, of_8_kib, "") { twice(take(8192)); }
HAZARD(double, of_32_kib, "") { twice(take(32768)); }
HAZARD(double, of_100_kib, "") { twice(take(100 << 10)); }
HAZARD(double, of_1_mib, "") { twice(take(1 << 20)); }
HAZARD(double, of_64_mib, "") { twice(take(64 << 20)); }
HAZARD(double, zeroed, "") { twice(calloc(10, 30)); }

HAZARD(double, behind_a_live_neighbour, "") {
    char *block = take(1000000), *behind = take(1000000);
    twice(block);
    free(behind);
}

HAZARD(double, given_back, "") {
    char *block = take(32 << 20);
    free(block);
    malloc_trim(0);
    free(block);
}

static void aligned(size_t align, size_t size) {
    void *block;
    must(posix_memalign(&block, align, size) == 0);
    memset(block, 1, size);
    twice(block);
}

HAZARD(double, aligned_to_64, "") { aligned(64, 200); }
HAZARD(double, aligned_to_a_page, "") { aligned(4096, 100); }
HAZARD(double, aligned_and_large, "") { aligned(1 << 20, 3 << 20); }

/* Others of its size are freed in between: caches that look at the last one only see nothing. */
HAZARD(double, after_others, "") {
    char *block = take(100), *others[200];
    for (int i = 0; i < 200; i++) {
        others[i] = take(100);
    }
    free(block);
    for (int i = 0; i < 200; i += 2) {
        free(others[i]);
    }
    free(block);
}

HAZARD(double, after_one_other, "") {
    char *block = take(56), *other = take(56);
    free(block);
    free(other);
    free(block);
}

/* It has left every small cache long ago. */
HAZARD(double, much_later, "") {
    char *block = take(100), *others[500];
    for (int i = 0; i < 500; i++) {
        others[i] = take(24 + (size_t)i);
    }
    free(block);
    for (int i = 0; i < 500; i++) {
        if (i < 60 || i > 100) {
            free(others[i]);
        }
    }
    void *larger = take(5000);
    free(block);
    free(larger);
}

HAZARD(double, with_its_whole_slab, "") {
    enum { COUNT = 20000 };
    static char *blocks[COUNT];
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = take(64);
    }
    for (int i = 0; i < COUNT; i++) {
        free(blocks[i]);
    }
    free(blocks[COUNT / 2]);
}

HAZARD(double, first_by_another_thread, "") {
    char *block = take(100);
    in_a_thread(free_it, block);
    free(block);
}

HAZARD(double, then_by_another_thread, "") {
    char *block = take(100);
    free(block);
    in_a_thread(free_it, block);
}

HAZARD(double, by_two_other_threads, "") {
    char *block = take(100);
    in_a_thread(free_it, block);
    in_a_thread(free_it, block);
}

HAZARD(double, large_by_another_thread, "") {
    char *block = take(300000);
    in_a_thread(free_it, block);
    free(block);
}

static void *take_one(void *place) {
    *(void **)place = take(100);
    return NULL;
}

HAZARD(double, of_an_ended_thread, "") {
    void *block;
    in_a_thread(take_one, &block);
    twice(block);
}

static pthread_barrier_t start;

static void *free_at_once(void *block) {
    pthread_barrier_wait(&start);
    free(block);
    return NULL;
}

static void race(size_t size) {
    must(pthread_barrier_init(&start, NULL, 2) == 0);
    for (int round = 0; round < 50; round++) {
        char *block = take(size);
        pthread_t threads[2];
        for (int i = 0; i < 2; i++) {
            must(pthread_create(&threads[i], NULL, free_at_once, block) == 0);
        }
        for (int i = 0; i < 2; i++) {
            must(pthread_join(threads[i], NULL) == 0);
        }
        for (int i = 0; i < 2000; i++) {
            free(take(size)); /* takes back what was freed elsewhere */
        }
    }
}

HAZARD(double, racing, "") { race(100); }
HAZARD(double, racing_large, "") { race(200000); }

HAZARD(double, realloc_of_freed, "") {
    char *block = take(100);
    free(block);
    block = realloc(block, 200);
}

HAZARD(double, realloc_of_freed_in_place, "") {
    char *block = take(100);
    free(block);
    block = realloc(block, 101);
}

HAZARD(double, realloc_of_large_freed, "") {
    char *block = take(1000000);
    free(block);
    block = realloc(block, 2000000);
}

HAZARD(double, realloc_to_nothing, "") {
    char *block = take(100);
    must(realloc(block, 0) == NULL);
    free(block);
}

HAZARD(double, realloc_twice_to_nothing, "") {
    char *block = take(100);
    must(realloc(block, 0) == NULL);
    block = realloc(block, 0);
}

/* The block has moved; its old place is freed. */
HAZARD(double, old_place_after_realloc, "") {
    char *block = take(100), *barrier = take(100);
    char *moved = realloc(block, 100000);
    must(moved != NULL && moved != block);
    free(block);
    free(barrier);
    free(moved);
}

HAZARD(double, reallocarray_of_freed, "") {
    char *block = take(100);
    free(block);
    block = reallocarray(block, 20, 10);
}

HAZARD(double, of_a_parents_block, "") {
    char *block = take(100);
    free(block);
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        free(block);
        use_the_heap();
        _exit(0);
    }
    int status;
    must(waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status)) {
        raise(WTERMSIG(status)); /* as if it had been this process */
    }
}

static pthread_key_t key;

static void free_in_destructor(void *block) { free(block); }

static void *keep_freed(void *unused) {
    char *block = take(100);
    must(pthread_setspecific(key, block) == 0);
    free(block);
    return unused;
}

HAZARD(double, in_a_threads_destructor, "") {
    must(pthread_key_create(&key, free_in_destructor) == 0);
    in_a_thread(keep_freed, NULL);
}

HAZARD(double, usable_size_of_freed, "") {
    char *block = take(100);
    free(block);
    (void)malloc_usable_size(block);
}

/* By the other names of free, where there are such. */
static void (*other_free(const char *name))(void *, size_t, size_t) {
    void (*found)(void *, size_t, size_t);
    *(void **)&found = dlsym(RTLD_DEFAULT, name);
    if (found == NULL) {
        *(void **)&found = dlsym(RTLD_DEFAULT, "free");
    }
    return found;
}

static void twice_by(const char *name, size_t first, size_t second) {
    char *volatile block = take(100);
    other_free(name)(block, first, second);
    other_free(name)(block, first, second);
}

HAZARD(double, by_free_sized, "") { twice_by("free_sized", 100, 0); }
HAZARD(double, by_free_aligned_sized, "") { twice_by("free_aligned_sized", 16, 100); }
HAZARD(double, by_cfree, "") { twice_by("cfree", 0, 0); }
HAZARD(double, by_the_c_librarys_own_name, "") { twice_by("__libc_free", 0, 0); }

static void *resize_at_once(void *block) {
    pthread_barrier_wait(&start);
    void *moved = realloc(block, 5000);
    return moved;
}

HAZARD(double, racing_reallocs, "") {
    must(pthread_barrier_init(&start, NULL, 2) == 0);
    for (int round = 0; round < 200; round++) {
        char *block = take(100);
        pthread_t threads[2];
        for (int i = 0; i < 2; i++) {
            must(pthread_create(&threads[i], NULL, resize_at_once, block) == 0);
        }
        for (int i = 0; i < 2; i++) {
            must(pthread_join(threads[i], NULL) == 0);
        }
    }
}
