// Vectors that grow by pushing, many at a time and to very different lengths, then are dropped.
// Usage: vectors ROUNDS.
#include "bench.h"
#include <vector>

int main(int argc, char **argv) {
    must(argc == 2);
    Random random = seeded(6);
    uint64_t sum = 0;
    for (uint64_t round = number(argv[1]); round > 0; round--) {
        std::vector<std::vector<uint64_t>> vectors(400);
        for (int i = 0; i < 100000; i++) {
            // The first ones grow longest.
            vectors[below(&random, 1 + below(&random, vectors.size()))].push_back(i);
        }
        for (const auto &vector : vectors) {
            sum += vector.empty() ? 0 : vector.back();
        }
    }
    printf("%llu\n", (unsigned long long)sum);
}
