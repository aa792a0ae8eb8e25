/* Frees runs of memory that may not be given back, among others, and then asks for more than there is: all that lies about is
   looked at for that, once. */
#include "handshake.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { RUNS = 12, SIZE = 2 << 20, DONTNEED_LOCKED = 24 };

static void deny(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_DONTNEED, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DONTNEED_LOCKED, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

int main(void) {
    deny();
    char *blocks[RUNS];
    for (int i = 0; i < RUNS; i++) {
        must((blocks[i] = malloc(SIZE)) != NULL);
        memset(blocks[i], 1, SIZE);
    }
    for (int i = 0; i < RUNS; i += 2) {
        free(blocks[i]);
    }
    say("%s", malloc((size_t)1 << 45) == NULL ? "refused" : "granted");
    for (int i = 1; i < RUNS; i += 2) {
        free(blocks[i]);
    }
    return 0;
}
