/* C++'s sized delete. Usage: sized right|one|array. The wrong size is a base class's, deleted through a pointer to it. */
#include "handshake.h"
#include <new>

/* Opaque, or the compiler leaves the pairs out. */
static void *volatile kept;

static void *made(void *block) {
    kept = block;
    return kept;
}

int main(int count, char **arguments) {
    must(count == 2);
    size_t size = strcmp(arguments[1], "right") == 0 ? 200 : 8;
    if (arguments[1][0] != 'a') {
        operator delete(made(operator new(200)), size);
    }
    if (arguments[1][0] != 'o') {
        operator delete[](made(operator new[](200)), size);
    }
    operator delete(nullptr, size_t{8});
    say("went on");
}
