/* A program with an allocator of its own, which comes before every preloaded one; the C library's own calls reach it
   too. */
#include "hazard.h"
#include <dlfcn.h>

static char arena[64 << 20] __attribute__((aligned(16)));
static size_t used;

void *malloc(size_t size) {
    size_t need = (size + 31) & ~(size_t)15;
    size_t at = __atomic_fetch_add(&used, need, __ATOMIC_RELAXED);
    if (at + need > sizeof arena) {
        errno = ENOMEM;
        return NULL;
    }
    *(size_t *)(arena + at) = size;
    return arena + at + 16;
}

void free(void *block) {
    must(block == NULL || ((char *)block >= arena && (char *)block < arena + sizeof arena));
}

void *calloc(size_t count, size_t size) { return malloc(count * size); }

void *realloc(void *block, size_t size) {
    void *moved = malloc(size);
    if (block && moved) {
        size_t old = *(size_t *)((char *)block - 16);
        memcpy(moved, block, old < size ? old : size);
    }
    return moved;
}

static void *print(void *unused) {
    char *text = NULL;
    must(asprintf(&text, "%d", 5) == 1 && strcmp(text, "5") == 0);
    free(text);
    return unused;
}

HAZARD(life, program_with_its_own_malloc, "") {
    for (int i = 0; i < 50; i++) {
        in_a_thread(print, NULL);
    }
    FILE *null = fopen("/dev/null", "w");
    must(null != NULL);
    fclose(null);
    /* By its handle, the C library's is the C library's: only what is the whole program's may be put in its place. */
    void *library = dlopen("libc.so.6", RTLD_NOW);
    must(library != NULL);
    Dl_info about;
    must(dladdr(dlsym(library, "free"), &about) != 0 && strstr(about.dli_fname, "libc.so.6") != NULL);
}
