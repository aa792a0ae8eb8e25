/* Buffers that grow by `realloc` as text is appended to them in turn, to lengths from 100 bytes to some MiB.
   Usage: growth ROUNDS. */
#include "bench.h"

enum { BUFFERS = 64, PIECE = 96 };

int main(int argc, char **argv) {
    must(argc == 2);
    Random random = seeded(8);
    uint64_t sum = 0;
    char piece[PIECE];
    memset(piece, 'x', sizeof piece);
    for (uint64_t round = number(argv[1]); round > 0; round--) {
        char *buffers[BUFFERS] = {0};
        size_t used[BUFFERS] = {0}, room[BUFFERS] = {0};
        for (int i = 0; i < 60000; i++) {
            /* The first ones grow longest. */
            uint64_t k = below(&random, 1 + below(&random, 1 + below(&random, BUFFERS)));
            if (used[k] + PIECE > room[k]) {
                room[k] += room[k] / 2 + 128;
                buffers[k] = (char *)realloc(buffers[k], room[k]);
                must(buffers[k] != NULL);
            }
            memcpy(buffers[k] + used[k], piece, PIECE);
            used[k] += PIECE;
        }
        for (int k = 0; k < BUFFERS; k++) {
            sum += used[k] == 0 ? 0 : (uint64_t)buffers[k][used[k] - 1] + used[k];
            free(buffers[k]);
        }
    }
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
