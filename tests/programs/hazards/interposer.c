/* Preloaded beside the allocator: wraps what an allocator may call, and allocates in every wrapper. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static __thread int depth;

static void allocate(void) {
    if (depth == 0) {
        depth = 1;
        void *volatile block = malloc(333);
        free(block);
        depth = 0;
    }
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
    allocate();
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}

int munmap(void *address, size_t size) {
    allocate();
    return (int)syscall(SYS_munmap, address, size);
}

int madvise(void *address, size_t size, int advice) {
    allocate();
    return (int)syscall(SYS_madvise, address, size, advice);
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    int mode = va_arg(arguments, int);
    va_end(arguments);
    allocate();
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t read(int fd, void *buffer, size_t size) {
    allocate();
    return syscall(SYS_read, fd, buffer, size);
}

ssize_t write(int fd, const void *buffer, size_t size) {
    allocate();
    return syscall(SYS_write, fd, buffer, size);
}

static int (*next_lock)(pthread_mutex_t *);

int pthread_mutex_lock(pthread_mutex_t *mutex) {
    if (next_lock == NULL) {
        *(void **)&next_lock = dlsym(RTLD_NEXT, "pthread_mutex_lock");
    }
    allocate();
    return next_lock(mutex);
}

char *getenv(const char *name) {
    extern char **environ;
    allocate();
    size_t length = strlen(name);
    for (char **entry = environ; entry && *entry; entry++) {
        if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=') {
            return *entry + length + 1;
        }
    }
    return NULL;
}
