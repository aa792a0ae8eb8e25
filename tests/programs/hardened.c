/* What a hardened heap notices, one case by name. Blocks are of 40 bytes in a class of 48, and of 100,000. */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>
#include <signal.h>

static char *filled(size_t size) {
    char *block = malloc(size);
    must(block != NULL);
    memset(block, 'x', size);
    return block;
}

static void *free_it(void *block) {
    free(block);
    return NULL;
}

static void in_a_thread(void *block) {
    pthread_t thread;
    must(pthread_create(&thread, NULL, free_it, block) == 0 && pthread_join(thread, NULL) == 0);
}

/* So many frees that whatever waits in quarantine has left it. */
static void pass_time(size_t size) {
    for (int i = 0; i < 1000; i++) {
        free(filled(size));
    }
}

static pthread_key_t key;

static void be_told(int signal) {
    (void)signal;
    free(filled(500));
    say("went on");
    _exit(3);
}

/* Writes to a freed block when the thread has no heap of its own any more. */
static void write_late(void *round) {
    if ((long)round < 4) {
        must(pthread_setspecific(key, (void *)((long)round + 1)) == 0);
        return;
    }
    filled(40); /* keeps the slab */
    char *block = filled(40);
    free(block);
    block[17] = 'x';
    for (int i = 0; i < 3000; i++) {
        filled(40);
    }
}

static void *end_late(void *nothing) {
    free(filled(40));
    must(pthread_setspecific(key, (void *)1) == 0);
    return nothing;
}

int main(int count, char **arguments) {
    must(count == 2);
    const char *what = arguments[1];
    if (strcmp(what, "overrun") == 0) {
        char *block = filled(40);
        block[40] = 0;
        free(block);
    } else if (strcmp(what, "overrun-realloc") == 0) {
        char *block = filled(40);
        block[40] = 'x';
        block = realloc(block, 41);
    } else if (strcmp(what, "overrun-elsewhere") == 0) {
        char *block = filled(40);
        block[47] = 'x';
        in_a_thread(block);
    } else if (strcmp(what, "overrun-large") == 0) {
        char *block = filled(100000);
        block[100000] = 0;
        free(block);
    } else if (strcmp(what, "overrun-page") == 0) {
        /* Faults: behind the last page lies a guard. */
        char *block = filled(1 << 20);
        block[1 << 20] = 'x';
    } else if (strcmp(what, "guard-moves") == 0) {
        char *block = filled(1 << 20);
        for (size_t size = 1 << 20; size <= 8 << 20; size += 300000) {
            must((block = realloc(block, size)) != NULL);
            memset(block, 'x', malloc_usable_size(block));
        }
        must((block = realloc(block, 200000)) != NULL);
        free(block);
        for (size_t size = 40000; size < 3 << 20; size += 4096) {
            free(filled(size));
            char *zeroed = calloc(1, size);
            must(zeroed != NULL && zeroed[0] == 0 && zeroed[size - 1] == 0);
            free(zeroed);
        }
    } else if (strcmp(what, "write-after-free") == 0) {
        char *block = filled(40);
        free(block);
        block[17] = 'x';
        pass_time(40);
    } else if (strcmp(what, "write-in-bin") == 0) {
        char *blocks[300];
        for (int i = 0; i < 300; i++) {
            blocks[i] = filled(40);
        }
        for (int i = 0; i < 300; i++) {
            free(blocks[i]);
        }
        blocks[0][0] = 'x'; /* has left the quarantine already */
        for (int i = 0; i < 1000; i++) {
            filled(40);
        }
    } else if (strcmp(what, "write-after-free-elsewhere") == 0) {
        char *block = filled(40);
        in_a_thread(block);
        block[17] = 'x'; /* behind the link of the list it may be on */
        pass_time(40);
    } else if (strcmp(what, "write-before-exit") == 0) {
        char *block = filled(40);
        free(block);
        block[17] = 'x';
        exit(0);
    } else if (strcmp(what, "write-late") == 0) {
        pthread_t thread;
        must(signal(SIGABRT, be_told) != SIG_ERR && pthread_key_create(&key, write_late) == 0);
        must(pthread_create(&thread, NULL, end_late, NULL) == 0 && pthread_join(thread, NULL) == 0);
    } else if (strcmp(what, "double-free") == 0) {
        char *block = filled(40);
        free(block);
        free(filled(40));
        free(block);
    } else if (strcmp(what, "not-reused-at-once") == 0) {
        char *block = filled(40);
        free(block);
        for (int i = 0; i < 200; i++) {
            char *other = filled(40);
            must(other != block);
            free(other);
        }
    } else if (strcmp(what, "usable-size") == 0) {
        for (size_t size = 1; size < 300000; size += 1 + size / 3) {
            char *block = filled(size);
            must(malloc_usable_size(block) == size);
            free(block);
        }
    } else {
        return 94;
    }
    say("went on");
    return 0;
}
