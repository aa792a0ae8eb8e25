/* Threads replace and resize large blocks that all of them share while there is no more memory to be had, and check what
   is in each. A child that is forked in the midst of it goes on by itself.
   Usage: scarce THREADS OPERATIONS [STRANGERS], each of these by each thread. So many pages of somebody else's come to lie where
   blocks were. */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { SLOTS = 2048, MOST = 16, PAGE = 4096, SMALLEST = 1000 };

struct slot {
    atomic_flag taken;
    unsigned char *block;
    size_t size;
    unsigned char mark;
};

static struct slot slots[SLOTS];
static unsigned long operations;
static atomic_ulong refused;

enum { MOST_STRANGERS = 1024, STRANGE = 0xA5 };
static unsigned char *pages[MOST_STRANGERS];
static atomic_ulong strangers;
static unsigned long most_strangers;

static unsigned next(unsigned *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* As many between 1 and 2 KB as between 1 and 2 MB. */
static size_t next_size(unsigned *state) {
    size_t magnitude = (size_t)SMALLEST << next(state) % 11;
    return magnitude + next(state) % magnitude;
}

/* A byte of every page, and the last one. */
static void write_marks(const struct slot *slot, size_t from) {
    for (size_t at = from; at < slot->size; at += PAGE) {
        slot->block[at] = slot->mark;
    }
    slot->block[slot->size - 1] = slot->mark;
}

static void check_marks(const struct slot *slot, size_t size, unsigned char mark) {
    for (size_t at = 0; at < size; at += PAGE) {
        must(slot->block[at] == mark);
    }
}

static bool is_refused(const void *block) {
    if (block == NULL) {
        must(errno == ENOMEM);
        atomic_fetch_add(&refused, 1);
    }
    return block == NULL;
}

/* A page in the midst of a large block that was freed, if nothing is mapped there any more. */
static void let_in(unsigned char *freed, size_t size) {
    if (size < 64 * PAGE || atomic_load(&strangers) >= most_strangers) {
        return;
    }
    void *middle = (void *)(((uintptr_t)freed + size / 2) & ~(uintptr_t)(PAGE - 1));
    int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    unsigned char *page = mmap(middle, PAGE, PROT_READ | PROT_WRITE, how, -1, 0);
    if (page != MAP_FAILED) {
        must(page == middle);
        memset(page, STRANGE, PAGE);
        unsigned long index = atomic_fetch_add(&strangers, 1);
        must(index < MOST_STRANGERS);
        pages[index] = page;
    }
}

static void check_strangers(void) {
    for (unsigned long i = 0; i < atomic_load(&strangers); i++) {
        for (int at = 0; at < PAGE; at++) {
            must(pages[i][at] == STRANGE);
        }
    }
}

static void drop(struct slot *slot) {
    check_marks(slot, slot->size, slot->mark);
    must(slot->block[slot->size - 1] == slot->mark);
    free(slot->block);
    let_in(slot->block, slot->size);
    slot->block = NULL;
}

static void put(struct slot *slot, unsigned *state) {
    size_t size = next_size(state);
    unsigned how = next(state) % 4;
    slot->block = how == 0 ? calloc(1, size) : how == 1 ? memalign(1 << 17, size) : malloc(size);
    if (is_refused(slot->block)) {
        return;
    }
    slot->size = size;
    if (how == 0) {
        check_marks(slot, size, 0);
        must(slot->block[size - 1] == 0);
    }
    slot->mark = (unsigned char)(next(state) | 1);
    write_marks(slot, 0);
}

static void resize(struct slot *slot, unsigned *state) {
    size_t size = next_size(state), before = slot->size;
    unsigned char *block = realloc(slot->block, size);
    if (is_refused(block)) {
        must(slot->block[before - 1] == slot->mark);
        return;
    }
    slot->block = block;
    slot->size = size;
    check_marks(slot, size < before ? size : before, slot->mark);
    write_marks(slot, 0);
}

static void work(unsigned seed, unsigned long count) {
    unsigned state = seed * 2654435761u + 1;
    while (count-- > 0) {
        struct slot *slot = &slots[next(&state) % SLOTS];
        if (atomic_flag_test_and_set_explicit(&slot->taken, memory_order_acquire)) {
            continue;
        }
        if (slot->block == NULL) {
            put(slot, &state);
        } else if (next(&state) % 3 == 0) {
            drop(slot);
        } else {
            resize(slot, &state);
        }
        atomic_flag_clear_explicit(&slot->taken, memory_order_release);
    }
}

static void *in_thread(void *seed) {
    work((unsigned)(uintptr_t)seed, operations);
    return seed;
}

/* The slots that other threads had in hand at the fork are nobody's in the child. */
static void in_child(void) {
    for (int i = 0; i < SLOTS; i++) {
        if (!atomic_flag_test_and_set(&slots[i].taken)) {
            if (slots[i].block && i % 2) {
                drop(&slots[i]);
            }
            atomic_flag_clear(&slots[i].taken);
        }
    }
    work(99, operations / 10);
    _exit(0);
}

int main(int count, char **arguments) {
    must(count == 3 || count == 4);
    most_strangers = count == 4 ? (unsigned long)atol(arguments[3]) : 0;
    must(most_strangers + MOST < MOST_STRANGERS);
    int threads = atoi(arguments[1]);
    operations = (unsigned long)atol(arguments[2]);
    must(threads <= MOST);
    pthread_t others[MOST];
    for (int i = 0; i < threads; i++) {
        must(pthread_create(&others[i], NULL, in_thread, (void *)(uintptr_t)(i + 1)) == 0);
    }
    for (int i = 0; i < 10; i++) {
        work((unsigned)(50 + i), operations / 10);
        pid_t pid = fork();
        must(pid >= 0 || errno == ENOMEM);
        if (pid == 0) {
            in_child();
        }
        int status = 0;
        must(pid < 0 || (waitpid(pid, &status, 0) == pid && status == 0));
    }
    for (int i = 0; i < threads; i++) {
        must(pthread_join(others[i], NULL) == 0);
    }
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i].block) {
            drop(&slots[i]);
        }
    }
    check_strangers();
    say("%lu %lu", atomic_load(&refused), atomic_load(&strangers));
    return 0;
}
