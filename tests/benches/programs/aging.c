/* A heap that ages: in every phase the program's favourite sizes change, nine of ten blocks of the last phase go, and
   the tenth stays among the new ones. The live amount is the same all the time. Usage: aging PHASES. */
#include "bench.h"

enum { LIVE = 24 << 20, MOST = 1 << 20 };

static void *blocks[MOST];
static uint32_t sizes[MOST];

int main(int argc, char **argv) {
    must(argc == 2);
    Random random = seeded(7);
    uint64_t count = 0, live = 0, sum = 0;
    for (uint64_t phase = 0; phase < number(argv[1]); phase++) {
        uint64_t kept = 0;
        for (uint64_t i = 0; i < count; i++) {
            if (below(&random, 10) == 0) {
                blocks[kept] = blocks[i];
                sizes[kept++] = sizes[i];
            } else {
                live -= sizes[i];
                sum += word(blocks[i]);
                free(blocks[i]);
            }
        }
        count = kept;
        uint64_t favourite = 24 + below(&random, 64) * below(&random, 24);
        while (live < LIVE) {
            must(count < MOST);
            uint64_t size = favourite + below(&random, favourite / 2);
            if (below(&random, 50) == 0) {
                size *= 16;
            }
            sizes[count] = (uint32_t)size;
            blocks[count++] = filled(block(size), size, live);
            live += size;
        }
    }
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
