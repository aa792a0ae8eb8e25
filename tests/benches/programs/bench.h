/* What the workload programs share: checks, a clock, random numbers, a permutation. For C and C++. */
#ifndef BENCH_H
#define BENCH_H

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Ends the program when `condition` does not hold; a wrong run must never look like a fast one. */
#define must(condition) ((condition) ? (void)0 : failed(#condition, __FILE__, __LINE__))

static inline void failed(const char *condition, const char *file, int line) {
    fprintf(stderr, "%s:%d: %s does not hold\n", file, line, condition);
    _exit(1);
}

/* Seconds on the monotonic clock. */
static inline double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* xorshift64*: the same numbers in every run. */
typedef struct {
    uint64_t state;
} Random;

static inline Random seeded(uint64_t seed) {
    Random random = {seed * 0x9E3779B97F4A7C15u + 1};
    return random;
}

static inline uint64_t next(Random *random) {
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return random->state * 0x2545F4914F6CDD1Du >> 16;
}

/* Uniform in 0..limit. */
static inline uint64_t below(Random *random, uint64_t limit) {
    return next(random) % limit;
}

/* A whole number from the command line. */
static inline uint64_t number(const char *text) {
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    must(end != text && *end == 0);
    return value;
}

/* Fills `order` with a random permutation of 0..count. */
static inline void shuffled(uint32_t *order, uint32_t count, Random *random) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t other = (uint32_t)below(random, i + 1);
        order[i] = order[other];
        order[other] = i;
    }
}

/* malloc, with memory that can be written. */
static inline void *block(size_t size) {
    void *fresh = malloc(size);
    must(fresh != NULL);
    return fresh;
}

/* A size as programs ask for them: half of them up to 64 bytes, one in a hundred above 8 KiB, none above 64 KiB. */
static inline size_t realistic(Random *random) {
    uint64_t share = below(random, 100);
    uint64_t top = share < 50 ? 64 : share < 80 ? 256 : share < 94 ? 1024 : share < 99 ? 8192 : 65536;
    uint64_t bottom = top == 64 ? 8 : top == 65536 ? 8192 : top / 4;
    return bottom + below(random, top - bottom + 1);
}

/* Writes into `fresh` as programs do: a word at the start, and one further in each 64 bytes up to a page. */
static inline void *filled(void *fresh, size_t size, uint64_t value) {
    for (size_t at = 0; at + 8 <= size && at < 4096; at += 64) {
        memcpy((char *)fresh + at, &value, 8);
    }
    return fresh;
}

/* The word at the start of `filled`, for sums that must be right. */
static inline uint64_t word(const void *from) {
    uint64_t value;
    memcpy(&value, from, 8);
    return value;
}

static inline pthread_t started(void *(*run)(void *), void *argument) {
    pthread_t thread;
    must(pthread_create(&thread, NULL, run, argument) == 0);
    return thread;
}

static inline void joined(pthread_t thread) {
    must(pthread_join(thread, NULL) == 0);
}

#endif
