/* A call of the allocator, and the end of its thread at any instruction: the handler of the trap that follows each
   cancels the thread there and then (PTHREAD_CANCEL_ASYNCHRONOUS). The calls:
   move  a realloc into another class, whose old block the cleanup handler frees, since the call has not returned;
   end   what the allocator does at a thread's end, of one that may be cancelled only then (every 29th);
   left  frees of other threads' blocks, by which those of threads that have ended come along (every thirteenth).
   After each, no block is handed out twice, and nobody waits for what the thread held.
   Usage: everycancel move|left|end. Prints the number of instructions, and waits. */
#include "cancelled.h"
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { SIZE = 40, OTHER = 120, OWNERS = 8, BLOCKS = 600, HELD = 20, HELD_SIZE = 30000 };

static atomic_bool ended;

static void start(pthread_t *thread, void *(*work)(void *), void *argument) {
    must(pthread_create(thread, NULL, work, argument) == 0);
}

static void join(pthread_t thread) { must(pthread_join(thread, NULL) == 0); }

/* ---- move ---- */

static void *volatile moving;

static void free_moving(void *unused) {
    (void)unused;
    free(moving);
}

static void *move(void *unused) {
    /* What the realloc moves to is at hand, and so is a place for the old block. */
    void *volatile first = malloc(SIZE), *volatile kept = malloc(SIZE), *volatile other = malloc(OTHER);
    free(first);
    free(other);
    moving = malloc(SIZE);
    pthread_cleanup_push(free_moving, NULL);
    must(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL) == 0);
    MARK();
    moving = realloc(moving, OTHER);
    MARK();
    must(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL) == 0);
    ended = true;
    pthread_cleanup_pop(1);
    free(kept);
    return unused;
}

/* ---- end ---- */

static pthread_key_t key;
static void *volatile held[HELD];

/* Made after the allocator's key, so it is called after that in each round; the allocator waits for the second one. */
static void end_round(void *round) {
    if (steps == last_step) {
        return; /* cancelled, with the signal blocked */
    }
    MARK();
    if (round == &held[0]) {
        must(pthread_setspecific(key, (void *)&held[1]) == 0);
    } else {
        ended = true;
    }
}

static void *hold_until_the_end(void *unused) {
    for (int i = 0; i < HELD; i++) {
        must((held[i] = malloc(HELD_SIZE)) != NULL);
    }
    must(pthread_setspecific(key, (void *)&held[0]) == 0);
    must(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL) == 0);
    return unused;
}

static void once_end(void) {
    pthread_t thread;
    start(&thread, hold_until_the_end, NULL);
    join(thread);
    for (int i = 0; i < HELD; i++) {
        free(held[i]);
    }
}

/* ---- left ---- */

static void *volatile blocks_of[2][OWNERS];
static sem_t ready, go[2], freed, gone;

static void *own(void *argument) {
    uintptr_t number = (uintptr_t)argument;
    blocks_of[number / OWNERS][number % OWNERS] = malloc(SIZE);
    must(sem_post(&ready) == 0 && sem_wait(&go[number / OWNERS]) == 0);
    return NULL;
}

static void *free_theirs(void *unused) {
    for (int i = 0; i < OWNERS; i++) {
        free(blocks_of[0][i]);
    }
    must(sem_post(&freed) == 0 && sem_wait(&gone) == 0);
    must(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL) == 0);
    MARK();
    for (int i = 0; i < OWNERS; i++) {
        free(blocks_of[1][i]);
    }
    MARK();
    must(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL) == 0);
    ended = true;
    return unused;
}

static void once_left(void) {
    pthread_t owners[2][OWNERS], thread;
    for (uintptr_t i = 0; i < 2 * OWNERS; i++) {
        start(&owners[i / OWNERS][i % OWNERS], own, (void *)i);
    }
    for (int i = 0; i < 2 * OWNERS; i++) {
        must(sem_wait(&ready) == 0);
    }
    start(&thread, free_theirs, NULL);
    must(sem_wait(&freed) == 0);
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < OWNERS; i++) {
            must(sem_post(&go[half]) == 0);
        }
        for (int i = 0; i < OWNERS; i++) {
            join(owners[half][i]);
        }
        if (half == 0) {
            must(sem_post(&gone) == 0);
            join(thread);
        }
    }
}

/* Also takes what only the central state has. */
static void *check_blocks(void *unused) {
    static char *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        must((blocks[i] = malloc(SIZE)) != NULL);
        *(int *)blocks[i] = i;
    }
    char *large = malloc(3 << 20);
    must(large != NULL);
    for (int i = 0; i < BLOCKS; i++) {
        must(*(int *)blocks[i] == i);
        free(blocks[i]);
    }
    free(large);
    return unused;
}

static void *until_cancelled(void *unused) {
    for (;;) {
        pthread_testcancel();
    }
    return unused;
}

int main(int count, char **arguments) {
    must(count == 2);
    bool moves = strcmp(arguments[1], "move") == 0, ends = strcmp(arguments[1], "end") == 0;
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    pthread_t thread;
    /* The first cancellation of a process loads a library. */
    start(&thread, until_cancelled, NULL);
    must(pthread_cancel(thread) == 0);
    join(thread);
    must(pthread_key_create(&key, end_round) == 0);
    must(sigaction(SIGTRAP, &action, NULL) == 0);
    must(sem_init(&ready, 0, 0) == 0 && sem_init(&freed, 0, 0) == 0 && sem_init(&gone, 0, 0) == 0);
    must(sem_init(&go[0], 0, 0) == 0 && sem_init(&go[1], 0, 0) == 0);
    for (ended = false; !ended;) {
        last_step = last_step + (moves ? 1 : ends ? 29 : 13);
        steps = 0;
        if (moves) {
            start(&thread, move, NULL);
            join(thread);
        } else if (ends) {
            once_end();
        } else {
            once_left();
        }
        start(&thread, check_blocks, NULL);
        join(thread);
    }
    pause_here("%d", steps);
    return 0;
}
