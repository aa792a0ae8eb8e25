/* A block that another thread frees while a realloc copies it: a page of it is out of reach, and who faults there has the
   other thread free the block before going on.
   Usage: freedmeanwhile SIZE NEW_SIZE. */
#include "handshake.h"
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

enum { PAGE = 4096 };

static char *block, *page;
static volatile int faults;

static void *free_it(void *unused) {
    free(block);
    return unused;
}

static void faulted(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)context;
    must((char *)info->si_addr >= page && (char *)info->si_addr < page + PAGE);
    must(mprotect(page, PAGE, PROT_READ | PROT_WRITE) == 0);
    pthread_t thread;
    must(pthread_create(&thread, NULL, free_it, NULL) == 0 && pthread_join(thread, NULL) == 0);
    faults++;
}

int main(int count, char **arguments) {
    must(count == 3);
    size_t size = (size_t)atol(arguments[1]);
    struct sigaction action = {.sa_sigaction = faulted, .sa_flags = SA_SIGINFO};
    must(sigaction(SIGSEGV, &action, NULL) == 0);
    /* What the realloc moves to is at hand. */
    void *volatile other = malloc((size_t)atol(arguments[2]));
    free(other);
    must((block = malloc(size)) != NULL);
    memset(block, 7, size);
    page = (char *)(((uintptr_t)block + PAGE - 1) / PAGE * PAGE);
    must(page + PAGE <= block + size);
    must(mprotect(page, PAGE, PROT_NONE) == 0);
    char *volatile moved = realloc(block, (size_t)atol(arguments[2]));
    must(faults == 1);
    pause_here("%d", moved != NULL);
    return 0;
}
