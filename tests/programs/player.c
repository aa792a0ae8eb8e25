/* Plays a sequence of allocator calls read from stdin (tests/src/script.rs), checking contents on the way.
   Nothing is allocated but what the sequence says, once the threads have started. */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>

enum {
    MALLOC = 1, CALLOC, REALLOC, REALLOCARRAY, POSIX_MEMALIGN, ALIGNED_ALLOC, FREE, FREE_NULL,
    FAIL_MALLOC, FAIL_CALLOC, FAIL_REALLOC, FAIL_MEMALIGN, BARRIER, PAUSE, REALLOC_TO_NOTHING,
};

struct step {
    uint8_t what, thread, unused[2];
    uint32_t slot;
    uint64_t a, b;
};

struct slot {
    unsigned char *block;
    uint64_t size;
};

static struct {
    uint32_t threads, slots;
    uint64_t steps;
} header;
static struct step *steps;
static struct slot *slots;
static pthread_barrier_t barrier;

static void read_fully(void *into, size_t bytes) {
    for (size_t done = 0; done < bytes;) {
        ssize_t count = read(0, (char *)into + done, bytes - done);
        must(count > 0);
        done += (size_t)count;
    }
}

static unsigned char pattern(uint32_t slot, uint64_t offset) { return (unsigned char)(slot * 37 + offset * 11 + 5); }

/* Of a large block only the first and last page are looked at. */
static uint64_t next_offset(uint64_t offset, uint64_t size) {
    offset++;
    return size > 65536 && offset == 4096 ? size - 4096 : offset;
}

static void fill(uint32_t slot) {
    for (uint64_t i = 0; i < slots[slot].size; i = next_offset(i, slots[slot].size)) {
        slots[slot].block[i] = pattern(slot, i);
    }
}

/* The first `size` bytes of the block hold what was written when it had `old` bytes. */
static void verify(uint32_t slot, uint64_t old, uint64_t size) {
    for (uint64_t i = 0; i < old; i = next_offset(i, old)) {
        if (i < size && slots[slot].block[i] != pattern(slot, i)) {
            fail("slot %u, %lu bytes: byte %lu changed", slot, (unsigned long)old, (unsigned long)i);
        }
    }
}

static void take(uint32_t slot, void *block, uint64_t size, uint64_t align) {
    must(block != NULL);
    must((uintptr_t)block % align == 0);
    must(malloc_usable_size(block) >= size);
    slots[slot] = (struct slot){block, size};
    fill(slot);
}

static void resized(uint32_t slot, void *block, uint64_t size) {
    must(block != NULL);
    uint64_t old = slots[slot].block ? slots[slot].size : 0;
    slots[slot] = (struct slot){block, size};
    verify(slot, old, size);
    fill(slot);
}

static void play(const struct step *s) {
    struct slot *slot = &slots[s->slot];
    void *block = NULL;
    errno = 77;
    switch (s->what) {
    case MALLOC:
        take(s->slot, malloc(s->a), s->a, 16);
        break;
    case CALLOC:
        block = calloc(s->a, s->b);
        for (uint64_t i = 0; block && i < s->a * s->b; i++) {
            must(((unsigned char *)block)[i] == 0);
        }
        take(s->slot, block, s->a * s->b, 16);
        break;
    case REALLOC:
        resized(s->slot, realloc(slot->block, s->a), s->a);
        break;
    case REALLOCARRAY:
        resized(s->slot, reallocarray(slot->block, s->a, s->b), s->a * s->b);
        break;
    case POSIX_MEMALIGN:
        must(posix_memalign(&block, s->a, s->b) == 0);
        take(s->slot, block, s->b, s->a);
        break;
    case ALIGNED_ALLOC:
        take(s->slot, aligned_alloc(s->a, s->b), s->b, s->a);
        break;
    case FREE:
        verify(s->slot, slot->size, slot->size);
        free(slot->block);
        *slot = (struct slot){0};
        break;
    case REALLOC_TO_NOTHING:
        must(realloc(slot->block, 0) == NULL);
        *slot = (struct slot){0};
        break;
    case FREE_NULL:
        free(NULL);
        break;
    case FAIL_MALLOC:
        must(malloc(s->a) == NULL && errno == ENOMEM);
        return;
    case FAIL_CALLOC:
        must(calloc(s->a, s->b) == NULL && errno == ENOMEM);
        return;
    case FAIL_REALLOC:
        must(realloc(slot->block, s->a) == NULL && errno == ENOMEM);
        verify(s->slot, slot->size, slot->size);
        return;
    case FAIL_MEMALIGN:
        must(posix_memalign(&block, s->a, s->b) == (s->a % sizeof(void *) ? EINVAL : ENOMEM));
        return;
    default:
        fail("step %d is unknown", s->what);
    }
    must(errno == 77);
}

static void *run(void *argument) {
    uint8_t thread = (uint8_t)(uintptr_t)argument;
    for (uint64_t i = 0; i < header.steps; i++) {
        if (steps[i].what == BARRIER || steps[i].what == PAUSE) {
            pthread_barrier_wait(&barrier);
            if (steps[i].what == PAUSE && thread == 0) {
                pause_here("pause");
            }
            pthread_barrier_wait(&barrier);
        } else if (steps[i].thread == thread) {
            play(&steps[i]);
        }
    }
    return NULL;
}

int main(void) {
    read_fully(&header, sizeof header);
    size_t bytes = header.steps * sizeof *steps + header.slots * sizeof *slots;
    steps = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(steps != MAP_FAILED);
    slots = (struct slot *)(steps + header.steps);
    read_fully(steps, header.steps * sizeof *steps);
    must(header.threads > 0 && pthread_barrier_init(&barrier, NULL, header.threads) == 0);
    pthread_t threads[256];
    for (uint32_t i = 1; i < header.threads; i++) {
        must(pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)i) == 0);
    }
    run(NULL);
    for (uint32_t i = 1; i < header.threads; i++) {
        must(pthread_join(threads[i], NULL) == 0);
    }
    return 0;
}
