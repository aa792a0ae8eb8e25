/* Allocates and frees without end, keeping its own count in a file it has mapped: each figure once before the call
   begins and once after it has returned. */
#include "handshake.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>

enum { HELD = 300 };

struct counts {
    volatile int64_t begun, ended, requested_begun, requested_ended, frees_begun, frees_ended;
};

int main(int count, char **arguments) {
    must(count == 2);
    int file = open(arguments[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
    must(file >= 0 && ftruncate(file, sizeof(struct counts)) == 0);
    struct counts *c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    must(c != MAP_FAILED);
    static void *held[HELD];
    uint64_t random = 88172645463325252u;
    pause_here("ready");
    for (uint64_t step = 0;; step++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        unsigned slot = (unsigned)(random >> 40) % HELD;
        if (held[slot]) {
            c->frees_begun++;
            free(held[slot]);
            c->frees_ended++;
            held[slot] = NULL;
        } else {
            size_t size = (random >> 20) % (slot % 50 ? 2000 : 200000);
            c->requested_begun += (int64_t)size;
            c->begun++;
            held[slot] = malloc(size);
            c->ended++;
            c->requested_ended += (int64_t)size;
            must(held[slot] != NULL);
        }
        if (step % 4096 == 0) { /* ends when the test has closed our input */
            struct pollfd input = {.fd = 0, .events = POLLIN};
            if (poll(&input, 1, 0) > 0) {
                return 0;
            }
        }
    }
}
