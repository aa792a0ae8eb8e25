/* Preloaded behind the allocator, and so initialised before it and finished after it. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 200 };
static char *kept[BLOCKS];
static pthread_key_t key;

static void *take(size_t size) {
    char *block = malloc(size);
    if (block == NULL) {
        _exit(95);
    }
    return memset(block, 3, size);
}

static void take_all(void) {
    for (int i = 0; i < BLOCKS; i++) {
        kept[i] = take((size_t)i * i + 1);
    }
}

static void free_all(void) {
    for (int i = 0; i < BLOCKS; i++) {
        if (kept[i][i * i] != 3) {
            _exit(96);
        }
        free(kept[i]);
    }
}

static void allocate(void) { free(take(3000)); }

static void *in_thread(void *unused) {
    pthread_setspecific(key, take(500));
    allocate();
    return unused;
}

static void live(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, in_thread, NULL) != 0 || pthread_join(thread, NULL) != 0) {
        _exit(97);
    }
    pid_t pid = fork();
    if (pid == 0) {
        free_all();
        allocate();
        _exit(0);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        _exit(98);
    }
}

__attribute__((constructor)) static void begin(void) {
    pthread_key_create(&key, free);
    pthread_atfork(allocate, allocate, allocate);
    take_all();
    live();
}

__attribute__((destructor)) static void end(void) {
    free_all();
    take_all();
    live();
    free_all();
}
