/* Ways to be loaded, and others that are loaded beside the allocator. */
#include "hazard.h"
#include <dlfcn.h>

static char *volatile early;

__attribute__((constructor(101))) static void before_everybody(void) {
    early = take(1000);
    for (int i = 0; i < 100; i++) {
        free(take((size_t)i * 100));
    }
}

__attribute__((destructor(101))) static void after_everybody(void) {
    free(early);
    use_the_heap();
}

HAZARD(life, constructors_before_and_destructors_after, "") { use_the_heap(); }
HAZARD(life, twice_in_the_list, "twice") { use_the_heap(); }
HAZARD(life, beside_interposers_that_allocate, "beside=interposer.c") { use_the_heap(); }
HAZARD(life, under_an_auditor, "audit=auditor.c") { use_the_heap(); }

static void *use_in_thread(void *unused) {
    use_the_heap();
    return unused;
}

HAZARD(life, beside_interposers_with_threads, "beside=interposer.c") {
    for (int i = 0; i < 20; i++) {
        in_a_thread(use_in_thread, NULL);
        pid_t pid = fork();
        if (pid == 0) {
            use_the_heap();
            exit(0);
        }
        reap(pid);
    }
}

static void (*use_library)(void);

static void *call_library(void *unused) {
    use_library();
    return unused;
}

/* A library with thread-local variables that own blocks comes and goes. */
HAZARD(life, library_with_tls_comes_and_goes, "library=comes.c") {
    for (int i = 0; i < 300; i++) {
        void *library = dlopen(getenv("HAZARD_LIBRARY"), RTLD_NOW);
        must(library != NULL);
        *(void **)&use_library = dlsym(library, "use_library");
        must(use_library != NULL);
        use_library();
        in_a_thread(call_library, NULL);
        must(dlclose(library) == 0);
    }
}

/* Nothing was preloaded; the allocator comes by dlopen, and is used by those who ask it. */
HAZARD(life, loaded_by_dlopen, "unloaded") {
    char *mine = take(100);
    void *library = dlopen(getenv("HAZARD_ALLOCATOR"), RTLD_NOW | RTLD_LOCAL);
    must(library != NULL);
    void *(*allocate)(size_t);
    void (*release)(void *);
    *(void **)&allocate = dlsym(library, "malloc");
    *(void **)&release = dlsym(library, "free");
    must(allocate && release);
    for (int i = 0; i < 1000; i++) {
        void *block = allocate((size_t)i * 100);
        must(block != NULL);
        memset(block, 1, (size_t)i * 100);
        release(block);
    }
    free(mine);
    in_a_thread(use_in_thread, NULL);
    dlclose(library);
    use_the_heap();
}
