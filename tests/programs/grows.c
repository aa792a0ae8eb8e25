/* Makes one block larger until that is refused, and says how many bytes it had in the end.
   Usage: grows PERCENT: the next size in percent of the last. */
#include "handshake.h"

int main(int count, char **arguments) {
    must(count == 2);
    size_t percent = (size_t)atol(arguments[1]), had = 0, wanted = 1 << 20;
    char *block = malloc(wanted);
    while (block != NULL) {
        had = wanted;
        block[had - 1] = 1;
        wanted = wanted / 100 * percent;
        char *larger = realloc(block, wanted);
        if (larger == NULL) {
            must(block[had - 1] == 1);
            break;
        }
        must(larger[had - 1] == 1);
        block = larger;
    }
    say("%zu", had);
    return 0;
}
