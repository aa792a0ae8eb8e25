/* Allocates and frees so many large blocks, all at once, over and over; says when it has done so for the given number of times.
   Usage: cycles SIZE COUNT CYCLES. */
#include "handshake.h"

int main(int count, char **arguments) {
    must(count == 4);
    size_t size = (size_t)atol(arguments[1]);
    int many = atoi(arguments[2]), cycles = atoi(arguments[3]);
    char **blocks = malloc(many * sizeof *blocks);
    must(blocks != NULL);
    for (int cycle = 0; cycle < cycles; cycle++) {
        for (int i = 0; i < many; i++) {
            must((blocks[i] = malloc(size)) != NULL);
            memset(blocks[i], 1, size);
        }
        for (int i = 0; i < many; i++) {
            free(blocks[i]);
        }
    }
    pause_here("cycled");
    return 0;
}
