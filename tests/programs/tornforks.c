/* A child whose threads come to its heap first, on stacks that it had before, while the thread that forked forks again: its
   child finds a process half made its own. It has all blocks, counts them, and goes on.
   Usage: tornforks ROUNDS BESIDE: BESIDE is 1 where another thread allocates while the first forks. */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { BLOCKS = 3000, STARTERS = 2, SPAN = 2500000 };

static unsigned char *blocks[BLOCKS];
static size_t sizes[BLOCKS];
static atomic_int go, stop;

static void *nothing(void *unused) {
    usleep(2000);
    return unused;
}

static void *begin(void *unused) {
    (void)unused;
    while (!atomic_load(&go)) {
    }
    for (int i = 0; i < 2000; i++) {
        char *volatile block = malloc(100);
        must(block != NULL);
        block[0] = 1;
        free(block);
    }
    pause();
    return NULL;
}

static void *allocate(void *unused) {
    while (!atomic_load(&stop)) {
        char *volatile block = malloc(100);
        free(block);
        usleep(100);
    }
    return unused;
}

/* Bytes in use are those of the blocks, and at most so many small ones of other threads. */
static void look(const char *whose, size_t least, int others) {
    for (int i = 0; i < BLOCKS; i++) {
        for (size_t at = 0; at < sizes[i]; at += 97) {
            must(blocks[i][at] == (unsigned char)(i * 7 + at));
        }
    }
    struct mallinfo2 info = mallinfo2();
    size_t most = least + others * 112;
    if (info.uordblks < least || info.uordblks > most || info.fordblks > (size_t)1 << 40) {
        fail("the %s counts %zu bytes, not %zu to %zu; free %zu", whose, info.uordblks, least, most, info.fordblks);
    }
}

static void be_a_grandchild(size_t least) {
    alarm(30);
    char *volatile block = malloc(50);
    must(block != NULL);
    free(block);
    look("grandchild", least, 4);
    static char *more[500];
    for (int i = 0; i < 500; i++) {
        must((more[i] = malloc(16 + i * 50)) != NULL);
        memset(more[i], 0x55, 16 + i * 50);
    }
    for (int i = 0; i < 500; i++) {
        free(more[i]);
    }
    malloc_trim(0);
    look("grandchild", least, 4);
    _exit(0);
}

static void be_a_child(int round, size_t least) {
    alarm(60);
    pthread_t starter;
    for (int i = 0; i < STARTERS; i++) {
        must(pthread_create(&starter, NULL, begin, NULL) == 0);
    }
    atomic_store(&go, 1);
    for (volatile int delay = 0; delay < (int)(round * 7919L * 100 % SPAN); delay++) {
    }
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        be_a_grandchild(least);
    }
    int status;
    must(waitpid(pid, &status, 0) == pid);
    if (status != 0) {
        fail("the grandchild of round %d ended with %#x", round, status);
    }
    char *volatile block = malloc(50);
    free(block);
    look("child", least, 60);
    _exit(0);
}

int main(int count, char **arguments) {
    must(count == 3);
    int rounds = atoi(arguments[1]), beside = atoi(arguments[2]);
    for (int i = 0; i < BLOCKS; i++) {
        sizes[i] = i % 300 == 0 ? 100000 + i * 100 : 16 + i * 37 % 4000;
        must((blocks[i] = malloc(sizes[i])) != NULL);
        for (size_t at = 0; at < sizes[i]; at += 97) {
            blocks[i][at] = (unsigned char)(i * 7 + at);
        }
    }
    /* The C library keeps the stacks: in a child, threads then start without memory from us. */
    pthread_t early[4], other;
    for (int i = 0; i < 4; i++) {
        must(pthread_create(&early[i], NULL, nothing, NULL) == 0);
    }
    for (int i = 0; i < 4; i++) {
        must(pthread_join(early[i], NULL) == 0);
    }
    if (beside) {
        must(pthread_create(&other, NULL, allocate, NULL) == 0);
        usleep(20000);
    }
    size_t least = mallinfo2().uordblks - (beside ? 112 : 0);
    for (int round = 0; round < rounds; round++) {
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            be_a_child(round, least);
        }
        int status;
        must(waitpid(pid, &status, 0) == pid);
        if (status != 0) {
            fail("the child of round %d ended with %#x", round, status);
        }
    }
    atomic_store(&stop, 1);
    printf("%d rounds\n", rounds);
    return 0;
}
