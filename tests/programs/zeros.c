/* Zeroed blocks of 256 KiB to 1 MiB, 16 at a time, replaced in turn. Usage: zeros USE [USE]; says how many KiB more than at the
   start are resident in the end, and how many page faults each of the last thousand blocks took; waits for the test.
   USE: sparse (a byte in 64 KiB is written), filled, most (three fifths of blocks a little smaller than a power of two), beside
   (sparse, and every other block is not zeroed and filled), partly (of one size; sparse in turn with blocks that are not zeroed
   and filled to two thirds), little (likewise to a fifth), varied (filled, eight of 300 to 900 KiB, of which one at
   random is replaced), locked (sparse, with a page that is locked and stays so). With two, the second comes after the
   first. With "refused" before them the kernel refuses mincore, by a filter that nobody was told of; with "forbidden", a filter of system calls is in force from the beginning that ends the program at a
   mincore, or at the question whether there is a filter. */
#include "resident.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { BLOCKS = 16, ROUNDS = 4000, LAST = 1000 };
static char *blocks[BLOCKS];

static long raw(long number, long first, long second, long third) {
    register long fourth __asm__("r10") = 0, fifth __asm__("r8") = 0;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third), "r"(fourth), "r"(fifth)
                     : "rcx", "r11", "memory");
    return result;
}

static long faults(void) {
    struct rusage usage;
    must(getrusage(RUSAGE_SELF, &usage) == 0);
    return usage.ru_minflt;
}

static void is_zero(const char *block, size_t size) {
    must(block[0] == 0 && memcmp(block, block + 1, size - 1) == 0);
}

static size_t random_below(size_t limit) {
    static unsigned long state = 88172645463325252;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % limit;
}

static char *used(const char *use, int round) {
    size_t size = (size_t)(256 + round * 37 % 768) << 10;
    if (strcmp(use, "varied") == 0) {
        size = (300 << 10) + random_below(600 << 10);
        use = "filled";
    }
    if (strcmp(use, "beside") == 0 && round % 2 != 0) {
        char *filled = malloc(size);
        must(filled != NULL);
        return memset(filled, 1, size);
    }
    bool little = strcmp(use, "little") == 0, partly = little || strcmp(use, "partly") == 0;
    size = partly ? 600 << 10 : size;
    if (partly && round / BLOCKS % 2 != 0) {
        char *filled = malloc(size);
        must(filled != NULL);
        return memset(filled, 1, little ? size / 5 : size / 3 * 2);
    }
    if (strcmp(use, "most") == 0) {
        size = (round % 2 == 0 ? 256 << 10 : 1 << 20) - 64;
    }
    char *block = calloc(1, size);
    must(block != NULL);
    if (strcmp(use, "most") == 0) {
        memset(block, 1, size / 5 * 3);
        return block;
    }
    if (strcmp(use, "filled") == 0) {
        if (round % 16 == 0) {
            is_zero(block, size);
        }
        return memset(block, 1, size);
    }
    if (strcmp(use, "locked") == 0) {
        /* Only here, so that nothing else becomes resident. */
        must(block[5000] == 0 && mlock(block + 5000, 1) == 0);
        block[5000] = 1;
    }
    for (size_t at = partly ? (size_t)round * 4099 % (64 << 10) : 0; at < size; at += 64 << 10) {
        must(block[at] == 0);
        block[at] = 1;
    }
    return block;
}

static void forbid_to_ask(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mincore, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_GET_SECCOMP, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* By the raw system call, once the allocator has seen that there is no filter. */
static void refuse_to_tell(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mincore, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    for (int i = 0; i < 2; i++) {
        void *volatile block = calloc(1, 1 << 19);
        free(block);
    }
    must(raw(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0) == 0);
    must(raw(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (long)&program) == 0);
}

int main(int argc, char **argv) {
    must(argc >= 2);
    if (strcmp(argv[1], "refused") == 0) {
        refuse_to_tell();
        argc--;
        argv++;
    }
    if (strcmp(argv[1], "forbidden") == 0) {
        forbid_to_ask();
        argv[1] = argv[0];
        execv(argv[0], argv + 1);
        must(false);
    }
    long before = resident(), start = 0;
    for (int use = 1; use < argc; use++) {
        int rounds = strcmp(argv[use], "locked") == 0 ? LAST : ROUNDS;
        for (int round = 0; round < rounds; round++) {
            start = round == rounds - LAST ? faults() : start;
            char **slot = &blocks[strcmp(argv[use], "varied") == 0 ? random_below(8) : (size_t)round * 5 % BLOCKS];
            free(*slot);
            *slot = used(argv[use], round);
        }
    }
    long each = (faults() - start) / LAST;
    say("%ld", resident() - before);
    pause_here("%ld", each);
    return 0;
}
