/* Takes away the library's code that lies behind all other, and goes on as most programs do. Usage: behind FIRST END, the
 * section's addresses in the file. What is called there ends it, with its address in the file. */
#include "handshake.h"
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096, BLOCKS = 4000 };

static uintptr_t base;

static int find(struct dl_phdr_info *object, size_t size, void *data) {
    (void)size, (void)data;
    if (strstr(object->dlpi_name, "libstatsalloc") != NULL) {
        base = object->dlpi_addr;
    }
    return 0;
}

static void called(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    fprintf(stderr, "called: %#lx\n", (unsigned long)((uintptr_t)info->si_addr - base));
    _exit(1);
}

static unsigned seed = 1;

static unsigned draw(unsigned below) {
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

static size_t size(void) {
    switch (draw(64)) {
    case 0:
        return 1 + draw(2 << 20);
    case 1:
        return 1 + draw(64 << 10);
    default:
        return 1 + draw(2000);
    }
}

enum { PASSED = 500 };

/* Frees what it is given, and leaves as much. */
static void *exchange(void *given) {
    void **blocks = given;
    for (int i = 0; i < PASSED; i++) {
        free(blocks[i]);
        must((blocks[i] = malloc(1 + (size_t)i)) != NULL);
    }
    return NULL;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int count, char **arguments) {
    must(count == 3);
    uintptr_t first = strtoul(arguments[1], NULL, 16), end = strtoul(arguments[2], NULL, 16);
    must(first < end && dl_iterate_phdr(find, NULL) == 0 && base != 0);
    struct sigaction action = {.sa_sigaction = called, .sa_flags = SA_SIGINFO};
    must(sigaction(SIGSEGV, &action, NULL) == 0);
    uintptr_t start = (base + first + PAGE - 1) / PAGE * PAGE;
    must(mprotect((void *)start, (base + end) / PAGE * PAGE - start, PROT_NONE) == 0);

    static void *blocks[BLOCKS];
    /* Several decay times and writes of the history. */
    for (double stop = seconds() + 2.5; seconds() < stop;) {
        for (int i = 0; i < 20000; i++) {
            void **block = &blocks[draw(BLOCKS)];
            switch (draw(8)) {
            case 0:
                *block = realloc(*block, size());
                break;
            case 1:
                free(*block);
                *block = calloc(1, size());
                break;
            case 2:
                free(*block);
                *block = NULL;
                break;
            default:
                free(*block);
                *block = malloc(size());
                break;
            }
            must(*block == NULL || malloc_usable_size(*block) > 0);
        }
        pthread_t threads[2];
        for (int i = 0; i < 2; i++) {
            must(pthread_create(&threads[i], NULL, exchange, &blocks[i * PASSED]) == 0);
        }
        for (int i = 0; i < 2; i++) {
            must(pthread_join(threads[i], NULL) == 0);
        }
        for (int i = 0; i < BLOCKS && draw(4) == 0; i++) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
    }
    puts("done");
    return 0;
}
