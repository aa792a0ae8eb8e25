/* Another thread makes its first call, and its last, where it can while one forks: between the fork handlers and the fork. Every
   child looks at what its heap says. Usage: besidefork FORKS. */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { SIZE = 1000, CLASS = 1024, BALLAST = 200 << 20 };

static FILE *stream;
static char text[1 << 16], buffer[1 << 16];

static long allocated(void) {
    static const char wanted[] = "type=\"allocated\" size=\"";
    rewind(stream);
    must(malloc_info(0, stream) == 0 && fflush(stream) == 0);
    const char *found = strstr(text, wanted);
    must(found != NULL);
    return atol(found + sizeof wanted - 1);
}

static volatile int forking;
static void *volatile kept;
static volatile long blocks;

static void before_fork(void) {
    forking = 1;
}

static void *begin_and_end(void *nothing) {
    while (!forking) {
    }
    for (volatile int i = 0; i < 20000; i++) {
    }
    kept = malloc(SIZE);
    blocks++;
    return nothing;
}

static void be_a_child(long before) {
    free(malloc(10));
    long seen = blocks, now = allocated();
    if (now < before + seen * CLASS) {
        fail("%ld blocks of %d bytes, %ld bytes are allocated, %ld before", seen, CLASS, now, before);
    }
    _exit(0);
}

int main(int count, char **arguments) {
    must(count == 2);
    stream = fmemopen(text, sizeof text, "w");
    must(stream != NULL && setvbuf(stream, buffer, _IOFBF, sizeof buffer) == 0);
    /* The more pages there are, the longer a fork takes. */
    char *ballast = mmap(NULL, BALLAST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(ballast != MAP_FAILED && madvise(ballast, BALLAST, MADV_NOHUGEPAGE) == 0);
    memset(ballast, 1, BALLAST);
    must(pthread_atfork(before_fork, NULL, NULL) == 0);
    long before = allocated();
    for (int i = 0; i < atoi(arguments[1]); i++) {
        forking = 0;
        pthread_t other;
        must(pthread_create(&other, NULL, begin_and_end, NULL) == 0);
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            be_a_child(before);
        }
        int status;
        must(waitpid(pid, &status, 0) == pid && status == 0);
        must(pthread_join(other, NULL) == 0);
    }
    return 0;
}
