/* Small blocks, side by side. Usage: dense alone|forks.
   Takes 12 MiB of blocks of 64 bytes, writes them, and says "filled". Then it allocates and frees other blocks for half a
   second of processor time; if it forks, it is the child that does so. Says who did, by PID. At last the program frees all
   blocks, goes on as before for as long, and says "freed". */
#include "handshake.h"
#include <sys/wait.h>
#include <time.h>

enum { BYTES = 12 << 20, SIZE = 64, COUNT = BYTES / SIZE };

static double processor_time(void) {
    struct timespec now;
    must(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Half a second of calls. */
static void churn(void) {
    double end = processor_time() + 0.5;
    do {
        for (int i = 0; i < 10000; i++) {
            void *volatile block = malloc(200);
            free(block);
        }
    } while (processor_time() < end);
}

int main(int count, char **arguments) {
    must(count == 2);
    int forks = strcmp(arguments[1], "forks") == 0;
    static void *blocks[COUNT];
    for (int i = 0; i < COUNT; i++) {
        must((blocks[i] = malloc(SIZE)) != NULL);
        memset(blocks[i], i, SIZE);
    }
    pause_here("filled");
    pid_t child = forks ? fork() : -1;
    if (child <= 0) {
        must(!forks || child == 0);
        churn();
        pause_here("%d", (int)getpid());
        if (forks) {
            _exit(0);
        }
    } else {
        int status;
        must(waitpid(child, &status, 0) == child && status == 0);
    }
    for (int i = 0; i < COUNT; i++) {
        must(*(unsigned char *)blocks[i] == (unsigned char)i);
        free(blocks[i]);
    }
    churn();
    pause_here("freed");
    return 0;
}
