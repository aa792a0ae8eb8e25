/* Limits, missing rights and exhausted memory: what cannot be had is NULL and ENOMEM, and nothing else is lost. */
#include "ordinary.h"
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static void limit(int resource, rlim_t value) {
    struct rlimit both = {value, value};
    must(setrlimit(resource, &both) == 0);
}

struct block {
    struct block *next;
};

/* Takes blocks of a size until there are no more; returns how many MiB they are, all freed again. */
static size_t exhaust(size_t size) {
    struct block *all = NULL, *block;
    size_t count = 0;
    errno = 0;
    while ((block = malloc(size)) != NULL) {
        memset(block, 7, size < 4096 ? size : 4096);
        block->next = all;
        all = block;
        count++;
    }
    must(errno == ENOMEM);
    while (all) {
        block = all->next;
        free(all);
        all = block;
    }
    return count * size >> 20;
}

/* Of so many MiB of address space about half can be used at least, beside a thread's stack of 8 MiB. */
static void within(rlim_t mebibytes) {
    limit(RLIMIT_AS, mebibytes << 20);
    ordinary_life();
    must(exhaust(100000) * 100 >= mebibytes * 45);
    must(exhaust(100) * 100 >= mebibytes * 45);
    ordinary_life();
}

HAZARD(limits, address_space_64_mib, "as=67108864") { within(64); }
HAZARD(limits, address_space_256_mib, "as=268435456") { within(256); }
HAZARD(limits, address_space_1_gib, "as=1073741824") { within(1024); }

HAZARD(limits, address_space_lowered_while_running, "") {
    ordinary_life();
    limit(RLIMIT_AS, 512 << 20);
    ordinary_life();
    must(exhaust(100000) >= 256);
    ordinary_life();
}

HAZARD(limits, address_space_lowered_by_the_raw_call, "") {
    ordinary_life();
    struct rlimit both = {512 << 20, 512 << 20};
    must(syscall(SYS_prlimit64, 0, RLIMIT_AS, &both, NULL) == 0);
    use_the_heap();
    for (size_t size = 16; size < 1ul << 31; size *= 2) {
        void *block = malloc(size);
        must(block != NULL || errno == ENOMEM);
        free(block);
    }
    use_the_heap();
}

HAZARD(limits, data_segment, "data=134217728") {
    ordinary_life();
    must(exhaust(100000) >= 32);
    ordinary_life();
}

HAZARD(limits, data_segment_lowered_while_running, "") {
    ordinary_life();
    limit(RLIMIT_DATA, 64 << 20);
    must(exhaust(100000) <= 128);
    use_the_heap();
}

HAZARD(limits, no_files, "fsize=0") { ordinary_life(); }
HAZARD(limits, small_files, "fsize=4096") { ordinary_life(); }
HAZARD(limits, no_descriptors, "") {
    limit(RLIMIT_NOFILE, 0);
    ordinary_life();
}
HAZARD(limits, few_descriptors, "nofile=4") { ordinary_life(); }
HAZARD(limits, no_locked_memory, "memlock=0") { ordinary_life(); }

HAZARD(limits, all_memory_locked, "") {
    must(mlockall(MCL_CURRENT | MCL_FUTURE) == 0 || errno == ENOMEM || errno == EPERM);
    ordinary_life();
    for (int i = 0; i < 20; i++) {
        free(take(3 << 20));
    }
    malloc_trim(0);
    use_the_heap();
}

/* Without privileges the limit on locked memory holds for everything that is mapped from now on. */
HAZARD(limits, all_memory_locked_without_privileges, "root memlock=4194304") {
    use_the_heap();
    must(setgid(65534) == 0 && setuid(65534) == 0);
    must(mlockall(MCL_CURRENT | MCL_FUTURE) == 0 || errno == ENOMEM || errno == EPERM);
    use_the_heap();
    if (mlockall(MCL_FUTURE) == 0) {
        for (int i = 0; i < 100; i++) {
            char *block = malloc((size_t)i << 16);
            must(block != NULL || errno == ENOMEM);
            free(block);
        }
        must(munlockall() == 0);
    }
    ordinary_life();
}

/* The kernel keeps 65,530 mappings for a process. */
static void fill_table_of_mappings(void) {
    enum { PAGES = 70000 };
    char *map = mmap(NULL, PAGES * 4096ul, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(map != MAP_FAILED);
    int split = 0;
    while (split < PAGES - 1 && mprotect(map + split * 4096ul, 4096, PROT_READ) == 0) {
        split += 2;
    }
    must(split < PAGES - 1);
    void *blocks[400] = {NULL};
    for (int i = 0; i < 400; i++) {
        blocks[i] = malloc((size_t)i * 1000);
        must(blocks[i] != NULL || errno == ENOMEM);
        if (blocks[i]) {
            memset(blocks[i], 1, (size_t)i * 1000);
            void *moved = realloc(blocks[i], (size_t)i * 3000 + 1);
            must(moved != NULL || errno == ENOMEM);
            blocks[i] = moved ? moved : blocks[i];
        }
    }
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 400; i++) {
            free(blocks[i]);
        }
        free(malloc(100));
        exit(0);
    }
    must(pid > 0 || errno == ENOMEM);
    if (pid > 0) {
        reap(pid);
    }
    for (int i = 0; i < 400; i++) {
        free(blocks[i]);
    }
    malloc_trim(0);
    must(munmap(map, PAGES * 4096ul) == 0);
    ordinary_life();
}

HAZARD(limits, table_of_mappings_full, "") { fill_table_of_mappings(); }
HAZARD(limits, table_of_mappings_full_under_a_limit, "as=1073741824") { fill_table_of_mappings(); }

/* Every way to ask for more than there is. */
static void ask_for_too_much(size_t size) {
    char *block = take(1000);
    void *none = &none;
    errno = 0;
    must(malloc(size) == NULL && errno == ENOMEM);
    errno = 0;
    must(calloc(size / 2, 2) == NULL && errno == ENOMEM);
    errno = 0;
    must(realloc(block, size) == NULL && errno == ENOMEM);
    errno = 0;
    must(reallocarray(block, size / 2, 2) == NULL && errno == ENOMEM);
    errno = 0;
    must(aligned_alloc(64, size) == NULL && errno == ENOMEM);
    errno = 0;
    must(memalign(4096, size) == NULL && errno == ENOMEM);
    errno = 0;
    must(valloc(size) == NULL && errno == ENOMEM);
    errno = 0;
    must(pvalloc(size) == NULL && errno == ENOMEM);
    errno = 5;
    must(posix_memalign(&none, 4096, size) == ENOMEM && none == &none);
    for (int i = 0; i < 1000; i++) {
        must(block[i] == 1);
    }
    free(block);
}

HAZARD(limits, more_than_there_is, "") {
    for (size_t size = 1ul << 50; size != 0; size <<= 1) {
        ask_for_too_much(size);
        ask_for_too_much(size - 1);
        ask_for_too_much(size + 4096);
    }
    for (size_t size = 0; size < 200000; size += 4095) {
        ask_for_too_much(SIZE_MAX - size);
    }
    errno = 0;
    must(calloc(1ul << 33, 1ul << 33) == NULL && errno == ENOMEM);
    errno = 0;
    must(reallocarray(NULL, 1ul << 33, 1ul << 33) == NULL && errno == ENOMEM);
}

static void leave_errno_alone(void) {
    for (size_t size = 1; size < 8 << 20; size *= 3) {
        errno = 77;
        char *block = malloc(size);
        must(block && errno == 77);
        block = realloc(block, size * 2);
        must(block && errno == 77);
        free(block);
        must(errno == 77);
        block = calloc(2, size);
        must(block && errno == 77);
        free(block);
        block = memalign(256, size);
        must(block && errno == 77 && malloc_usable_size(block) >= size && errno == 77);
        free(block);
        must(errno == 77);
    }
    malloc_trim(0);
    must(errno == 77);
}

static void *elsewhere;

static void *leave_errno_alone_in_thread(void *unused) {
    errno = 77;
    free(elsewhere);
    must(errno == 77);
    leave_errno_alone();
    return unused;
}

/* The first calls of a thread and of a child among them. */
HAZARD(limits, errno_is_left_alone, "") {
    leave_errno_alone();
    elsewhere = take(500);
    in_a_thread(leave_errno_alone_in_thread, NULL);
    elsewhere = take(500);
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        leave_errno_alone_in_thread(NULL);
        _exit(0);
    }
    reap(pid);
}

HAZARD(limits, errno_is_left_alone_where_calls_fail, "fsize=0 nofile=4") { leave_errno_alone_in_thread(NULL); }

/* Memory runs out in blocks of every size; all of it is there again when they are freed. */
static void use_up(void) {
    struct block *all = NULL, *block;
    for (size_t size = 1 << 20; size >= sizeof *block; size /= 4) {
        while ((block = malloc(size)) != NULL) {
            block->next = all;
            all = block;
        }
        must(errno == ENOMEM);
    }
    void *none = NULL;
    must(memalign(1 << 16, 1 << 20) == NULL && errno == ENOMEM);
    must(posix_memalign(&none, 4096, 1 << 20) == ENOMEM && none == NULL);
    must(calloc(1, 1 << 20) == NULL && errno == ENOMEM);
    must(all && realloc(all, 1 << 21) == NULL && errno == ENOMEM);
    pthread_t thread;
    must(pthread_create(&thread, NULL, use_in_thread, NULL) != 0);
    while (all) {
        block = all->next;
        free(all);
        all = block;
    }
}

HAZARD(limits, out_of_memory, "as=268435456") {
    for (int i = 0; i < 3; i++) {
        use_up();
        use_the_heap();
    }
}

/* A thread's stack is not the heap's, and yet needs some of what the heap has had. */
HAZARD(limits, threads_after_out_of_memory, "as=268435456") {
    use_up();
    ordinary_life();
}

HAZARD(limits, changed_root, "root") {
    char folder[] = "/tmp/hazard-XXXXXX";
    must(mkdtemp(folder) != NULL && chdir(folder) == 0 && rmdir(folder) == 0 && chroot(".") == 0);
    ordinary_life();
}

HAZARD(limits, no_proc, "hide=/proc") { ordinary_life(); }
HAZARD(limits, no_sys, "hide=/sys") { ordinary_life(); }

HAZARD(limits, another_user, "root") {
    use_the_heap();
    must(setgid(65534) == 0 && setuid(65534) == 0);
    ordinary_life();
}

HAZARD(limits, user_name_space, "root") {
    use_the_heap();
    must(unshare(CLONE_NEWUSER) == 0);
    ordinary_life();
}

HAZARD(limits, name_spaces, "root") {
    use_the_heap();
    must(unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC) == 0);
    ordinary_life();
}

/* Its children live in another PID namespace; it cannot start threads any more. */
HAZARD(limits, pid_name_space, "root") {
    use_the_heap();
    must(unshare(CLONE_NEWPID) == 0);
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        must(getpid() == 1);
        ordinary_life();
        exit(0);
    }
    reap(pid);
}

HAZARD(limits, no_more_processes, "") {
    use_the_heap();
    limit(RLIMIT_NPROC, 0);
    pthread_t thread;
    for (int i = 0; i < 10; i++) {
        if (pthread_create(&thread, NULL, use_in_thread, NULL) == 0) {
            must(pthread_join(thread, NULL) == 0); /* root may */
        }
    }
    use_the_heap();
}

HAZARD(limits, no_core_and_little_stack, "stack=65536") { ordinary_life(); }
