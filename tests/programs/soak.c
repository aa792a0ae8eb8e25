/* Everything at once, for as long as one likes: threads that come and go, every entry point, blocks handed from thread
   to thread, every byte checked, forks in between whose children check and free what they inherit.
   Usage: soak SECONDS THREADS SEED. Pauses before it begins, and after all has been freed and trimmed. */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum { SLOTS = 4096, MOST_THREADS = 256 };
/* Live bytes are kept below this. */
static const size_t BOUND = 64 << 20;

/* A block that anybody may take. */
struct slot {
    atomic_flag taken;
    unsigned char *block;
    size_t size;
    unsigned seed;
};

static struct slot slots[SLOTS];
static atomic_size_t live;
static atomic_bool over;
static atomic_ulong operations;

static unsigned next(unsigned *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static unsigned char byte_at(unsigned seed, size_t at) { return (unsigned char)(seed + at * 31 + (at >> 8)); }

/* Of large blocks the ends, and something of every page. */
static size_t step(size_t at, size_t size) { return at < 512 || size - at <= 512 ? 1 : 509; }

static void fill(unsigned char *block, size_t from, size_t size, unsigned seed) {
    for (size_t at = 0; at < size; at += step(at, size)) {
        if (at >= from) {
            block[at] = byte_at(seed, at);
        }
    }
}

static void check(const unsigned char *block, size_t size, size_t all, unsigned seed) {
    for (size_t at = 0; at < size; at += step(at, all)) {
        if (block[at] != byte_at(seed, at)) {
            fail("byte %zu of %zu at %p is %#x, not %#x", at, size, (const void *)block, block[at], byte_at(seed, at));
        }
    }
}

static size_t some_size(unsigned *state) {
    unsigned kind = next(state) % 1000;
    if (kind < 700) {
        return next(state) % 300;
    }
    if (kind < 950) {
        return next(state) % 10000;
    }
    return kind < 998 ? next(state) % 400000 : next(state) % (6u << 20);
}

/* A new block by one of the ways there are, with its size. */
static unsigned char *take(unsigned *state, size_t *size) {
    void *block = NULL;
    size_t align = (size_t)16 << next(state) % 9;
    switch (next(state) % 12) {
    case 0:
    case 1: {
        unsigned char *zeroed = calloc(*size / 8 + 1, 8);
        must(zeroed != NULL);
        for (size_t at = 0; at < *size; at += step(at, *size)) {
            must(zeroed[at] == 0);
        }
        return zeroed;
    }
    case 2:
        must(posix_memalign(&block, align, *size) == 0 && (uintptr_t)block % align == 0);
        return block;
    case 3:
        block = aligned_alloc(align, *size);
        must(block != NULL && (uintptr_t)block % align == 0);
        return block;
    case 4:
        block = memalign(align, *size);
        must(block != NULL && (uintptr_t)block % align == 0);
        return block;
    case 5:
        block = next(state) % 2 ? valloc(*size) : pvalloc(*size);
        must(block != NULL && (uintptr_t)block % 4096 == 0);
        return block;
    case 6: {
        static const char text[] = "some text that is copied to the heap";
        block = strdup(text);
        must(block != NULL && strcmp(block, text) == 0);
        *size = sizeof text;
        return block;
    }
    case 7:
        block = realloc(NULL, *size + 1);
        break;
    case 8:
        block = reallocarray(NULL, *size + 1, 1);
        break;
    default:
        block = malloc(*size);
    }
    must(block != NULL && (uintptr_t)block % 16 == 0);
    return block;
}

static void put(struct slot *slot, unsigned *state) {
    size_t size = some_size(state);
    slot->block = take(state, &size);
    slot->size = size;
    slot->seed = next(state);
    must(malloc_usable_size(slot->block) >= size);
    fill(slot->block, 0, size, slot->seed);
    live += size;
}

static void resize(struct slot *slot, unsigned *state) {
    size_t size = some_size(state) + 1, kept = size < slot->size ? size : slot->size;
    check(slot->block, slot->size, slot->size, slot->seed);
    /* The steps of checking depend on the size: everything that will be looked at is written first. */
    for (size_t at = 0; at < slot->size; at++) {
        slot->block[at] = byte_at(slot->seed, at);
    }
    slot->block = next(state) % 2 ? realloc(slot->block, size) : reallocarray(slot->block, size, 1);
    must(slot->block != NULL);
    check(slot->block, kept, size, slot->seed);
    fill(slot->block, kept, size, slot->seed);
    live += size - slot->size;
    slot->size = size;
}

static void clear(struct slot *slot) {
    check(slot->block, slot->size, slot->size, slot->seed);
    unsigned char *block = slot->block;
    live -= slot->size;
    slot->block = NULL;
    free(block);
}

static void work(unsigned *state, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        struct slot *slot = &slots[next(state) % SLOTS];
        if (atomic_flag_test_and_set(&slot->taken)) {
            continue;
        }
        if (slot->block == NULL) {
            if (live < BOUND) {
                put(slot, state);
            }
        } else if (next(state) % 4 == 0 && live < BOUND) {
            resize(slot, state);
        } else {
            clear(slot);
        }
        atomic_flag_clear(&slot->taken);
    }
    operations += count;
}

/* Thread-specific data that owns a block, and a thread-local block that is freed by its destructor. */
static pthread_key_t key;
static void destroy(void *block) {
    free(block);
    free(malloc(333));
}

static void *worker(void *seed) {
    unsigned state = (unsigned)(uintptr_t)seed | 1;
    must(pthread_setspecific(key, malloc(1000)) == 0);
    work(&state, next(&state) % 4000);
    return NULL;
}

static void *brief_worker(void *seed) {
    unsigned state = (unsigned)(uintptr_t)seed | 1;
    must(pthread_setspecific(key, malloc(1000)) == 0);
    work(&state, 200);
    return NULL;
}

/* Workers one after the other, each in a thread of its own. */
static void *spawner(void *seed) {
    unsigned state = (unsigned)(uintptr_t)seed | 1;
    while (!over) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, worker, (void *)(uintptr_t)next(&state)) == 0);
        must(pthread_join(thread, NULL) == 0);
    }
    return NULL;
}

/* What a child finds: blocks whole, except those that another thread had in its hands. */
static void live_as_child(unsigned seed) {
    unsigned state = seed | 1;
    for (int i = 0; i < SLOTS; i++) {
        if (atomic_flag_test_and_set(&slots[i].taken)) {
            slots[i].block = NULL;
        }
        atomic_flag_clear(&slots[i].taken);
        if (slots[i].block && (unsigned)i % 8 == seed % 8) {
            clear(&slots[i]);
        }
    }
    work(&state, 300);
    pthread_t threads[3];
    for (uintptr_t i = 0; i < 3; i++) {
        must(pthread_create(&threads[i], NULL, brief_worker, (void *)(seed + i)) == 0);
    }
    if (seed % 3 == 0) {
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            work(&state, 200);
            _exit(0);
        }
        int status;
        must(waitpid(pid, &status, 0) == pid);
        if (status != 0) {
            fail("grandchild %u ended with status %#x", seed, status);
        }
    }
    for (int i = 0; i < 3; i++) {
        must(pthread_join(threads[i], NULL) == 0);
    }
    seed % 2 ? exit(0) : _exit(0);
}

static void make_child(unsigned seed) {
    extern char **environ;
    static char *arguments[] = {"true", NULL};
    pid_t pid;
    switch (seed % 8) {
    case 0:
        must(posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, environ) == 0);
        break;
    case 1:
        pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid == 0) {
            unsigned state = seed;
            work(&state, 300);
            _exit(0);
        }
        break;
    default:
        pid = fork();
        if (pid == 0) {
            live_as_child(seed);
        }
    }
    int status;
    must(pid > 0 && waitpid(pid, &status, 0) == pid);
    if (status != 0) {
        fail("child %u ended with status %#x", seed, status);
    }
}

static void look_at_oneself(FILE *null) {
    must(malloc_info(0, null) == 0);
    must(mallinfo2().uordblks > 0);
    malloc_trim(0);
}

int main(int count, char **arguments) {
    must(count == 4);
    time_t seconds = atol(arguments[1]);
    int threads = atoi(arguments[2]);
    unsigned seed = (unsigned)atoi(arguments[3]) | 1;
    must(threads > 0 && threads <= MOST_THREADS && pthread_key_create(&key, destroy) == 0);
    FILE *null = fopen("/dev/null", "w");
    must(null != NULL);
    look_at_oneself(null);
    pause_here("ready");
    static pthread_t all[MOST_THREADS];
    for (int i = 0; i < threads; i++) {
        must(pthread_create(&all[i], NULL, spawner, (void *)(uintptr_t)next(&seed)) == 0);
    }
    struct timespec start, now;
    unsigned long children = 0;
    must(clock_gettime(CLOCK_MONOTONIC, &start) == 0);
    do {
        make_child(next(&seed));
        children++;
        if (children % 16 == 0) {
            look_at_oneself(null);
        }
        must(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    } while (now.tv_sec - start.tv_sec < seconds);
    over = true;
    for (int i = 0; i < threads; i++) {
        must(pthread_join(all[i], NULL) == 0);
    }
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i].block) {
            clear(&slots[i]);
        }
    }
    must(live == 0);
    malloc_trim(0);
    pause_here("%lu operations, %lu children", operations, children);
    fclose(null);
    return 0;
}
