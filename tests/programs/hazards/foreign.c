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

/* A library that reaches the C library past whatever was preloaded. */
static void bind_deeply(void) {
    void *library = dlopen(getenv("HAZARD_LIBRARY"), RTLD_NOW | RTLD_DEEPBIND);
    must(library != NULL);
    *(void **)&other_strdup = dlsym(library, "strdup_in_library");
    *(void **)&other_free = dlsym(library, "free_in_library");
    must(other_strdup && other_free);
}

/* What the C library's functions give it, and what the program does, it frees by a name that it finds in the C library. */
HAZARD(foreign, to_a_deeply_bound_library, "library=deep.c") {
    bind_deeply();
    char *blocks[1000];
    for (int i = 0; i < 1000; i++) {
        blocks[i] = i % 2 ? strdup("longer than thirty-two bytes, and so on") : take(40);
    }
    for (int i = 0; i < 1000; i++) {
        other_free(blocks[i]);
    }
}

/* As Python's ctypes does. */
HAZARD(foreign, to_the_c_library_by_its_handle, "") {
    void *library = dlopen("libc.so.6", RTLD_NOW);
    must(library != NULL);
    *(void **)&other_strdup = dlsym(library, "strdup");
    *(void **)&other_free = dlsym(library, "free");
    must(other_strdup && other_free);
    char *blocks[1000];
    for (int i = 0; i < 1000; i++) {
        blocks[i] = i % 2 ? other_strdup("longer than thirty-two bytes, and so on") : take(40);
    }
    for (int i = 0; i < 1000; i++) {
        other_free(blocks[i]);
    }
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
HAZARD(foreign, mixed_with_a_deeply_bound_library, "library=deep.c") {
    bind_deeply();
    for (int i = 0; i < 1000; i++) {
        char *first = other_strdup("first"), *second = other_strdup("second");
        other_free(first);
        free(second);
        free(take(40));
    }
}

/* A second C library in a name space of its own has an allocator of its own. */
static void load_into_another_name_space(void) {
    void *library = dlmopen(LM_ID_NEWLM, getenv("HAZARD_LIBRARY"), RTLD_NOW);
    must(library != NULL);
    *(void **)&other_strdup = dlsym(library, "strdup_in_library");
    *(void **)&other_free = dlsym(library, "free_in_library");
    must(other_strdup && other_free);
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

/* Both ways at once: theirs to us, and theirs to them. */
HAZARD(foreign, mixed_with_another_name_space, "library=deep.c") {
    load_into_another_name_space();
    for (int i = 0; i < 1000; i++) {
        char *first = other_strdup("first"), *second = other_strdup("second");
        other_free(first);
        free(second);
        free(take(40));
    }
}
