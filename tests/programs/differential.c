/* Random allocator calls against a naive model: a table of what should be in every block. Threads put blocks into
   a common mailbox and take others' out. Usage: differential THREADS STEPS SEED; four rounds, a pause after each.
   At each pause: allocations, frees, reallocations, bytes requested and bytes given back, by the model. */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>

enum { HELD = 500, MAILBOX = 64, ROUNDS = 4, MAX_THREADS = 16 };

struct block {
    unsigned char *at;
    size_t size;
    unsigned char seed;
};

struct counts {
    uint64_t allocations, frees, reallocations, requested_in, requested_out;
};

struct worker {
    struct block held[HELD];
    struct counts counts;
    uint64_t random;
} workers[MAX_THREADS];

static struct block mailbox[MAILBOX];
static pthread_mutex_t mailbox_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;
static unsigned threads, steps;

static uint64_t next(struct worker *w, uint64_t limit) {
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (w->random >> 11) % limit;
}

static size_t random_size(struct worker *w) {
    static const unsigned char shifts[] = {5, 6, 7, 8, 9, 10, 12, 14, 16, 19};
    return next(w, 1ul << shifts[next(w, sizeof shifts)]);
}

/* Large blocks are looked at in steps. */
static size_t stride(size_t size) { return size > 8192 ? 257 : 1; }

static void fill(struct block b) {
    for (size_t i = 0; i < b.size; i += stride(b.size)) {
        b.at[i] = (unsigned char)(b.seed + i * 7);
    }
    if (b.size) {
        b.at[b.size - 1] = b.seed;
    }
}

static void check(const unsigned char *at, struct block b, size_t upto) {
    for (size_t i = 0; i < upto && i + 1 < b.size; i += stride(b.size)) {
        must(at[i] == (unsigned char)(b.seed + i * 7));
    }
    if (b.size && upto >= b.size) {
        must(at[b.size - 1] == b.seed);
    }
}

static struct block allocate(struct worker *w) {
    struct block b = {NULL, random_size(w), (unsigned char)next(w, 256)};
    size_t align = 16;
    switch (next(w, 8)) {
    case 0: {
        size_t count = next(w, 40), each = next(w, 200);
        b.size = count * each;
        b.at = calloc(count, each);
        must(b.at != NULL);
        for (size_t i = 0; i < b.size; i++) {
            must(b.at[i] == 0);
        }
        break;
    }
    case 1:
        align = 8ul << next(w, 12);
        must(posix_memalign((void **)&b.at, align, b.size) == 0);
        break;
    case 2:
        align = 16ul << next(w, 10);
        b.at = memalign(align, b.size);
        break;
    case 3:
        b.at = realloc(NULL, b.size);
        break;
    default:
        b.at = malloc(b.size);
    }
    must(b.at != NULL && (uintptr_t)b.at % align == 0);
    /* Asking for 8-byte alignment is no licence to give less than 16 to a block that can hold it. */
    must(b.size < 16 || (uintptr_t)b.at % 16 == 0);
    must(malloc_usable_size(b.at) >= b.size);
    w->counts.allocations++;
    w->counts.requested_in += b.size;
    fill(b);
    return b;
}

static void release(struct worker *w, struct block *b) {
    check(b->at, *b, b->size);
    free(b->at);
    w->counts.frees++;
    w->counts.requested_out += b->size;
    b->at = NULL;
}

static void resize(struct worker *w, struct block *b) {
    size_t size = next(w, 3) ? random_size(w) : b->size + next(w, 64);
    if (size == 0) {
        size = 1; /* realloc(p, 0) is free(p): that is for another test */
    }
    unsigned char *at = realloc(b->at, size);
    must(at != NULL);
    check(at, *b, size < b->size ? size : b->size);
    w->counts.allocations++;
    w->counts.frees++;
    w->counts.reallocations++;
    w->counts.requested_in += size;
    w->counts.requested_out += b->size;
    *b = (struct block){at, size, (unsigned char)next(w, 256)};
    fill(*b);
}

static void exchange(struct worker *w, struct block *b) {
    pthread_mutex_lock(&mailbox_lock);
    struct block *letter = &mailbox[next(w, MAILBOX)];
    struct block other = *letter;
    *letter = *b;
    *b = other;
    pthread_mutex_unlock(&mailbox_lock);
}

static void *work(void *argument) {
    struct worker *w = argument;
    for (int round = 0; round <= ROUNDS; round++) {
        pthread_barrier_wait(&barrier);
        if (w == workers) {
            struct counts sum = {0};
            for (unsigned i = 0; i < threads; i++) {
                sum.allocations += workers[i].counts.allocations;
                sum.frees += workers[i].counts.frees;
                sum.reallocations += workers[i].counts.reallocations;
                sum.requested_in += workers[i].counts.requested_in;
                sum.requested_out += workers[i].counts.requested_out;
            }
            pause_here("%lu %lu %lu %lu %lu", sum.allocations, sum.frees, sum.reallocations, sum.requested_in,
                       sum.requested_out);
        }
        pthread_barrier_wait(&barrier);
        for (unsigned i = 0; round < ROUNDS && i < steps / ROUNDS; i++) {
            struct block *b = &w->held[next(w, HELD)];
            if (next(w, 4) == 0) {
                exchange(w, b);
            }
            if (!b->at) {
                *b = allocate(w);
            } else if (next(w, 3) == 0) {
                resize(w, b);
            } else {
                release(w, b);
            }
        }
        if (round == ROUNDS - 1) { /* the last pause sees a table of empty slots */
            for (unsigned i = 0; i < HELD; i++) {
                if (w->held[i].at) {
                    release(w, &w->held[i]);
                }
            }
        }
    }
    return NULL;
}

int main(int count, char **arguments) {
    must(count == 4);
    threads = (unsigned)atoi(arguments[1]);
    steps = (unsigned)atoi(arguments[2]);
    must(threads >= 1 && threads <= MAX_THREADS);
    must(pthread_barrier_init(&barrier, NULL, threads) == 0);
    pthread_t ids[MAX_THREADS];
    for (unsigned i = 0; i < threads; i++) {
        workers[i].random = (strtoul(arguments[3], NULL, 10) * 1000 + i) * 0x9e3779b97f4a7c15ul | 1;
        if (i) {
            must(pthread_create(&ids[i], NULL, work, &workers[i]) == 0);
        }
    }
    work(workers);
    for (unsigned i = 1; i < threads; i++) {
        must(pthread_join(ids[i], NULL) == 0);
    }
    say("done");
    return 0;
}
