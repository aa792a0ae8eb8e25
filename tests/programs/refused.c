/* Runs every path of the allocator while the library's own system calls fail as the environment says (the library is
   the build with failing calls). What is refused must be refused with NULL and ENOMEM, and all else must be as if
   nothing had been: contents, counters, what malloc_info says. Afterwards, with nothing failing any more, everything
   goes through again, and nothing may be refused.
   Usage: refused [once] [limiting]
   "once": a call that fails costs no more than one refusal. "limiting": limits its own address space on the way; then
   one that fails may cost more, if it was to give address space back.
   Says how many calls there were that could fail. */
#include "handshake.h"
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* The library's. */
unsigned long failing_os_calls(void) __attribute__((weak));
unsigned long failing_os_failed(void) __attribute__((weak));
void failing_os_mend(void) __attribute__((weak));

enum { BLOCKS = 1024, THREADS = 20, OF_A_THREAD = 8, KIB = 1024, MIB = 1024 * KIB };

/* ---- what must be true ---------------------------------------------------------------------------------------------- */

struct figures {
    unsigned long live, requested, allocations, frees, reallocations;
};

struct block {
    unsigned char *at;
    size_t size;
    unsigned char seed;
};

static struct block blocks[BLOCKS];
static struct figures model;
static unsigned long refusals;
static FILE *report;
/* The program has limited its address space. Where the kernel does not take back what the library has reserved, nothing
   is left for others: no stack of a thread. */
static int limited;

static unsigned char byte_at(const struct block *block, size_t i) {
    return (unsigned char)(block->seed + i * 7 + (i >> 8));
}

/* For the first bytes of a block and a byte of every fourth page behind them: what is written of a block holds for its start too. */
#define for_bytes(block, i) for (size_t i = 0; i < (block)->size; i += i < 256 ? 1 : 16 * KIB)

static void fill(struct block *block) {
    static unsigned char seed;
    block->seed = seed += 13;
    for_bytes(block, i) {
        block->at[i] = byte_at(block, i);
    }
}

static void check_contents(const struct block *block) {
    for_bytes(block, i) {
        must(block->at[i] == byte_at(block, i));
    }
}

/* ---- what malloc_info says ------------------------------------------------------------------------------------------- */

static unsigned long number_after(const char *text, const char *label) {
    const char *at = strstr(text, label);
    must(at != NULL);
    return strtoul(at + strlen(label), NULL, 10);
}

/* Reads the figures, whose parts must add up. */
static struct figures figures(void) {
    static char text[64 * KIB];
    rewind(report);
    must(ftruncate(fileno(report), 0) == 0);
    must(malloc_info(0, report) == 0 && fflush(report) == 0);
    ssize_t length = pread(fileno(report), text, sizeof text - 1, 0);
    must(length > 0);
    text[length] = 0;
    struct figures sum = {0}, total = {
        .live = number_after(text, "\"live blocks\" count=\""),
        .requested = number_after(text, "\"requested\" size=\""),
        .allocations = number_after(text, "\"allocations\" count=\""),
        .frees = number_after(text, "\"frees\" count=\""),
        .reallocations = number_after(text, "\"reallocations\" count=\""),
    };
    unsigned long allocated = 0;
    for (const char *size = text; (size = strstr(size, "<size ")) != NULL; size++) {
        sum.live += number_after(size, "live=\"");
        sum.requested += number_after(size, "requested=\"");
        sum.allocations += number_after(size, "allocations=\"");
        sum.frees += number_after(size, "frees=\"");
        allocated += number_after(size, "allocated=\"");
    }
    must(sum.live == total.live && sum.live == sum.allocations - sum.frees);
    must(sum.requested == total.requested && sum.requested <= allocated);
    must(sum.allocations == total.allocations && sum.frees == total.frees);
    must(allocated == number_after(text, "\"allocated\" size=\""));
    must(number_after(text, "\"peak allocated\" size=\"") + 64 * KIB + allocated / 100 >= allocated);
    return total;
}

#define must_equal(when, got, wanted)                                                                                \
    do {                                                                                                              \
        if ((got) != (wanted)) {                                                                                      \
            fail("%s: %s is %lu, not %lu, after %lu calls failed", when, #got, got, wanted, failing_os_failed());     \
        }                                                                                                             \
    } while (0)

/* The whole state: counters, contents. */
static void check(const char *when) {
    struct figures now = figures();
    must_equal(when, now.live, model.live);
    must_equal(when, now.requested, model.requested);
    must_equal(when, now.allocations, model.allocations);
    must_equal(when, now.frees, model.frees);
    must_equal(when, now.reallocations, model.reallocations);
    for (int i = 0; i < BLOCKS; i++) {
        check_contents(&blocks[i]);
    }
}

/* The C library has used the heap too, for a thread or at the start: its blocks become part of the model. */
static void settle(void) {
    struct figures now = figures();
    must(now.allocations >= model.allocations && now.frees >= model.frees);
    must(now.reallocations == model.reallocations);
    model = now;
}

/* ---- calls and their outcome ----------------------------------------------------------------------------------------- */

static int refused(const void *block) {
    if (block != NULL) {
        must(errno == 77);
        return 0;
    }
    must(errno == ENOMEM);
    refusals++;
    return 1;
}

static void keep(int slot, void *at, size_t size) {
    if (!refused(at)) {
        blocks[slot] = (struct block){.at = at, .size = size};
        must(malloc_usable_size(at) >= size);
        fill(&blocks[slot]);
        model.live++;
        model.allocations++;
        model.requested += size;
    }
}

static void take(int slot, size_t size) {
    errno = 77;
    keep(slot, malloc(size), size);
}

static void take_aligned(int slot, size_t align, size_t size) {
    errno = 77;
    void *at = memalign(align, size);
    must((uintptr_t)at % align == 0);
    keep(slot, at, size);
    at = NULL;
    errno = 77;
    int error = posix_memalign(&at, align, size);
    must(errno == 77 && (error == 0 || error == ENOMEM) && (error == 0) == (at != NULL));
    errno = error ? error : 77;
    keep(slot + 1, at, size);
}

static void take_zeroed(int slot, size_t size) {
    errno = 77;
    unsigned char *at = calloc(1, size);
    if (at != NULL) {
        for (size_t i = 0; i < size; i++) {
            must(at[i] == 0);
        }
    }
    keep(slot, at, size);
}

static void resize(int slot, size_t size) {
    struct block *block = &blocks[slot];
    if (block->at == NULL) {
        return;
    }
    errno = 77;
    unsigned char *at = realloc(block->at, size);
    if (!refused(at)) {
        model.requested += size - block->size;
        model.allocations++;
        model.frees++;
        model.reallocations++;
        size_t kept = size < block->size ? size : block->size;
        block->at = at;
        struct block start = {.at = at, .size = kept, .seed = block->seed};
        check_contents(&start);
        block->size = size;
        fill(block);
    } else {
        check_contents(block);
    }
}

static void drop(int slot) {
    struct block *block = &blocks[slot];
    if (block->at != NULL) {
        check_contents(block);
        errno = 77;
        free(block->at);
        must(errno == 77);
        model.live--;
        model.frees++;
        model.requested -= block->size;
        *block = (struct block){.at = NULL};
    }
}

static void drop_all(void) {
    for (int i = 0; i < BLOCKS; i++) {
        drop(i);
    }
}

/* ---- the paths ------------------------------------------------------------------------------------------------------- */

static void small(void) {
    for (int i = 0; i < 400; i++) {
        take(i, (size_t)i * i % 40000);
    }
    check("small blocks");
    for (int i = 0; i < 400; i += 3) {
        drop(i);
    }
    for (int i = 0; i < 400; i += 3) {
        take_zeroed(i, 16 + (size_t)i * 3);
    }
    check("small blocks in the place of others");
    for (int i = 0; i < 400; i++) {
        resize(i, (size_t)(400 - i) * 60);
    }
    check("small blocks resized");
    drop_all();
    malloc_trim(0);
    check("all small blocks freed");
}

static void large(void) {
    for (int i = 0; i < 24; i++) {
        take(i, (size_t)(i + 1) * 40 * KIB);
    }
    take(24, 3 * MIB);
    check("large blocks");
    for (int i = 0; i < 24; i += 2) {
        drop(i);
    }
    for (int i = 0; i < 24; i += 2) {
        take_zeroed(i, (size_t)(i + 1) * 36 * KIB);
    }
    check("large blocks that read as zero");
    for (int i = 0; i < 5; i++) {
        /* Grows in place or elsewhere, by copying or by its pages. */
        resize(24, (size_t)(3 + i) * MIB);
        resize(2 * i, (size_t)(i + 2) * 300 * KIB);
        resize(2 * i + 1, 50 * KIB);
    }
    check("large blocks resized");
    resize(24, 100);
    resize(23, 20);
    check("large blocks that became small");
    resize(24, 300 * KIB);
    drop_all();
    malloc_trim(0);
    check("all large blocks freed");
}

static void aligned(void) {
    int slot = 0;
    for (size_t align = 16; align <= 2 * MIB; align *= 8) {
        take_aligned(slot, align, align / 2 + 1);
        take_aligned(slot + 2, align, 3 * align);
        slot += 4;
    }
    check("aligned blocks");
    drop_all();
    check("aligned blocks freed");
}

struct worker {
    pthread_t thread;
    int first, started;
    sem_t done, go;
};

/* Of `THREADS` threads one runs at a time: the model is everybody's. */
static void *work(void *argument) {
    struct worker *worker = argument;
    for (int i = 0; i < OF_A_THREAD; i++) {
        take(worker->first + i, (size_t)24 << i);
    }
    drop(worker->first);
    take(worker->first, 200 * KIB);
    sem_post(&worker->done);
    sem_wait(&worker->go);
    drop(worker->first + 1);
    sem_post(&worker->done);
    sem_wait(&worker->go);
    return NULL;
}

static void go(struct worker *worker) {
    if (worker->started) {
        sem_post(&worker->go);
        sem_wait(&worker->done);
    }
}

static void threads(void) {
    static struct worker workers[THREADS];
    pthread_attr_t attributes;
    must(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, 64 * KIB) == 0);
    for (int i = 0; i < THREADS; i++) {
        struct worker *worker = &workers[i];
        worker->first = i * OF_A_THREAD;
        must(sem_init(&worker->done, 0, 0) == 0 && sem_init(&worker->go, 0, 0) == 0);
        settle();
        int error = pthread_create(&worker->thread, &attributes, work, worker);
        worker->started = error == 0;
        if (error != 0) {
            must(error == EAGAIN || error == ENOMEM);
            refusals += !limited;
            settle();
            continue;
        }
        sem_wait(&worker->done);
        settle();
    }
    check("threads");
    /* Blocks of other threads, while they live and when they have ended. */
    for (int i = 0; i < THREADS; i++) {
        drop(workers[i].first + 3);
        resize(workers[i].first + 4, 1000);
        go(&workers[i]);
    }
    check("blocks of other threads freed");
    for (int i = 0; i < THREADS; i++) {
        if (workers[i].started) {
            settle();
            sem_post(&workers[i].go);
            must(pthread_join(workers[i].thread, NULL) == 0);
            settle();
        }
        drop(workers[i].first + 5);
        take(BLOCKS - 1 - i, 1536);
    }
    check("threads that have ended");
    drop_all();
    check("blocks of ended threads freed");
}

/* What a child counts of its own. */
static unsigned long failed_before;

static void expect_few_refusals(int once) {
    if (once && !limited) {
        must(refusals <= failing_os_failed() - failed_before);
    }
}

/* A child of a process with one thread goes on with its counters; one of several threads counts live blocks anew. */
static unsigned long child(int once, int alone) {
    int ends[2];
    must(pipe(ends) == 0);
    unsigned long calls = failing_os_calls();
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        refusals = 0;
        failed_before = failing_os_failed();
        /* Before its first call has succeeded a child has no counters. */
        for (take(BLOCKS - 1, 100); blocks[BLOCKS - 1].at == NULL; take(BLOCKS - 1, 100)) {
            if (!once) {
                failing_os_mend();
            }
        }
        if (!alone) {
            /* What it had freed before is known no more than as it stood at the fork. */
            struct figures now = figures();
            must_equal("a child of several threads", now.live, model.live);
            must_equal("a child of several threads", now.requested, model.requested);
            model = now;
        }
        check("a child's start");
        small();
        expect_few_refusals(once);
        failing_os_mend();
        refusals = 0;
        small();
        must(refusals == 0);
        calls = failing_os_calls();
        must(write(ends[1], &calls, sizeof calls) == sizeof calls);
        exit(33);
    }
    int status;
    must(waitpid(pid, &status, 0) == pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 33) {
        fail("a child ended with status %#x", (unsigned)status);
    }
    must(read(ends[0], &calls, sizeof calls) == sizeof calls);
    close(ends[0]);
    close(ends[1]);
    return calls;
}

static void *sleep_until(void *semaphores) {
    void *block = malloc(10);
    sem_post(semaphores);
    sem_wait((sem_t *)semaphores + 1);
    free(block);
    return NULL;
}

static unsigned long children(int once) {
    take(0, 1000);
    take(1, 3 * MIB);
    unsigned long calls = child(once, 1);
    sem_t semaphores[2];
    must(sem_init(&semaphores[0], 0, 0) == 0 && sem_init(&semaphores[1], 0, 0) == 0);
    pthread_t thread;
    if (pthread_create(&thread, NULL, sleep_until, semaphores) == 0) {
        sem_wait(&semaphores[0]);
        settle();
        unsigned long more = child(once, 0);
        calls = more > calls ? more : calls;
        sem_post(&semaphores[1]);
        must(pthread_join(thread, NULL) == 0);
    } else {
        refusals += !limited;
    }
    settle();
    check("after children");
    drop_all();
    return calls;
}

/* A block of nobody's that we know is looked up, left alone and told of. */
static void foreign(void) {
    char *map = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        must(limited);
        return;
    }
    free(map + 64);
    free(map + 128);
    must(munmap(map, MIB) == 0);
    check("foreign blocks");
}

/* What the kernel has not taken back the first time is given up the next. */
static void limit_address_space(void) {
    struct rlimit limit = {.rlim_cur = 1024 * (rlim_t)MIB, .rlim_max = RLIM_INFINITY};
    limited = setrlimit(RLIMIT_AS, &limit) == 0;
    must(limited || errno == EPERM || errno == ENOMEM);
}

static unsigned long everything(int once) {
    small();
    large();
    aligned();
    threads();
    foreign();
    return children(once);
}

int main(int count, char **arguments) {
    must(failing_os_calls && failing_os_failed && failing_os_mend);
    int once = 0, limiting = 0;
    for (int i = 1; i < count; i++) {
        once |= strcmp(arguments[i], "once") == 0;
        limiting |= strcmp(arguments[i], "limiting") == 0;
    }
    /* The stream is made without the heap: what opening one takes may be refused. */
    static char buffer[8 * KIB];
    report = stderr;
    int file = memfd_create("report", 0);
    must(file >= 0);
    while ((report = fdopen(file, "w")) == NULL) {
        must(errno == ENOMEM);
        refusals++;
        if (!once) {
            failing_os_mend();
        }
    }
    must(setvbuf(report, buffer, _IOFBF, sizeof buffer) == 0);
    settle();
    if (limiting) {
        take(0, 5 * MIB);
        limit_address_space();
        check("a limited address space");
        drop(0);
    }
    unsigned long in_children = everything(once);
    expect_few_refusals(once);
    failing_os_mend();
    if (limiting) {
        limit_address_space();
    }
    refusals = 0;
    if (once) {
        /* All that came after the one call has shown what state it left. */
        small();
        large();
    } else {
        everything(once);
    }
    must(refusals == 0);
    unsigned long calls = failing_os_calls();
    say("%lu", calls > in_children ? calls : in_children);
    return 0;
}
