/* Threads write to small blocks of their own. Whether these share a cache line is up to the allocator.
   Usage: sharing neighbours|passed THREADS ROUNDS.
   neighbours: every thread allocates, writes and frees, all at the same time.
   passed: each thread begins with a block that the first one allocated for it, next to the others', and frees it. */
#include "bench.h"

enum { SIZE = 8, WRITES = 200, MOST = 64 };

typedef struct {
    char *first;
    uint64_t rounds, sum;
} Task;

static void *work(void *argument) {
    Task *task = (Task *)argument;
    uint64_t rounds = task->rounds, sum = 0;
    char *mine = task->first;
    for (uint64_t round = 0; round < rounds; round++) {
        if (mine == NULL) {
            mine = (char *)block(SIZE);
        }
        memset(mine, 0, SIZE);
        for (int i = 0; i < WRITES; i++) {
            (*(volatile char *)(mine + i % SIZE))++;
        }
        sum += (uint64_t)*mine;
        free(mine);
        mine = NULL;
    }
    task->sum = sum;
    return NULL;
}

int main(int argc, char **argv) {
    must(argc == 4);
    uint64_t threads = number(argv[2]), sum = 0;
    must(threads >= 1 && threads <= MOST);
    static struct {
        Task task;
        char apart[128 - sizeof(Task)];
    } tasks[MOST];
    pthread_t running[MOST];
    for (uint64_t i = 0; i < threads; i++) {
        tasks[i].task.first = argv[1][0] == 'p' ? (char *)block(SIZE) : NULL;
        tasks[i].task.rounds = number(argv[3]) / threads;
    }
    for (uint64_t i = 0; i < threads; i++) {
        running[i] = started(work, &tasks[i].task);
    }
    for (uint64_t i = 0; i < threads; i++) {
        joined(running[i]);
        sum += tasks[i].task.sum;
    }
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
