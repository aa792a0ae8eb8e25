/* Blocks of another allocator, given to this one: left alone, and the program goes on. */
#include "hazard.h"
#include <dlfcn.h>
#include <malloc.h>
#include <sys/mman.h>

static void *volatile place;

static char *mapped(void) {
    char *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(map != MAP_FAILED);
    strcpy(map + 4096, "foreign");
    return map + 4096;
}

HAZARD(foreign, free_of_a_mapping, "") {
    char *block = mapped();
    place = block;
    free(place);
    must(strcmp(block, "foreign") == 0);
}

/* Nothing can be looked up. */
HAZARD(foreign, free_of_a_mapping_without_proc, "hide=/proc") {
    char *block = mapped();
    place = block;
    free(place);
    must(strcmp(block, "foreign") == 0);
}

HAZARD(foreign, free_of_shared_memory, "") {
    char *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(map != MAP_FAILED);
    place = map + 4096;
    free(place);
    map[4096] = 1;
}

HAZARD(foreign, free_on_the_break, "") {
    char *block = sbrk(1 << 16);
    must(block != (char *)-1);
    block = (char *)(((uintptr_t)block + 63) & ~63ul);
    strcpy(block, "foreign");
    place = block;
    free(place);
    must(strcmp(block, "foreign") == 0);
}

HAZARD(foreign, realloc_of_a_mapping, "") {
    char *block = mapped();
    place = block;
    void *copy = realloc(place, 100);
    must(copy != block && strcmp(block, "foreign") == 0);
}

HAZARD(foreign, usable_size_of_a_mapping, "") {
    place = mapped();
    (void)malloc_usable_size(place);
}

static char *(*other_strdup)(const char *);
static void (*other_free)(void *);

static void find_in(void *library, const char *name_of_strdup, const char *name_of_free) {
    must(library != NULL);
    *(void **)&other_strdup = dlsym(library, name_of_strdup);
    *(void **)&other_free = dlsym(library, name_of_free);
    must(other_strdup && other_free);
}

/* What the C library's functions give it, and what the program does, it frees by a name that it finds in the C library. */
static void free_by_their_name(char *(*duplicate)(const char *)) {
    char *blocks[1000];
    for (int i = 0; i < 1000; i++) {
        blocks[i] = i % 2 ? duplicate("longer than thirty-two bytes, and so on") : take(40);
    }
    for (int i = 0; i < 1000; i++) {
        other_free(blocks[i]);
    }
}

/* A library that reaches the C library past whatever was preloaded. */
static void bind_deeply(void) {
    find_in(dlopen(getenv("HAZARD_LIBRARY"), RTLD_NOW | RTLD_DEEPBIND), "strdup_in_library", "free_in_library");
}

HAZARD(foreign, to_a_deeply_bound_library, "library=deep.c") {
    bind_deeply();
    free_by_their_name(strdup);
}

/* As Python's ctypes does. */
HAZARD(foreign, to_the_c_library_by_its_handle, "") {
    find_in(dlopen("libc.so.6", RTLD_NOW), "strdup", "free");
    free_by_their_name(other_strdup);
}

HAZARD(foreign, from_a_deeply_bound_library, "library=deep.c") {
    bind_deeply();
    for (int i = 0; i < 1000; i++) {
        char *copy = other_strdup("one of its own");
        must(strcmp(copy, "one of its own") == 0);
        place = copy;
        free(place);
    }
}

/* Both ways at once: theirs to us, and theirs to them. */
static void mix(void) {
    for (int i = 0; i < 1000; i++) {
        char *first = other_strdup("first"), *second = other_strdup("second");
        other_free(first);
        free(second);
        free(take(40));
    }
}

HAZARD(foreign, mixed_with_a_deeply_bound_library, "library=deep.c") {
    bind_deeply();
    mix();
}

/* A second C library in a name space of its own has an allocator of its own. */
static void load_into_another_name_space(void) {
    find_in(dlmopen(LM_ID_NEWLM, getenv("HAZARD_LIBRARY"), RTLD_NOW), "strdup_in_library", "free_in_library");
}

static void *free_theirs(void *unused) {
    for (int i = 0; i < 200; i++) {
        free(other_strdup("from a thread"));
    }
    return unused;
}

HAZARD(foreign, from_threads, "library=deep.c") {
    load_into_another_name_space();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        must(pthread_create(&threads[i], NULL, free_theirs, NULL) == 0);
    }
    for (int i = 0; i < 4; i++) {
        must(pthread_join(threads[i], NULL) == 0);
    }
}

HAZARD(foreign, from_another_name_space, "library=deep.c") {
    load_into_another_name_space();
    for (int i = 0; i < 100; i++) {
        free(other_strdup("from far away"));
    }
}

HAZARD(foreign, mixed_with_another_name_space, "library=deep.c") {
    load_into_another_name_space();
    mix();
}
