/* One misuse, named by the argument. Says on stdout which address it misuses, then does it; a program that survives
   goes on allocating and says so. "pause" as a second argument: waits for the test before and after. */
#include "handshake.h"
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>

static char in_data[64] = "data";
static bool paused;

static void about_to(void *address) {
    say("address %p", address);
    if (paused) {
        pause_here("before");
    }
}

static void *free_it(void *block) {
    free(block);
    return NULL;
}

static void free_elsewhere(void *block) {
    pthread_t thread;
    must(pthread_create(&thread, NULL, free_it, block) == 0);
    must(pthread_join(thread, NULL) == 0);
}

static pthread_barrier_t start;

static void *free_at_once(void *block) {
    pthread_barrier_wait(&start);
    free(block);
    return NULL;
}

static void misuse(const char *what) {
    char *block = NULL;
    if (strcmp(what, "double") == 0) {
        block = malloc(100);
        free(block);
        about_to(block);
        free(block);
    } else if (strcmp(what, "double-later") == 0) {
        block = malloc(100);
        void *others[200];
        for (int i = 0; i < 200; i++) {
            others[i] = malloc(100);
        }
        free(block);
        for (int i = 0; i < 200; i += 2) {
            free(others[i]);
        }
        about_to(block);
        free(block);
    } else if (strcmp(what, "double-realloc") == 0) {
        block = malloc(100);
        free(block);
        about_to(block);
        block = realloc(block, 200);
    } else if (strcmp(what, "double-large") == 0) {
        block = malloc(1000000);
        void *behind = malloc(1000000);
        must(behind != NULL);
        free(block);
        about_to(block);
        free(block);
    } else if (strcmp(what, "double-aligned") == 0) {
        must(posix_memalign((void **)&block, 4096, 100) == 0);
        free(block);
        about_to(block);
        free(block);
    } else if (strcmp(what, "double-remote") == 0) {
        block = malloc(100);
        free_elsewhere(block);
        about_to(block);
        free(block);
    } else if (strcmp(what, "double-remote-both") == 0) {
        block = malloc(100);
        free_elsewhere(block);
        about_to(block);
        free_elsewhere(block);
    } else if (strcmp(what, "double-race") == 0) {
        block = malloc(100);
        pthread_t threads[2];
        must(pthread_barrier_init(&start, NULL, 3) == 0);
        for (int i = 0; i < 2; i++) { /* before the pause: a new thread's stack comes with allocations */
            must(pthread_create(&threads[i], NULL, free_at_once, block) == 0);
        }
        about_to(block);
        pthread_barrier_wait(&start);
        for (int i = 0; i < 2; i++) {
            must(pthread_join(threads[i], NULL) == 0);
        }
        for (int i = 0; i < 2000; i++) { /* collects what was freed remotely */
            must(malloc(100) != NULL);
        }
    } else if (strcmp(what, "interior") == 0) {
        block = malloc(100);
        about_to(block + 16);
        free(block + 16);
    } else if (strcmp(what, "interior-odd") == 0) {
        block = malloc(100);
        about_to(block + 1);
        free(block + 1);
    } else if (strcmp(what, "interior-realloc") == 0) {
        block = malloc(100);
        about_to(block + 48);
        must(realloc(block + 48, 10) == NULL);
    } else if (strcmp(what, "interior-large") == 0) {
        block = malloc(1000000);
        about_to(block + 500000);
        free(block + 500000);
    } else if (strcmp(what, "interior-page") == 0) {
        block = malloc(1000000);
        about_to(block + 65536);
        free(block + 65536);
    } else if (strcmp(what, "interior-aligned") == 0) {
        must(posix_memalign((void **)&block, 4096, 10000) == 0);
        about_to(block + 4096);
        free(block + 4096);
    } else if (strcmp(what, "wrong-size") == 0) {
        void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
        must(free_sized != NULL);
        block = malloc(100);
        about_to(block);
        free_sized(block, 101);
    } else if (strcmp(what, "never") == 0) {
        /* Far behind everything that was ever handed out, but within the window. */
        block = (char *)malloc(100) + (1ul << 30);
        about_to(block);
        free(block);
    } else if (strcmp(what, "never-realloc") == 0) {
        block = (char *)malloc(100) + (1ul << 30);
        about_to(block);
        must(realloc(block, 100) == NULL);
    } else if (strcmp(what, "given-back") == 0) {
        block = malloc(64 << 20);
        free(block);
        malloc_trim(0);
        about_to(block + (32 << 20));
        free(block + (32 << 20));
    } else if (strcmp(what, "wild-stack") == 0) {
        char on_stack[64] = "stack";
        about_to(on_stack + 16);
        free(on_stack + 16);
        must(strcmp(on_stack, "stack") == 0);
    } else if (strcmp(what, "wild-data") == 0) {
        about_to(in_data);
        free(in_data);
        must(strcmp(in_data, "data") == 0);
    } else if (strcmp(what, "foreign-map") == 0) {
        block = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must(block != MAP_FAILED);
        block[4096] = 'x';
        about_to(block + 4096);
        free(block + 4096);
        must(block[4096] == 'x');
    } else if (strcmp(what, "wild-realloc") == 0) {
        about_to(in_data);
        void *copy = realloc(in_data, 100);
        must(copy != in_data && strcmp(in_data, "data") == 0);
        free(copy);
    } else if (strcmp(what, "wild-low") == 0) {
        about_to((void *)16);
        free((void *)16);
    } else if (strcmp(what, "wild-high") == 0) {
        about_to((void *)-16);
        free((void *)-16);
    } else {
        fail("no misuse %s", what);
    }
}

int main(int count, char **arguments) {
    must(count >= 2);
    paused = count == 3;
    misuse(arguments[1]);
    for (int round = 0; round < 3; round++) {
        static void *blocks[5000];
        for (int i = 0; i < 5000; i++) {
            must((blocks[i] = malloc((size_t)i % 500)) != NULL);
            memset(blocks[i], round, (size_t)i % 500);
        }
        for (int i = 0; i < 5000; i++) {
            free(blocks[i]);
        }
    }
    if (paused) {
        pause_here("after");
    }
    say("survived");
    return 0;
}
