/* A server whose requests outlive their threads: every connection's thread replaces random blocks in a table; after a
   while it hands the table, full of blocks that it allocated, to a new thread, and ends.
   Usage: server CONNECTIONS HANDOVERS. */
#include "bench.h"

enum { SLOTS = 1000, REQUESTS = 10000, MOST = 64 };

typedef struct {
    void *table[SLOTS];
    uint64_t sum;
    Random random;
} Connection;

static void *serve(void *argument) {
    Connection *connection = (Connection *)argument;
    for (int i = 0; i < REQUESTS; i++) {
        void **slot = &connection->table[below(&connection->random, SLOTS)];
        if (*slot != NULL) {
            connection->sum += word(*slot);
            free(*slot);
        }
        size_t size = 10 + below(&connection->random, 500);
        *slot = filled(block(size), size, (uint64_t)i);
    }
    return NULL;
}

int main(int argc, char **argv) {
    must(argc == 3);
    uint64_t connections = number(argv[1]), handovers = number(argv[2]), sum = 0;
    must(connections >= 1 && connections <= MOST);
    static Connection all[MOST];
    pthread_t threads[MOST];
    for (uint64_t i = 0; i < connections; i++) {
        all[i].random = seeded(i + 1);
        threads[i] = started(serve, &all[i]);
    }
    for (uint64_t i = 0; i < handovers * connections; i++) {
        joined(threads[i % connections]);
        threads[i % connections] = started(serve, &all[i % connections]);
    }
    for (uint64_t i = 0; i < connections; i++) {
        joined(threads[i]);
        sum += all[i].sum;
        for (int k = 0; k < SLOTS; k++) {
            free(all[i].table[k]);
        }
    }
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
