/* Calls the allocator about a thousand times a second, for as long as it lives: on the fast path, which looks at no clock. */
#include "handshake.h"

int main(void) {
    say("begun");
    for (;;) {
        char *volatile block = malloc(100);
        must(block != NULL);
        free(block);
        usleep(900);
    }
}
