/* A preload library under which no program works. */
#include <unistd.h>

__attribute__((constructor)) static void leave(void) {
    _exit(3);
}
