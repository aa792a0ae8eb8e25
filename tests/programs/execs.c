/* Allocates, then becomes itself again with one argument less, pausing each time. A failed exec in between. */
#include "handshake.h"

int main(int count, char **arguments) {
    static void *blocks[1000];
    for (int i = 0; i < count * 200; i++) {
        must((blocks[i % 1000] = malloc(100)) != NULL);
    }
    execl("/nowhere/at/all", "all", (char *)NULL);
    pause_here("ready");
    if (count > 1) {
        arguments[count - 1] = NULL;
        execv("/proc/self/exe", arguments);
        return 1;
    }
    return 0;
}
