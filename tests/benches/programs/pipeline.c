/* Messages of realistic sizes go from producers to consumers through queues under a lock; who frees never allocated.
   Usage: pipeline PAIRS MESSAGES (of every pair). */
#include "bench.h"

enum { ROOM = 4096, HAND = 64, MOST = 16 };

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void *messages[ROOM];
    uint64_t put, taken, count, seed, sum;
} Queue;

static void *produce(void *argument) {
    Queue *queue = (Queue *)argument;
    Random random = seeded(queue->seed);
    for (uint64_t sent = 0; sent < queue->count; sent += HAND) {
        void *hand[HAND];
        for (int i = 0; i < HAND; i++) {
            size_t size = realistic(&random);
            hand[i] = filled(block(size), size, sent);
        }
        pthread_mutex_lock(&queue->lock);
        while (queue->put - queue->taken > ROOM - HAND) {
            pthread_cond_wait(&queue->changed, &queue->lock);
        }
        for (int i = 0; i < HAND; i++) {
            queue->messages[queue->put++ % ROOM] = hand[i];
        }
        pthread_cond_broadcast(&queue->changed);
        pthread_mutex_unlock(&queue->lock);
    }
    return NULL;
}

static void *consume(void *argument) {
    Queue *queue = (Queue *)argument;
    /* The producer uses the queue's lines meanwhile. */
    uint64_t count = queue->count, sum = 0;
    for (uint64_t got = 0; got < count; got += HAND) {
        void *hand[HAND];
        pthread_mutex_lock(&queue->lock);
        while (queue->put - queue->taken < HAND) {
            pthread_cond_wait(&queue->changed, &queue->lock);
        }
        for (int i = 0; i < HAND; i++) {
            hand[i] = queue->messages[queue->taken++ % ROOM];
        }
        pthread_cond_broadcast(&queue->changed);
        pthread_mutex_unlock(&queue->lock);
        for (int i = 0; i < HAND; i++) {
            sum += word(hand[i]);
            free(hand[i]);
        }
    }
    queue->sum = sum;
    return NULL;
}

int main(int argc, char **argv) {
    must(argc == 3);
    uint64_t pairs = number(argv[1]), sum = 0;
    must(pairs >= 1 && pairs <= MOST);
    static Queue queues[MOST];
    pthread_t threads[MOST][2];
    for (uint64_t i = 0; i < pairs; i++) {
        pthread_mutex_init(&queues[i].lock, NULL);
        pthread_cond_init(&queues[i].changed, NULL);
        queues[i].count = number(argv[2]) / HAND * HAND;
        queues[i].seed = i + 1;
        threads[i][0] = started(produce, &queues[i]);
        threads[i][1] = started(consume, &queues[i]);
    }
    for (uint64_t i = 0; i < pairs; i++) {
        joined(threads[i][0]);
        joined(threads[i][1]);
        sum += queues[i].sum;
    }
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
