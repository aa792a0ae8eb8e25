/* A process whose name, arguments and threads' names are terminal commands: set the title, clear the screen, turn it
   red. Waits with one thread beside the main one. Usage: named (it names itself) */
#include "handshake.h"
#include <pthread.h>
#include <sys/prctl.h>

static void *wait_for_ever(void *unused) {
    must(prctl(PR_SET_NAME, "\033]0;owned\a\033[2J") == 0);
    free(malloc(100));
    pause();
    return unused;
}

int main(int count, char **arguments) {
    if (count == 1) {
        execl("/proc/self/exe", "\033]0;owned\a\033[31m", "\033[2J", "\r\n\t\x9b" "31m", (char *)NULL);
        fail("exec failed");
    }
    (void)arguments;
    must(prctl(PR_SET_NAME, "\033]2;owned\a\033[5m") == 0);
    pthread_t thread;
    must(pthread_create(&thread, NULL, wait_for_ever, NULL) == 0);
    while (free(malloc(100)), getc(stdin) == EOF) {
        return 0;
    }
    pause_here("ready");
    _exit(0);
}
