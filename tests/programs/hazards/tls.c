/* Libraries with thread-local variables that come and go, more of them than there is room for. */
#include "storm.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

typedef void (*user)(void);

/* The library HAZARD_LIBRARY, as a file of its own each time; NULL if it cannot be loaded. */
static void *load_copy(user *use) {
    int from = open(getenv("HAZARD_LIBRARY"), O_RDONLY), to = memfd_create("library", 0);
    struct stat status;
    must(from >= 0 && to >= 0 && fstat(from, &status) == 0);
    must(sendfile(to, from, NULL, (size_t)status.st_size) == status.st_size);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", to);
    void *library = dlopen(path, RTLD_NOW);
    close(from); /* the other stays open: the loader knows libraries by their paths as well */
    if (library) {
        *(void **)use = dlsym(library, "use_library");
        must(*use != NULL);
    }
    return library;
}

enum { LIBRARIES = 80, THREADS = 4 };
static void *libraries[LIBRARIES];
static user uses[LIBRARIES];
static pthread_barrier_t meet;

/* Uses the libraries as they come; its table of them has to grow again and again. */
static void *use_all(void *unused) {
    for (int i = 0; i < LIBRARIES; i++) {
        pthread_barrier_wait(&meet);
        uses[i]();
        free(take(100));
        pthread_barrier_wait(&meet);
    }
    return unused;
}

HAZARD(life, many_libraries_with_tls, "library=comes.c") {
    pthread_t threads[THREADS];
    must(pthread_barrier_init(&meet, NULL, THREADS + 1) == 0);
    for (int i = 0; i < THREADS; i++) {
        must(pthread_create(&threads[i], NULL, use_all, NULL) == 0);
    }
    for (int i = 0; i < LIBRARIES; i++) {
        must((libraries[i] = load_copy(&uses[i])) != NULL);
        pthread_barrier_wait(&meet);
        uses[i]();
        pthread_barrier_wait(&meet);
    }
    /* Some go while threads have variables of theirs, some after. */
    for (int i = 0; i < LIBRARIES; i += 2) {
        must(dlclose(libraries[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        must(pthread_join(threads[i], NULL) == 0);
    }
    for (int i = 1; i < LIBRARIES; i += 2) {
        must(dlclose(libraries[i]) == 0);
    }
}

static void *use_first(void *unused) {
    uses[0]();
    use_the_heap();
    return unused;
}

/* Fills what the static block has left over. */
static int fill_static_block(void) {
    int count = 0;
    while (count < LIBRARIES && (libraries[count] = load_copy(&uses[count])) != NULL) {
        uses[count++]();
    }
    must(count > 0 && count < LIBRARIES);
    return count;
}

HAZARD(life, static_tls_exhausted, "library=still.c") {
    begin_storm(storm);
    int count = fill_static_block();
    in_a_thread(use_first, NULL);
    while (count > 0) {
        must(dlclose(libraries[--count]) == 0);
    }
    end_storm();
}

/* The allocator comes late, finds no room for its own variables there, and says so; or it needs none. */
HAZARD(life, loaded_with_static_tls_exhausted, "unloaded library=still.c") {
    fill_static_block();
    void *library = dlopen(getenv("HAZARD_ALLOCATOR"), RTLD_NOW);
    if (library == NULL) {
        must(strstr(dlerror(), "static TLS") != NULL);
    } else {
        void *(*allocate)(size_t);
        *(void **)&allocate = dlsym(library, "malloc");
        must(allocate && allocate(100) != NULL);
    }
    in_a_thread(use_first, NULL);
}
