/* Slabs and spans of a few sizes, which change from round to round, beside each other in any order. Every block is freed with the
   size that was asked for, which the ledger has to know, and whole heaps are counted. Usage: beside SEED ROUNDS SIZE... */
#include "totals.h"

enum { UNIT = 32 << 10, BYTES = 24 << 20, MOST = BYTES / 16 + 2 * UNIT };

static size_t sizes[128], count_of_sizes;

/* Not the C library's. */
__attribute__((weak)) void free_sized(void *block, size_t size);

static struct {
    char *block;
    size_t size;
} blocks[MOST];

static uint64_t state;

static size_t below(size_t limit) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state >> 11) % limit;
}

/* A block of about this size, with its number at both ends. */
static void take_one(size_t i, size_t most) {
    size_t size = most - below(most < 8 * 100 ? most / 8 + 1 : 100);
    char *block;
    switch (below(16)) {
    case 0: block = calloc(1, size); break;
    case 1: block = memalign(most & (~most + 1) & (UNIT - 1) ?: 16, size); break;
    case 2: block = realloc(malloc(below(most) + 1), size); break;
    default: block = malloc(size);
    }
    must(block != NULL);
    memcpy(block, &i, sizeof i);
    memcpy(block + size - sizeof i, &i, sizeof i);
    blocks[i].block = block;
    blocks[i].size = size;
}

static void free_one(size_t i) {
    char *block = blocks[i].block;
    size_t size = blocks[i].size;
    must(memcmp(block, &i, sizeof i) == 0 || size < 2 * sizeof i);
    must(memcmp(block + size - sizeof i, &i, sizeof i) == 0);
    free_sized(block, size);
}

static void go_round(struct totals before) {
    size_t kinds[4], some = 2 + below(3), live = 0;
    long requested = 0;
    for (size_t i = 0; i < some; i++) {
        kinds[i] = sizes[below(count_of_sizes)];
    }
    for (size_t taken = 0; taken < BYTES;) {
        size_t size = kinds[below(some)];
        for (size_t more = (1 + below(5 * UNIT)) / size + 1; more > 0; more--) {
            take_one(live, size);
            requested += (long)blocks[live++].size;
            taken += size;
        }
    }
    struct totals now = count();
    must(now.requested - before.requested == requested && now.blocks - before.blocks == (long)live);
    size_t stride = 1 + below(7);
    for (size_t first = 0; first < stride; first++) {
        for (size_t i = first; i < live; i += stride) {
            free_one(i);
        }
    }
}

int main(int number, char **arguments) {
    must(number > 3 && number <= 3 + 128);
    state = (uint64_t)atol(arguments[1]) * 0x9e3779b97f4a7c15 | 1;
    for (int i = 3; i < number; i++) {
        sizes[count_of_sizes++] = (size_t)atol(arguments[i]);
    }
    count();
    struct totals before = count();
    for (int rounds = atoi(arguments[2]); rounds > 0; rounds--) {
        go_round(before);
        struct totals after = count();
        must(after.requested == before.requested && after.blocks == before.blocks);
    }
    say("apart");
    return 0;
}
