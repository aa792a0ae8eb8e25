/* Filters of system calls: what they refuse must not be missed, and what they kill for must not be called. */
#include "ordinary.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static void load(struct sock_filter *code, unsigned short count) {
    struct sock_fprog program = {count, code};
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* What a filter may refuse with EPERM. */
static void refuse(int number) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    load(code, sizeof code / sizeof *code);
}

HAZARD(limits, madvise_refused, "") {
    refuse(SYS_madvise);
    ordinary_life();
    for (int i = 0; i < 50; i++) {
        free(take(5 << 20));
        char *zeroed = calloc(1, 5 << 20);
        must(zeroed != NULL);
        for (int at = 0; at < 5 << 20; at += 512) {
            must(zeroed[at] == 0);
        }
        free(zeroed);
    }
    malloc_trim(0);
    use_the_heap();
}

HAZARD(limits, openat_refused, "") {
    refuse(SYS_openat);
    ordinary_life();
}

HAZARD(limits, getrandom_refused, "") {
    refuse(SYS_getrandom);
    ordinary_life();
}

HAZARD(limits, mremap_refused, "") {
    refuse(SYS_mremap);
    char *block = take(300000);
    for (size_t size = 300000; size < 64 << 20; size *= 2) {
        block = realloc(block, size);
        must(block && block[0] == 1 && block[299999] == 1);
    }
    free(block);
    ordinary_life();
}

HAZARD(limits, mprotect_refused, "") {
    refuse(SYS_mprotect);
    use_the_heap();
    void *block = malloc(256 << 20);
    must(block != NULL || errno == ENOMEM);
    free(block);
    use_the_heap();
}

/* The kernel of Linux grants what is asked for no bytes; others that run its programs do not (qemu-user answers ENOMEM). */
static void refuse_for_nothing(int number) {
    const size_t length = offsetof(struct seccomp_data, args[1]);
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, length),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, length + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    load(code, sizeof code / sizeof *code);
}

HAZARD(limits, calls_about_no_bytes_refused, "") {
    static const int numbers[] = {SYS_mprotect, SYS_madvise, SYS_mmap, SYS_munmap};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        refuse_for_nothing(numbers[i]);
    }
    void *blocks[300];
    for (int i = 0; i < 300; i++) {
        blocks[i] = take(1000000);
    }
    for (int i = 0; i < 300; i++) {
        free(blocks[i]);
    }
    ordinary_life();
}

/* Of an allocator, and of a program that only computes and prints. The time is told without a system call. */
static const int needed[] = {SYS_mmap,  SYS_munmap, SYS_mprotect,   SYS_mremap, SYS_madvise,
                             SYS_futex, SYS_write,  SYS_exit_group, SYS_brk};
/* Of threads and forks as the C library makes them: it asks for no numbers. */
static const int of_threads[] = {SYS_clone,        SYS_clone3, SYS_set_robust_list, SYS_rseq, SYS_rt_sigprocmask,
                                 SYS_rt_sigaction, SYS_exit,   SYS_wait4};

/* From now on any other call ends the process. Programs load filters by prctl, or by a call of their own once prctl has
   taken the privileges away. */
static void allow_only(bool threads, bool by_prctl) {
    enum { NEEDED = sizeof needed / sizeof *needed, OF_THREADS = sizeof of_threads / sizeof *of_threads };
    int count = NEEDED + (threads ? OF_THREADS : 0), at = 0;
    struct sock_filter code[NEEDED + OF_THREADS + 3];
    code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < count; i++) {
        unsigned number = (unsigned)(i < NEEDED ? needed[i] : of_threads[i - NEEDED]);
        code[at++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, (unsigned char)(count - i), 0);
    }
    code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {(unsigned short)at, code};
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    must((by_prctl ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)
                   : (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) == 0);
}

static void end_well(void) {
    use_the_heap();
    say("survived");
    _exit(0);
}

/* For longer than the time is not asked for. */
static void use_for_long(void) {
    for (int i = 0; i < 100; i++) {
        use_the_heap();
    }
}

HAZARD(limits, anything_unusual_kills, "") {
    allow_only(false, true);
    use_for_long();
    for (int i = 0; i < 1000000; i++) {
        memset(take(100), 1, 100);
    }
    for (int i = 0; i < 20; i++) {
        free(take(8 << 20));
        use_the_heap();
    }
    char *block = take(300000);
    for (size_t size = 300000; size < 16 << 20; size *= 2) {
        must((block = realloc(block, size)) != NULL);
    }
    free(block);
    /* Of a heap this large, whether huge pages are worth it is a question. */
    for (int i = 0; i < 40; i++) {
        memset(take(4 << 20), 1, 4 << 20);
    }
    malloc_trim(0);
    end_well();
}

static void live_within(void) {
    for (int i = 0; i < 10; i++) {
        in_a_thread(use_in_thread, NULL);
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            in_a_thread(use_in_thread, NULL);
            use_the_heap();
            _exit(0);
        }
        reap(pid);
    }
    end_well();
}

HAZARD(limits, anything_unusual_kills_threads_and_forks, "") {
    allow_only(true, true);
    live_within();
}

HAZARD(limits, anything_unusual_kills_by_the_other_call, "") {
    allow_only(true, false);
    live_within();
}

/* Nobody but the main thread has used the heap before the filter is there, and it is in a child. */
HAZARD(limits, anything_unusual_kills_a_fresh_child, "") {
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        allow_only(true, false);
        use_the_heap();
        in_a_thread(use_in_thread, NULL);
        _exit(0);
    }
    reap(pid);
}

/* Nothing but `read`, `write` and `exit` is left, nor may the processor's counter be read: what is free is enough. */
HAZARD(limits, strict_mode, "") {
    static void *blocks[1000];
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 1000; i++) {
            must((blocks[i] = malloc(100)) != NULL);
        }
        for (int i = 0; i < 1000; i++) {
            free(blocks[i]);
        }
        if (round == 0) {
            must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0);
        }
    }
    say("survived");
    syscall(SYS_exit, 0);
}

HAZARD(limits, counter_forbidden, "") {
    must(prctl(PR_SET_TSC, PR_TSC_SIGSEGV) == 0);
    use_for_long();
    ordinary_life();
}
