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

/* Before the constructor of any library. */
static void before_all(void) { free(take(70000)); }
__attribute__((section(".preinit_array"), used)) static void (*const before_all_entry)(void) = before_all;

static void *use_in_thread(void *unused) {
    use_the_heap();
    return unused;
}

/* Threads and forks as well. */
static void live(void) {
    for (int i = 0; i < 5; i++) {
        in_a_thread(use_in_thread, NULL);
        pid_t pid = fork();
        if (pid == 0) {
            use_the_heap();
            exit(0);
        }
        reap(pid);
    }
}

HAZARD(life, constructors_before_and_destructors_after, "") { live(); }
HAZARD(life, libraries_constructors_before_and_destructors_after, "beside=early.c") { live(); }
HAZARD(life, twice_in_the_list, "twice") { live(); }
HAZARD(life, twice_in_the_list_by_two_paths, "beside-itself") { live(); }
HAZARD(life, beside_interposers_that_allocate, "beside=interposer.c") { live(); }
HAZARD(life, behind_interposers_that_allocate, "before=interposer.c") { live(); }
HAZARD(life, behind_a_wrapper_of_malloc, "before=wrapper.c") { live(); }
HAZARD(life, under_an_auditor, "audit=auditor.c") { live(); }

HAZARD(life, named_as_an_auditor_too, "audits") { live(); }

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
