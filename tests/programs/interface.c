/* glibc 2.36's semantics of every entry point, as its manual and source state them. Run without the library it holds
   glibc itself to them, except for what glibc does not have any more ("preloaded" as the argument: everything). */
#include "handshake.h"
#include <dlfcn.h>
#include <limits.h>
#include <malloc.h>
#include <stdbool.h>
#include <sys/resource.h>

static int failures, checks;

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        checks++;                                                                                                     \
        if (!(condition)) {                                                                                           \
            say("line %d: %s", __LINE__, #condition);                                                                 \
            failures++;                                                                                               \
        }                                                                                                             \
    } while (0)

/* The call returns null and says why. */
#define CHECK_FAILS(call, why)                                                                                        \
    do {                                                                                                              \
        errno = 0;                                                                                                    \
        CHECK((call) == NULL);                                                                                        \
        CHECK(errno == (why));                                                                                        \
    } while (0)

/* The call leaves errno alone; the result is usable in full. */
static void *good(void *block, size_t size, size_t align, int line) {
    checks++;
    if (!block || errno != 12345 || (uintptr_t)block % align || malloc_usable_size(block) < size) {
        say("line %d: block %p of %zu at %zu, errno %d", line, block, size, align, errno);
        failures++;
        return NULL;
    }
    memset(block, 0xa5, malloc_usable_size(block));
    return block;
}
#define GOOD(call, size, align) (errno = 12345, good((call), (size), (align), __LINE__))

static void drop(void *block) {
    errno = 12345;
    free(block);
    CHECK(errno == 12345);
}

static volatile size_t huge = (size_t)PTRDIFF_MAX + 1; /* hidden from the compiler's own checks */
static const size_t sizes[] = {0, 1, 8, 15, 16, 17, 100, 1000, 1024, 1025, 8192, 32768, 32769, 65536, 100000, 3000000};
#define EACH_SIZE(i) (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)

static void allocation(void) {
    for EACH_SIZE(i) {
        /* A block that can hold something that must be aligned to 16 is. */
        size_t align = sizes[i] >= 16 ? 16 : 8;
        void *a = GOOD(malloc(sizes[i]), sizes[i], align), *b = GOOD(malloc(sizes[i]), sizes[i], align);
        CHECK(a != b);
        drop(a);
        unsigned char *zeroes;
        errno = 12345;
        zeroes = calloc(1, sizes[i]); /* likely what was just filled and freed */
        CHECK(errno == 12345 && zeroes != NULL);
        bool clean = true;
        for (size_t j = 0; j < sizes[i]; j++) {
            clean = clean && zeroes[j] == 0;
        }
        CHECK(clean);
        drop(b);
        drop(zeroes);
    }
    drop(NULL);
    CHECK_FAILS(malloc(huge), ENOMEM);
    CHECK_FAILS(malloc(huge - 1), ENOMEM);
    CHECK_FAILS(malloc(SIZE_MAX), ENOMEM);
    CHECK_FAILS(malloc(SIZE_MAX - 4096), ENOMEM);
    CHECK_FAILS(calloc(huge, 1), ENOMEM);
    CHECK_FAILS(calloc(2, huge), ENOMEM);
    CHECK_FAILS(calloc(SIZE_MAX, SIZE_MAX), ENOMEM);
    CHECK_FAILS(calloc(1ul << 32, 1ul << 32), ENOMEM);
    drop(GOOD(calloc(0, SIZE_MAX), 0, 8));
    drop(GOOD(calloc(SIZE_MAX, 0), 0, 8));
}

static void reallocation(void) {
    void *none = GOOD(realloc(NULL, 0), 0, 8);
    CHECK(none != NULL);
    drop(none);
    for EACH_SIZE(i) {
        for EACH_SIZE(j) {
            unsigned char *block = GOOD(malloc(sizes[i]), sizes[i], 8);
            if (!block || !sizes[j]) {
                drop(block);
                continue;
            }
            for (size_t k = 0; k < sizes[i]; k++) {
                block[k] = (unsigned char)(k * 13 + 1);
            }
            errno = 12345;
            block = realloc(block, sizes[j]);
            CHECK(block != NULL && errno == 12345 && malloc_usable_size(block) >= sizes[j]);
            size_t kept = 0, common = sizes[i] < sizes[j] ? sizes[i] : sizes[j];
            while (kept < common && block[kept] == (unsigned char)(kept * 13 + 1)) {
                kept++;
            }
            CHECK(kept == common);
            drop(block);
        }
    }
    /* What malloc_usable_size promises is the program's to use, and to keep. */
    for EACH_SIZE(i) {
        unsigned char *block = malloc(sizes[i]);
        size_t usable = malloc_usable_size(block);
        memset(block, 0x77, usable);
        block = realloc(block, usable + 1 + sizes[i]);
        size_t kept = 0;
        while (kept < usable && block[kept] == 0x77) {
            kept++;
        }
        CHECK(kept == usable);
        block[usable] = 0x77;
        CHECK(malloc_usable_size(block) > usable);
        block = realloc(block, 2 * usable + 200000);
        while (kept <= usable && block[kept] == 0x77) {
            kept++;
        }
        CHECK(kept == usable + 1);
        free(block);
    }
    /* To nothing: the block is freed, null is returned, and that is no error. */
    for EACH_SIZE(i) {
        void *block = malloc(sizes[i]);
        errno = 12345;
        CHECK(realloc(block, 0) == NULL);
        CHECK(errno == 12345);
        block = malloc(sizes[i]);
        errno = 12345;
        CHECK(reallocarray(block, 0, 100) == NULL);
        CHECK(errno == 12345);
    }
    /* A failure leaves the block as it was. */
    for EACH_SIZE(i) {
        if (sizes[i] == 0) {
            continue;
        }
        unsigned char *block = malloc(sizes[i]);
        memset(block, 0x3c, sizes[i]);
        CHECK_FAILS(realloc(block, huge), ENOMEM);
        CHECK_FAILS(realloc(block, huge - 1), ENOMEM);
        CHECK_FAILS(realloc(block, SIZE_MAX), ENOMEM);
        CHECK_FAILS(reallocarray(block, SIZE_MAX / 2, 3), ENOMEM);
        CHECK_FAILS(reallocarray(block, 1ul << 32, 1ul << 32), ENOMEM);
        CHECK(block[0] == 0x3c && block[sizes[i] - 1] == 0x3c && malloc_usable_size(block) >= sizes[i]);
        drop(block);
    }
    CHECK_FAILS(realloc(NULL, huge), ENOMEM);
    CHECK_FAILS(reallocarray(NULL, 3, SIZE_MAX / 2), ENOMEM);
    drop(GOOD(reallocarray(NULL, 10, 10), 100, 16));
    drop(GOOD(reallocarray(malloc(5), 10, 10), 100, 16));
}

static void alignment(void) {
    for (size_t align = 8; align <= 1ul << 22; align *= 2) {
        for EACH_SIZE(i) {
            void *block = NULL;
            errno = 12345;
            CHECK(posix_memalign(&block, align, sizes[i]) == 0);
            GOOD(block, sizes[i], align);
            void *other = GOOD(aligned_alloc(align, sizes[i]), sizes[i], align);
            void *third = GOOD(memalign(align, sizes[i]), sizes[i], align);
            CHECK(block != other && other != third && third != block);
            drop(block);
            drop(other);
            /* What memalign gave, realloc takes. */
            third = GOOD(realloc(third, sizes[i] + 1000), sizes[i] + 1000, 16);
            drop(third);
        }
    }
    void *untouched = (void *)0x1234;
    static const size_t wrong[] = {0, 1, 2, 4, 7, 9, 12, 24, 48, 4095, 4097, SIZE_MAX, (1ul << 63) + 1};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        errno = 12345;
        CHECK(posix_memalign(&untouched, wrong[i], 64) == EINVAL);
        CHECK(errno == 12345 && untouched == (void *)0x1234);
    }
    CHECK(posix_memalign(&untouched, 64, huge) == ENOMEM && untouched == (void *)0x1234);
    CHECK(posix_memalign(&untouched, 64, SIZE_MAX) == ENOMEM && untouched == (void *)0x1234);
    CHECK(posix_memalign(&untouched, 1ul << 62, 1ul << 62) == ENOMEM && untouched == (void *)0x1234);
    /* Up to 2.37 aligned_alloc is memalign: an odd alignment is rounded up to a power of two. */
    drop(GOOD(memalign(0, 100), 100, 16));
    drop(GOOD(memalign(3, 100), 100, 16));
    drop(GOOD(memalign(24, 100), 100, 32));
    drop(GOOD(memalign(4097, 100), 100, 8192));
    drop(GOOD(aligned_alloc(48, 10), 10, 64));
    drop(GOOD(aligned_alloc(64, 65), 65, 64));
    CHECK_FAILS(memalign((1ul << 63) + 1, 1), EINVAL);
    CHECK_FAILS(memalign(SIZE_MAX, 1), EINVAL);
    CHECK_FAILS(aligned_alloc(SIZE_MAX, 1), EINVAL);
    CHECK_FAILS(memalign(64, huge), ENOMEM);
    CHECK_FAILS(memalign(64, SIZE_MAX - 64), ENOMEM);
    CHECK_FAILS(memalign(1ul << 62, 1ul << 62), ENOMEM);
    CHECK_FAILS(aligned_alloc(1ul << 20, SIZE_MAX - 100), ENOMEM);
    for EACH_SIZE(i) {
        drop(GOOD(valloc(sizes[i]), sizes[i], 4096));
        drop(GOOD(pvalloc(sizes[i]), (sizes[i] + 4095) & ~4095ul, 4096));
    }
    CHECK_FAILS(valloc(huge), ENOMEM);
    CHECK_FAILS(valloc(SIZE_MAX), ENOMEM);
    CHECK_FAILS(pvalloc(huge), ENOMEM);
    CHECK_FAILS(pvalloc(SIZE_MAX), ENOMEM);
    CHECK_FAILS(pvalloc(SIZE_MAX - 4096), ENOMEM);
}

static void questions(void) {
    errno = 12345;
    CHECK(malloc_usable_size(NULL) == 0);
    void *blocks[100];
    for (int i = 0; i < 100; i++) {
        blocks[i] = malloc(10000);
    }
    struct mallinfo2 info = mallinfo2();
    CHECK(info.uordblks >= 1000000);
    CHECK(info.arena + info.hblkhd >= info.uordblks);
    struct mallinfo old = mallinfo();
    CHECK(old.uordblks >= 1000000 && (size_t)old.uordblks <= info.uordblks + 100000);
    for (int i = 0; i < 100; i++) {
        free(blocks[i]);
    }
    CHECK(mallinfo2().uordblks <= info.uordblks - 1000000);
    void *large = malloc(50 << 20);
    memset(large, 1, 50 << 20);
    CHECK(mallinfo2().uordblks + mallinfo2().hblkhd >= 50u << 20);
    free(large);
    int trimmed = malloc_trim(0);
    CHECK(trimmed == 0 || trimmed == 1);
    trimmed = malloc_trim(SIZE_MAX);
    CHECK(trimmed == 0 || trimmed == 1);
    CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1);
    CHECK(mallopt(M_TRIM_THRESHOLD, 1 << 20) == 1);
    CHECK(mallopt(M_ARENA_MAX, 2) == 1);
    CHECK(errno == 12345);
}

static void reports(void) {
    char *text = NULL;
    size_t length = 0;
    FILE *into = open_memstream(&text, &length);
    void *held = malloc(123456);
    CHECK(malloc_info(0, into) == 0);
    CHECK(malloc_info(1, into) == EINVAL);
    fclose(into);
    CHECK(length > 20 && strncmp(text, "<malloc version=\"", 17) == 0);
    CHECK(strstr(text, "</malloc>") != NULL);
    free(text);
    free(held);
    malloc_stats(); /* to stderr: the test looks at it */
}

typedef void *(*one)(size_t);
typedef void *(*two)(size_t, size_t);
typedef void *(*again)(void *, size_t);
typedef void (*release)(void *);

static void *symbol(const char *name) {
    void *found = dlsym(RTLD_DEFAULT, name);
    CHECK(found != NULL);
    return found;
}

/* Blocks may be had by one name and given back by another: all must mean the same allocator. */
static void aliases(void) {
    one malloc1 = symbol("__libc_malloc"), valloc1 = symbol("__libc_valloc"), pvalloc1 = symbol("__libc_pvalloc");
    two calloc1 = symbol("__libc_calloc"), memalign1 = symbol("__libc_memalign");
    again realloc1 = symbol("__libc_realloc");
    release free1 = symbol("__libc_free");
    drop(GOOD(malloc1(100), 100, 16));
    drop(GOOD(calloc1(10, 10), 100, 16));
    drop(GOOD(memalign1(256, 100), 100, 256));
    drop(GOOD(valloc1(100), 100, 4096));
    drop(GOOD(pvalloc1(100), 4096, 4096));
    void *block = GOOD(realloc1(malloc(10), 1000), 1000, 16);
    errno = 12345;
    free1(block);
    CHECK(errno == 12345);
    free1(NULL);
    free1(malloc(1));
    free1(strdup("from within the C library"));
}

/* Limits that the library looks at first. */
static void limits(void) {
    struct rlimit before, after, *volatile bad = (struct rlimit *)8;
    CHECK(getrlimit(RLIMIT_AS, &before) == 0);
    errno = 0;
    CHECK(setrlimit(RLIMIT_AS, bad) == -1 && errno == EFAULT);
    errno = 0;
    CHECK(prlimit(0, RLIMIT_AS, bad, NULL) == -1 && errno == EFAULT);
    CHECK(prlimit(0, RLIMIT_AS, NULL, &after) == 0);
    CHECK(after.rlim_cur == before.rlim_cur && after.rlim_max == before.rlim_max);
    CHECK(setrlimit(RLIMIT_AS, &before) == 0);
}

static void not_in_glibc(void) {
    release cfree = symbol("cfree");
    void (*free_sized)(void *, size_t) = symbol("free_sized");
    void (*free_aligned_sized)(void *, size_t, size_t) = symbol("free_aligned_sized");
    errno = 12345;
    cfree(malloc(100));
    cfree(NULL);
    free_sized(malloc(100), 100);
    free_sized(calloc(3, 7), 21);
    free_sized(malloc(100000), 100000);
    free_sized(NULL, 0);
    free_aligned_sized(aligned_alloc(64, 128), 64, 128);
    free_aligned_sized(aligned_alloc(4096, 40960), 4096, 40960);
    free_aligned_sized(NULL, 64, 0);
    CHECK(errno == 12345);
}

int main(int count, char **arguments) {
    bool preloaded = count == 2 && strcmp(arguments[1], "preloaded") == 0;
    allocation();
    reallocation();
    alignment();
    questions();
    reports();
    aliases();
    limits();
    if (preloaded) {
        not_in_glibc();
    }
    say("%d checks, %d failures", checks, failures);
    return failures != 0;
}
