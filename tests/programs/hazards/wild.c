/* Pointers to what no allocator has handed out: stacks, data, text, and nothing at all. */
#include "hazard.h"
#include <fcntl.h>
#include <malloc.h>
#include <sys/auxv.h>
#include <sys/mman.h>

static char in_data[256] = "data";
static char in_bss[256];
static char far_in_bss[1 << 20];
static __thread char in_tls[256] = "tls";

/* Keeps the compiler from knowing what it is. */
static void *volatile place;

static void free_wild(void *pointer) {
    place = pointer;
    free(place);
}

HAZARD(wild, stack, "") {
    char local[256] __attribute__((aligned(16))) = "local";
    free_wild(local + 64);
    must(strcmp(local, "local") == 0);
}

HAZARD(wild, stack_unaligned, "") {
    char local[256] = "local";
    free_wild(local + 3);
}

/* What lies before it looks like a small chunk's header. */
HAZARD(wild, stack_with_a_fake_header, "") {
    size_t local[64] __attribute__((aligned(16)));
    for (int i = 0; i < 64; i++) {
        local[i] = 0x41;
    }
    free_wild(&local[16]);
    void *volatile again = malloc(0x38);
    if (again == (void *)&local[16]) {
        chosen(again);
    }
}

static void *free_own_local(void *unused) {
    char local[256] __attribute__((aligned(16))) = "local";
    free_wild(local + 64);
    return unused;
}

HAZARD(wild, threads_own_stack, "") { in_a_thread(free_own_local, NULL); }

static pthread_barrier_t meet;
static void *shown;

static void *show_local(void *unused) {
    char local[256] __attribute__((aligned(16))) = "local";
    free(take(10));
    shown = local + 64;
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet);
    must(strcmp(local, "local") == 0);
    return unused;
}

HAZARD(wild, another_threads_stack, "") {
    pthread_t thread;
    must(pthread_barrier_init(&meet, NULL, 2) == 0);
    must(pthread_create(&thread, NULL, show_local, NULL) == 0);
    pthread_barrier_wait(&meet);
    free_wild(shown);
    pthread_barrier_wait(&meet);
    must(pthread_join(thread, NULL) == 0);
}

HAZARD(wild, main_stack_from_a_thread, "") {
    char local[256] __attribute__((aligned(16))) = "local";
    in_a_thread(free_it, local + 64);
}

HAZARD(wild, thread_local_of_a_thread, "") {
    in_a_thread(free_it, NULL);
    pthread_t thread;
    must(pthread_barrier_init(&meet, NULL, 2) == 0);
    must(pthread_create(&thread, NULL, show_local, NULL) == 0);
    pthread_barrier_wait(&meet);
    place = (void *)thread; /* the thread's descriptor, behind its variables */
    free(place);
    pthread_barrier_wait(&meet);
    must(pthread_join(thread, NULL) == 0 && in_tls[0] == 't');
}

HAZARD(wild, data, "") {
    free_wild(in_data + 64);
    must(strcmp(in_data, "data") == 0);
}

HAZARD(wild, bss, "") { free_wild(in_bss + 64); }
HAZARD(wild, far_bss, "") { free_wild(far_in_bss + (1 << 19)); }
HAZARD(wild, constant, "") { free_wild((void *)(((uintptr_t) "a constant, and some more of it" + 15) & ~15ul)); }
HAZARD(wild, text, "") { free_wild((void *)(((uintptr_t)&use_the_heap + 15) & ~15ul)); }
HAZARD(wild, librarys_text, "") { free_wild((void *)((uintptr_t)&getppid & ~15ul)); }
HAZARD(wild, librarys_data, "") { free_wild((void *)(((uintptr_t)stdout + 31) & ~15ul)); }
HAZARD(wild, argument, "") { free_wild((void *)((uintptr_t)getauxval(AT_EXECFN) & ~15ul)); }
HAZARD(wild, vdso, "") { free_wild((void *)(getauxval(AT_SYSINFO_EHDR) + 64)); }

HAZARD(wild, file, "") {
    int fd = open("/proc/self/exe", O_RDONLY);
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    must(map != MAP_FAILED);
    free_wild(map + 4096);
}

HAZARD(wild, null_page, "") { free_wild((void *)16); }
HAZARD(wild, null_page_odd, "") { free_wild((void *)0xfff); }
HAZARD(wild, all_ones, "") { free_wild((void *)-1); }
HAZARD(wild, kernel, "") { free_wild((void *)0xffff888000000040); }
HAZARD(wild, non_canonical, "") { free_wild((void *)0x0011223344556670); }
HAZARD(wild, text_bytes, "") { free_wild((void *)0x4141414141414140); }

HAZARD(wild, unmapped, "") {
    char *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(map != MAP_FAILED && munmap(map, 1 << 20) == 0);
    free_wild(map + 4096);
}

HAZARD(wild, unmapped_without_proc, "hide=/proc") {
    char *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(map != MAP_FAILED && munmap(map, 1 << 20) == 0);
    free_wild(map + 4096);
}

HAZARD(wild, no_access, "") {
    char *map = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(map != MAP_FAILED);
    free_wild(map + 4096);
}

/* Far behind all that was ever handed out. */
HAZARD(wild, far_behind_a_block, "") { free_wild(take(100) + (1ul << 30)); }

HAZARD(wild, realloc_of_stack, "") {
    char local[256] __attribute__((aligned(16))) = "local";
    place = local + 64;
    place = realloc(place, 100);
}

HAZARD(wild, realloc_of_data, "") {
    place = in_data + 64;
    place = realloc(place, 100);
}

HAZARD(wild, reallocarray_of_nothing, "") {
    place = (void *)0x4141414141414140;
    place = reallocarray(place, 10, 10);
}

HAZARD(wild, usable_size_of_stack, "") {
    char local[256] __attribute__((aligned(16))) = "local";
    place = local + 64;
    (void)malloc_usable_size(place);
}

HAZARD(wild, usable_size_of_nothing, "") {
    place = (void *)0x4141414141414140;
    (void)malloc_usable_size(place);
}
