/* Everything at once, for as long as one likes: threads that come and go, every entry point, blocks handed from thread
   to thread, every byte checked, forks in between whose children check and free what they inherit.
   Usage: soak SECONDS THREADS SEED. Pauses before it begins, and after all has been freed and trimmed. */
#include "handshake.h"
#include <dlfcn.h>
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
    /* What the allocator was asked for, where the program may say so again: else 0. */
    size_t asked;
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

/* What byte `at` of a block holds: byte `at % 8` of word `at / 8`. */
static uint64_t word_at(unsigned seed, size_t at) { return (seed + 1ull + at / 8) * 0x9e3779b97f4a7c15; }

static void fill(unsigned char *block, size_t from, size_t size, unsigned seed) {
    for (size_t at = from & ~(size_t)7; at < size; at += 8) {
        uint64_t word = word_at(seed, at);
        memcpy(block + at, &word, size - at < 8 ? size - at : 8);
    }
}

static void check(const unsigned char *block, size_t size, unsigned seed) {
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = word_at(seed, at);
        if (memcmp(block + at, &word, size - at < 8 ? size - at : 8) != 0) {
            fail("bytes from %zu of %zu at %p are not what was written", at, size, (const void *)block);
        }
    }
}

static bool is_zero(const unsigned char *block, size_t size) {
    return size == 0 || (block[0] == 0 && memcmp(block, block + 1, size - 1) == 0);
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

/* Entry points that not every C library declares, or C does not; null where there are none. */
static struct {
    void *(*libc_malloc)(size_t), *(*new)(size_t), *(*new_array)(size_t);
    void (*libc_free)(void *), (*cfree)(void *), (*delete)(void *), (*delete_array)(void *);
    void (*free_sized)(void *, size_t), (*delete_sized)(void *, size_t), (*delete_array_sized)(void *, size_t);
    void (*free_aligned_sized)(void *, size_t, size_t);
} others;

static void find_others(void) {
    static const struct {
        void *place;
        const char *name;
    } names[] = {
        {&others.libc_malloc, "__libc_malloc"},     {&others.libc_free, "__libc_free"},
        {&others.cfree, "cfree"},                   {&others.free_sized, "free_sized"},
        {&others.free_aligned_sized, "free_aligned_sized"},
        {&others.new, "_Znwm"},                     {&others.new_array, "_Znam"},
        {&others.delete, "_ZdlPv"},                 {&others.delete_array, "_ZdaPv"},
        {&others.delete_sized, "_ZdlPvm"},          {&others.delete_array_sized, "_ZdaPvm"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *(void **)names[i].place = dlsym(RTLD_DEFAULT, names[i].name);
    }
}

/* A new block by one of the ways there are. */
static void take(struct slot *slot, unsigned *state) {
    size_t size = some_size(state), align = (size_t)16 << next(state) % 9;
    void *block = NULL;
    slot->size = slot->asked = size;
    switch (next(state) % 14) {
    case 0:
    case 1:
        block = calloc(size / 8 + 1, 8);
        must(block != NULL && is_zero(block, size));
        slot->asked = (size / 8 + 1) * 8;
        break;
    case 2:
        must(posix_memalign(&block, align, size) == 0 && (uintptr_t)block % align == 0);
        break;
    case 3:
        block = aligned_alloc(align, size);
        must((uintptr_t)block % align == 0);
        break;
    case 4:
        block = memalign(align, size);
        must((uintptr_t)block % align == 0);
        break;
    case 5:
        block = next(state) % 2 ? valloc(size) : pvalloc(size);
        must((uintptr_t)block % 4096 == 0);
        slot->asked = 0;
        break;
    case 6: {
        static const char text[] = "some text that is copied to the heap";
        block = strdup(text);
        must(block != NULL && strcmp(block, text) == 0);
        slot->size = slot->asked = sizeof text;
        break;
    }
    case 7:
        block = realloc(NULL, size + 1);
        slot->asked = size + 1;
        break;
    case 8:
        block = reallocarray(NULL, size + 1, 1);
        slot->asked = size + 1;
        break;
    case 9:
        block = others.new ? (next(state) % 2 ? others.new : others.new_array)(size) : malloc(size);
        break;
    case 10:
        block = others.libc_malloc ? others.libc_malloc(size) : malloc(size);
        break;
    default:
        block = malloc(size);
    }
    must(block != NULL && (uintptr_t)block % 16 == 0);
    slot->block = block;
}

/* Frees it by one of the ways there are. */
static void give(struct slot *slot, unsigned way) {
    void *block = slot->block;
    size_t asked = slot->asked;
    slot->block = NULL;
    if (way % 16 == 0 && others.cfree) {
        others.cfree(block);
    } else if (way % 16 == 1 && others.libc_free) {
        others.libc_free(block);
    } else if (way % 16 == 2 && others.delete) {
        (way & 16 ? others.delete : others.delete_array)(block);
    } else if (way % 16 == 3 && others.delete_sized && asked) {
        (way & 16 ? others.delete_sized : others.delete_array_sized)(block, asked);
    } else if (way % 16 == 4 && others.free_sized && asked) {
        others.free_sized(block, asked);
    } else if (way % 16 == 5 && others.free_aligned_sized && asked) {
        others.free_aligned_sized(block, 16, asked);
    } else if (way % 16 == 6 && slot->size) {
        must(realloc(block, 0) == NULL);
    } else {
        free(block);
    }
}

static void put(struct slot *slot, unsigned *state) {
    take(slot, state);
    slot->seed = next(state);
    must(malloc_usable_size(slot->block) >= slot->size);
    fill(slot->block, 0, slot->size, slot->seed);
    live += slot->size;
}

static void resize(struct slot *slot, unsigned *state) {
    size_t size = some_size(state) + 1, kept = size < slot->size ? size : slot->size;
    check(slot->block, slot->size, slot->seed);
    slot->block = next(state) % 2 ? realloc(slot->block, size) : reallocarray(slot->block, size, 1);
    must(slot->block != NULL);
    check(slot->block, kept, slot->seed);
    fill(slot->block, kept, size, slot->seed);
    live += size - slot->size;
    slot->size = slot->asked = size;
}

static void clear(struct slot *slot) {
    check(slot->block, slot->size, slot->seed);
    live -= slot->size;
    give(slot, slot->seed);
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
    find_others();
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
