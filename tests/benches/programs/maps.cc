// A map whose nodes come and go: keys are put in, looked up and taken out at random.
// Usage: maps ordered|hashed OPERATIONS.
#include "bench.h"
#include <map>
#include <unordered_map>

template <class Map> static uint64_t churn(uint64_t operations) {
    constexpr uint64_t KEYS = 60000;
    Map map;
    Random random = seeded(4);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t key = below(&random, KEYS) * 0x9E3779B97F4A7C15u;
        switch (below(&random, 3)) {
        case 0:
            sum += map.erase(key);
            break;
        case 1: {
            auto found = map.find(key);
            sum += found == map.end() ? 0 : found->second;
            break;
        }
        default:
            map[key] += i;
        }
    }
    return sum + map.size();
}

int main(int argc, char **argv) {
    must(argc == 3);
    uint64_t operations = number(argv[2]);
    uint64_t sum = argv[1][0] == 'o' ? churn<std::map<uint64_t, uint64_t>>(operations)
                                     : churn<std::unordered_map<uint64_t, uint64_t>>(operations);
    printf("%llu\n", (unsigned long long)sum);
}
