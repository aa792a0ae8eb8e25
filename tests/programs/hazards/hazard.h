/* Programs of many small hazards. Without arguments such a program lists them, one a line: group, name, surroundings
   (see tests/src/hazard.rs). With a name it does that one thing in this process, then uses the heap once more, so that
   damage shows, and says "survived". Exit codes: 92 the program saw something wrong, 93 it got an address that an
   attacker had chosen, or a block that is somebody else's. */
#pragma once
#include "../handshake.h"
#include <pthread.h>
#include <stdbool.h>
#include <signal.h>
#include <sys/wait.h>

struct hazard {
    const char *group, *name, *surroundings;
    void (*run)(void);
};

#define HAZARD(group, name, surroundings)                                                                             \
    static void name(void);                                                                                           \
    static const struct hazard entry_##name __attribute__((used, section("hazards"), aligned(8))) = {                 \
        #group, #name, surroundings, name};                                                                           \
    static void name(void)

#ifdef __cplusplus
extern "C" {
#endif
extern const struct hazard __start_hazards[], __stop_hazards[];
#ifdef __cplusplus
}
#endif

__attribute__((unused)) static char *take(size_t size) {
    char *block = (char *)malloc(size);
    must(block != NULL);
    memset(block, 1, size);
    return block;
}

/* Blocks of many sizes, held, checked and freed. */
__attribute__((unused)) static void use_the_heap(void) {
    enum { BLOCKS = 2000 };
    unsigned char **blocks = (unsigned char **)take(BLOCKS * sizeof *blocks);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            size_t size = (size_t)(i * 37 % 1500) + (i % 500 == 0 ? 200000 : 1);
            blocks[i] = (unsigned char *)malloc(size);
            must(blocks[i] != NULL);
            memset(blocks[i], (i + round) & 255, size);
        }
        for (int i = 0; i < BLOCKS; i++) {
            size_t size = (size_t)(i * 37 % 1500) + (i % 500 == 0 ? 200000 : 1);
            must(blocks[i][0] == ((i + round) & 255) && blocks[i][size - 1] == ((i + round) & 255));
            free(blocks[i]);
        }
    }
    free(blocks);
}

__attribute__((unused)) static void in_a_thread(void *(*work)(void *), void *argument) {
    pthread_t thread;
    must(pthread_create(&thread, NULL, work, argument) == 0 && pthread_join(thread, NULL) == 0);
}

__attribute__((unused)) static void *free_it(void *block) {
    free(block);
    return NULL;
}

__attribute__((unused)) static void reap(pid_t pid) {
    int status;
    must(pid > 0 && waitpid(pid, &status, 0) == pid);
    if (status != 0) {
        fail("a child ended with status %#x", status);
    }
}

__attribute__((unused)) static void chosen(void *address) {
    char line[64];
    int length = snprintf(line, sizeof line, "chosen address %p\n", address);
    (void)!write(1, line, (size_t)length);
    _exit(93);
}

int main(int count, char **arguments) {
    for (const struct hazard *hazard = __start_hazards; hazard < __stop_hazards; hazard++) {
        if (count < 2) {
            say("%s %s %s", hazard->group, hazard->name, hazard->surroundings);
        } else if (strcmp(arguments[1], hazard->name) == 0) {
            hazard->run();
            use_the_heap();
            say("survived");
            return 0;
        }
    }
    return count < 2 ? 0 : 94;
}
