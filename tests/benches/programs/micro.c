/* What one operation costs, alone and warm.
   Usage: micro ROW REPETITIONS MILLISECONDS. Prints nanoseconds per operation: the best of so many repetitions, each as
   many rounds as take so many milliseconds. Every block's first word is written, since programs write theirs. */
#include "bench.h"

#include <sched.h>

/* Keeps the compiler from knowing what `pointer` points to. */
#define touch(pointer) (*(volatile uint64_t *)(pointer) = 1)

enum { SLOTS = 1000, CROWD = 100000, SIZES = 4096, STEPS_TOP = 16 << 10, GROWTH_TOP = 1 << 20 };

/* Every row does `count` rounds and tells how many operations each round is. */
typedef uint64_t Row(uint64_t count);

static uint64_t pairs(uint64_t count, size_t size) {
    for (uint64_t i = 0; i < count; i++) {
        void *fresh = block(size);
        touch(fresh);
        free(fresh);
    }
    return 1;
}

static uint64_t pair_64(uint64_t count) {
    return pairs(count, 64);
}

static uint64_t pair_32k(uint64_t count) {
    return pairs(count, 32 << 10);
}

static uint64_t pair_1m(uint64_t count) {
    return pairs(count, 1 << 20);
}

static uint64_t calloc_64(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        void *fresh = calloc(1, 64);
        must(fresh != NULL);
        touch(fresh);
        free(fresh);
    }
    return 1;
}

/* `many` blocks of 64 bytes, freed in a random order that stays the same. An operation is a pair. */
static uint64_t random_order(uint64_t count, uint32_t many) {
    static void *blocks[CROWD];
    static uint32_t order[CROWD];
    static uint32_t ordered;
    if (ordered != many) {
        Random random = seeded(1);
        shuffled(order, many, &random);
        ordered = many;
    }
    for (uint64_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < many; k++) {
            blocks[k] = block(64);
            touch(blocks[k]);
        }
        for (uint32_t k = 0; k < many; k++) {
            free(blocks[order[k]]);
        }
    }
    return many;
}

static uint64_t random_1k(uint64_t count) {
    return random_order(count, SLOTS);
}

static uint64_t random_100k(uint64_t count) {
    return random_order(count, CROWD);
}

/* A table of SLOTS blocks; one at random is freed and another of a random size put in its place. */
static uint64_t replacement(uint64_t count, uint32_t smallest, uint32_t doublings) {
    static void *table[SLOTS];
    static uint32_t slots[SIZES], sizes[SIZES];
    if (table[0] == NULL) {
        Random random = seeded(2);
        for (int i = 0; i < SIZES; i++) {
            slots[i] = (uint32_t)below(&random, SLOTS);
            /* As many blocks in every doubling. */
            uint32_t base = smallest << below(&random, doublings);
            sizes[i] = base + (uint32_t)below(&random, base);
        }
        for (int i = 0; i < SLOTS; i++) {
            table[i] = block(sizes[i]);
        }
    }
    for (uint64_t i = 0; i < count; i++) {
        void **slot = &table[slots[i % SIZES]];
        free(*slot);
        *slot = block(sizes[i % SIZES]);
        touch(*slot);
    }
    return 1;
}

static uint64_t mixed_small(uint64_t count) {
    return replacement(count, 16, 6);
}

static uint64_t mixed_8k(uint64_t count) {
    return replacement(count, 1 << 10, 3);
}

/* A buffer that doubles from 16 bytes to 1 MiB; with `neighbours`, a small block is taken before every step, so that
   the buffer does not simply lie last in the heap. An operation is one `realloc`, with its share of the neighbours. */
static uint64_t doubling(uint64_t count, int neighbours) {
    void *others[64];
    uint64_t steps = 0;
    for (uint64_t i = 0; i < count; i++) {
        char *buffer = (char *)block(16);
        steps = 0;
        for (size_t size = 32; size <= GROWTH_TOP; size *= 2) {
            if (neighbours) {
                others[steps] = block(48);
            }
            buffer = (char *)realloc(buffer, size);
            must(buffer != NULL);
            touch(buffer + size - 8);
            steps++;
        }
        free(buffer);
        for (uint64_t k = 0; neighbours && k < steps; k++) {
            free(others[k]);
        }
    }
    return steps;
}

static uint64_t realloc_doubling(uint64_t count) {
    return doubling(count, 1);
}

static uint64_t realloc_alone(uint64_t count) {
    return doubling(count, 0);
}

/* A buffer that grows by 16 bytes at a time, from 16 bytes to 16 KiB. An operation is one `realloc`. */
static uint64_t realloc_steps(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        char *buffer = (char *)block(16);
        for (size_t size = 32; size <= STEPS_TOP; size += 16) {
            buffer = (char *)realloc(buffer, size);
            must(buffer != NULL);
            touch(buffer + size - 8);
        }
        free(buffer);
    }
    return STEPS_TOP / 16 - 1;
}

/* Blocks go from one thread to another in batches, over a ring of batches. */
enum { BATCH = 256, RING = 16 };
static struct {
    void *blocks[BATCH];
    int full;
} __attribute__((aligned(64))) ring[RING];

static void wait_for(int *flag, int value) {
    for (int spins = 0; __atomic_load_n(flag, __ATOMIC_ACQUIRE) != value; spins++) {
        if (spins > 1000) {
            sched_yield();
        }
    }
}

static void *frees(void *count) {
    for (uint64_t i = 0; i < *(uint64_t *)count; i++) {
        wait_for(&ring[i % RING].full, 1);
        for (int k = 0; k < BATCH; k++) {
            free(ring[i % RING].blocks[k]);
        }
        __atomic_store_n(&ring[i % RING].full, 0, __ATOMIC_RELEASE);
    }
    return NULL;
}

static uint64_t across(uint64_t count) {
    pthread_t other = started(frees, &count);
    for (uint64_t i = 0; i < count; i++) {
        wait_for(&ring[i % RING].full, 0);
        for (int k = 0; k < BATCH; k++) {
            ring[i % RING].blocks[k] = block(64);
            touch(ring[i % RING].blocks[k]);
        }
        __atomic_store_n(&ring[i % RING].full, 1, __ATOMIC_RELEASE);
    }
    joined(other);
    return BATCH;
}

static void *one_block(void *nothing) {
    void *fresh = block(64);
    touch(fresh);
    free(fresh);
    return nothing;
}

/* A thread that starts, allocates for the first time and ends. */
static uint64_t thread(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        joined(started(one_block, NULL));
    }
    return 1;
}

/* The same where both threads have one processor: without the time that waking another one takes. */
static uint64_t thread_pinned(uint64_t count) {
    cpu_set_t before, one;
    must(sched_getaffinity(0, sizeof before, &before) == 0);
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    must(sched_setaffinity(0, sizeof one, &one) == 0);
    uint64_t operations = thread(count);
    must(sched_setaffinity(0, sizeof before, &before) == 0);
    return operations;
}

static const struct {
    const char *name;
    Row *row;
} rows[] = {
    {"pair-64", pair_64},         {"random-1k", random_1k}, {"random-100k", random_100k},
    {"mixed-small", mixed_small}, {"mixed-8k", mixed_8k},   {"pair-32k", pair_32k},
    {"pair-1m", pair_1m},         {"calloc-64", calloc_64}, {"realloc-doubling", realloc_doubling},
    {"realloc-alone", realloc_alone}, {"realloc-steps", realloc_steps}, {"across", across},   {"thread", thread},
    {"thread-pinned", thread_pinned},
};

/* Nanoseconds per operation. */
static double measured(Row *row, uint64_t count) {
    double start = now();
    uint64_t operations = row(count);
    return (now() - start) * 1e9 / (double)(count * operations);
}

int main(int argc, char **argv) {
    must(argc == 4);
    uint64_t repetitions = number(argv[2]);
    double least = (double)number(argv[3]) * 1e-3;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(argv[1], rows[i].name) != 0) {
            continue;
        }
        Row *row = rows[i].row;
        /* Rounds until one repetition takes long enough; this also warms everything up. */
        uint64_t count = 1;
        for (double start = now();; start = now()) {
            row(count);
            double taken = now() - start;
            if (taken >= least) {
                break;
            }
            /* Not all the way at once: the first rounds are cold. */
            double factor = taken > 0 ? least / taken * 1.1 : 10;
            count = count * (factor < 10 ? factor : 10) + 1;
        }
        double best = measured(row, count);
        for (uint64_t k = 1; k < repetitions; k++) {
            double again = measured(row, count);
            best = again < best ? again : best;
        }
        printf("%.3f\n", best);
        return 0;
    }
    fprintf(stderr, "no row %s\n", argv[1]);
    return 2;
}
