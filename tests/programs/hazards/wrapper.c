/* Preloaded before the allocator: hands every call on to it, as tools that watch the heap do. */
#include <dlfcn.h>
#include <stdlib.h>

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void (*next_free)(void *);

#define FIND(name)                                                                                                    \
    if (next_##name == NULL) {                                                                                        \
        *(void **)&next_##name = dlsym(RTLD_NEXT, #name);                                                             \
    }

void *malloc(size_t size) {
    FIND(malloc)
    return next_malloc(size);
}

void *calloc(size_t count, size_t size) {
    FIND(calloc)
    return next_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    FIND(realloc)
    return next_realloc(block, size);
}

void free(void *block) {
    FIND(free)
    next_free(block);
}
