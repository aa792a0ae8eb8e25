/* Blocks of another C library's allocator, in a name space of its own, are freed by twenty callers in two modules. Usage: foreign MODE DEEP CALLERS, with the paths of hazards/deep.c and callers.c
     once    caller n of 1 to 20 frees n blocks, one caller after the other
     graver  as once, after a block of ours was freed, and freed twenty times more by the same place
     race    four threads have every caller free 500 blocks, all at the same time
     fork    as once, by a child as well, which caller 1 alone gives a second block
   It says "before", waits, does it, says "after" and a child's PID, and waits again. */
#include "callers.h"
#include "handshake.h"
#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>

TEN_CALLERS(program_)

static char *(*strdup_of_theirs)(const char *);
static void (*const *library_callers)(void *);

static void load(const char *deep, const char *callers) {
    void *library = dlmopen(LM_ID_NEWLM, deep, RTLD_NOW);
    must(library != NULL);
    *(void **)&strdup_of_theirs = dlsym(library, "strdup_in_library");
    library = dlopen(callers, RTLD_NOW);
    must(library != NULL);
    *(void **)&library_callers = dlsym(library, "library_callers");
    must(strdup_of_theirs && library_callers);
}

static void free_by(int caller) {
    char *block = strdup_of_theirs("theirs");
    (caller < CALLERS ? program_callers[caller] : library_callers[caller - CALLERS])(block);
    must(strcmp(block, "theirs") == 0);
}

static void free_once(void) {
    for (int caller = 0; caller < 2 * CALLERS; caller++) {
        for (int n = 0; n <= caller; n++) {
            free_by(caller);
        }
    }
}

static pthread_barrier_t start;

static void *race(void *unused) {
    pthread_barrier_wait(&start);
    for (int n = 0; n < 500; n++) {
        for (int caller = 0; caller < 2 * CALLERS; caller++) {
            free_by(caller);
        }
    }
    return unused;
}

static void free_at_once(void) {
    pthread_t threads[4];
    must(pthread_barrier_init(&start, NULL, 4) == 0);
    for (int n = 0; n < 4; n++) {
        must(pthread_create(&threads[n], NULL, race, NULL) == 0);
    }
    for (int n = 0; n < 4; n++) {
        must(pthread_join(threads[n], NULL) == 0);
    }
}

int main(int count, char **arguments) {
    must(count == 4);
    load(arguments[2], arguments[3]);
    pause_here("before");
    if (strcmp(arguments[1], "graver") == 0) {
        void *volatile block = malloc(100);
        for (int i = 0; i < 21; i++) {
            free(block);
        }
    }
    if (strcmp(arguments[1], "race") == 0) {
        free_at_once();
    } else {
        free_once();
    }
    if (strcmp(arguments[1], "fork") == 0) {
        pid_t child = fork();
        must(child >= 0);
        if (child == 0) {
            free_by(0);
            pause_here("after %d", getpid());
            _exit(0);
        }
        int status;
        must(waitpid(child, &status, 0) == child && status == 0);
    } else {
        pause_here("after");
    }
    say("survived");
    return 0;
}
