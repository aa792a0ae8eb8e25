/* One hazard each, named by the argument; each was a bug of some allocator once. Ends with 0, or waits for the test
   with a line that says the PID to look at. */
#include "handshake.h"
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void reap(pid_t pid) {
    int status;
    must(pid > 0 && waitpid(pid, &status, 0) == pid);
    if (status != 0) {
        fail("a child ended with status %#x", status);
    }
}

static void *touched(size_t size) {
    void *block = malloc(size);
    must(block != NULL);
    memset(block, 1, size);
    return block;
}

static void use_the_heap(void) {
    for (int i = 0; i < 1000; i++) {
        void *volatile block = touched((size_t)i * 7);
        free(block);
    }
}

static pid_t raw_fork(void) { return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }

/* Every daemon forks twice; the child in between may not have called malloc at all. */
static void daemon_forks(pid_t (*first)(void), pid_t (*second)(void)) {
    void *volatile before = touched(100);
    pid_t pid = first();
    if (pid == 0) {
        pid_t grandchild = second();
        if (grandchild == 0) {
            use_the_heap();
            free(before);
            _exit(0);
        }
        reap(grandchild);
        _exit(0);
    }
    reap(pid);
}

static pthread_key_t key;
static void allocate_late(void *value) {
    void *volatile block = touched(100);
    free(block);
    (void)value;
}
static void *only_in_destructor(void *unused) {
    (void)unused;
    must(pthread_setspecific(key, &key) == 0);
    return NULL;
}

static void first_call_in_destructor(void) {
    must(pthread_key_create(&key, allocate_late) == 0);
    for (int i = 0; i < 500; i++) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, only_in_destructor, NULL) == 0 && pthread_join(thread, NULL) == 0);
    }
}

static void *nothing(void *unused) { return unused; }

/* The program limits its address space itself, after it has begun. */
static void own_limit(void) {
    use_the_heap();
    struct rlimit limit = {512 << 20, 512 << 20};
    must(setrlimit(RLIMIT_AS, &limit) == 0);
    must(malloc(1ul << 30) == NULL && errno == ENOMEM);
    pid_t pid = fork();
    if (pid == 0) {
        use_the_heap();
        _exit(0);
    }
    reap(pid);
    pthread_t thread;
    must(pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0);
    int blocks = 0;
    while (blocks < 2000 && malloc(1 << 20)) {
        blocks++;
    }
    must(blocks >= 200 && blocks < 512);
}

/* Blocks grow beside each other, so that their pages have to be moved, or copied where that cannot be. */
static void limit_from_outside(void) {
    enum { BLOCKS = 8, MOST = 16 << 20 };
    char *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = touched(1 << 20);
    }
    pause_here("%d", getpid());
    must(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED); /* it is in force */
    for (size_t size = 1 << 20; size < MOST; size *= 3) {
        for (int i = 0; i < BLOCKS; i++) {
            char *block = realloc(blocks[i], size * 3);
            must(block != NULL);
            for (size_t at = 0; at < size; at += 4096) {
                must(block[at] == 1);
            }
            memset(block, 1, size * 3);
            blocks[i] = block;
        }
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
    use_the_heap();
}

static void *fork_and_leave(void *unused) {
    pid_t pid = fork();
    if (pid == 0) {
        pthread_exit(NULL); /* the child's only thread: it ends with 0 */
    }
    reap(pid);
    return unused;
}

static void childs_thread_ends_first(void) {
    pthread_t thread;
    must(pthread_create(&thread, NULL, fork_and_leave, NULL) == 0 && pthread_join(thread, NULL) == 0);
}

static void locked_trim(void) {
    if (mlockall(MCL_CURRENT) != 0) {
        return; /* not allowed here: nothing to see */
    }
    void *blocks[50];
    for (int i = 0; i < 50; i++) {
        blocks[i] = touched(1 << 20);
    }
    for (int i = 0; i < 50; i++) {
        free(blocks[i]);
    }
    malloc_trim(0);
    use_the_heap();
}

/* Of this process, in KiB, as the kernel tells. */
static long status_kib(const char *name) {
    char line[256];
    long kib = -1;
    FILE *status = fopen("/proc/self/status", "r");
    must(status != NULL);
    while (fgets(line, sizeof line, status)) {
        if (strncmp(line, name, strlen(name)) == 0) {
            kib = atol(line + strlen(name));
        }
    }
    fclose(status);
    must(kib >= 0);
    return kib;
}

/* What is only reserved must not be filled. */
static void locked_altogether(void) {
    use_the_heap();
    long before = status_kib("VmRSS:");
    must(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
    must(status_kib("VmRSS:") - before < 32 << 10);
    use_the_heap();
}

static void locked_from_now_on(void) {
    must(mlockall(MCL_FUTURE) == 0);
    long before = status_kib("VmLck:");
    for (int i = 0; i < 16; i++) {
        must(malloc(3 << 20) != NULL); /* stays, and is not touched */
    }
    must(status_kib("VmLck:") - before >= 40 << 10);
    use_the_heap();
    malloc_trim(0);
    must(munlockall() == 0);
    use_the_heap();
}

static void aligned_reuse(void) {
    for (int i = 0; i < 5000; i++) {
        void *block;
        must(posix_memalign(&block, 1 << 20, 300000) == 0);
        memset(block, 1, 300000);
        free(block);
        must(posix_memalign(&block, 1 << 17, 1000) == 0);
        memset(block, 1, 1000);
        free(block);
    }
    pause_here("%d", getpid());
}

static void handle(int signal) {
    (void)signal;
    use_the_heap();
    _exit(0);
}

static void handler_allocates(void) {
    must(signal(SIGABRT, handle) != SIG_ERR);
    char *block = touched(100);
    free(block);
    free(block);
    fail("the double free went unnoticed");
}

static pid_t cloned_then_forked(void) {
    free(touched(5000000));
    pid_t pid = raw_fork();
    if (pid == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0) {
            free(touched(3000000));
            malloc_trim(0);
            pause_here("%d", getpid());
            _exit(0);
        }
        reap(grandchild);
        _exit(0);
    }
    reap(pid);
    return pid;
}

int main(int count, char **arguments) {
    must(count == 2);
    const char *what = arguments[1];
    if (strcmp(what, "daemon") == 0) {
        daemon_forks(fork, fork);
    } else if (strcmp(what, "daemon-raw") == 0) {
        daemon_forks(raw_fork, raw_fork);
    } else if (strcmp(what, "daemon-mixed") == 0) {
        daemon_forks(raw_fork, fork);
        daemon_forks(fork, raw_fork);
    } else if (strcmp(what, "destructor") == 0) {
        first_call_in_destructor();
        pause_here("%d", getpid());
    } else if (strcmp(what, "own-limit") == 0) {
        own_limit();
    } else if (strcmp(what, "limit-from-outside") == 0) {
        limit_from_outside();
    } else if (strcmp(what, "child-thread") == 0) {
        childs_thread_ends_first();
    } else if (strcmp(what, "locked") == 0) {
        locked_trim();
    } else if (strcmp(what, "locked-altogether") == 0) {
        locked_altogether();
    } else if (strcmp(what, "locked-later") == 0) {
        locked_from_now_on();
    } else if (strcmp(what, "aligned") == 0) {
        aligned_reuse();
    } else if (strcmp(what, "handler") == 0) {
        handler_allocates();
    } else if (strcmp(what, "clone-fork") == 0) {
        cloned_then_forked();
    } else {
        fail("no hazard %s", what);
    }
    return 0;
}
