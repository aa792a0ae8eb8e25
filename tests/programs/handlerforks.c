/* A signal handler forks, wherever it comes, while blocks of all sizes are replaced. Usage: handlerforks FORKS. */
#include "handshake.h"
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { BLOCKS = 64 };

static volatile int forks;

static void fork_here(int signal) {
    (void)signal;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    must(pid > 0);
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        must(errno == EINTR);
    }
    must(status == 0);
    forks++;
}

int main(int count, char **arguments) {
    must(count == 2);
    struct sigaction action = {.sa_handler = fork_here, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 3000}, {0, 3000}};
    must(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
    static char *blocks[BLOCKS];
    for (unsigned i = 0; forks < atoi(arguments[1]); i++) {
        char **slot = &blocks[i % BLOCKS];
        free(*slot);
        must((*slot = malloc(40000 + i * 7919 % 20 * 40000)) != NULL);
        (*slot)[0] = 1;
    }
    return 0;
}
