// Text is cut into words, the words are joined, changed, sorted and counted; strings of all lengths come and go.
// Usage: strings LINES.
#include "bench.h"
#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

static std::string line(Random *random) {
    std::string text;
    for (uint64_t words = 5 + below(random, 30); words > 0; words--) {
        // Few words are common and short, many are rare and long.
        uint64_t rank = below(random, 1 + below(random, 20000));
        text += "word" + std::to_string(rank);
        if (rank > 1000) {
            text += "-with-a-longer-ending";
        }
        text += ' ';
    }
    return text;
}

static std::vector<std::string> cut(const std::string &text) {
    std::vector<std::string> words;
    size_t from = 0;
    for (size_t to; (to = text.find(' ', from)) != std::string::npos; from = to + 1) {
        words.push_back(text.substr(from, to - from));
    }
    return words;
}

int main(int argc, char **argv) {
    must(argc == 2);
    Random random = seeded(5);
    std::unordered_map<std::string, uint64_t> counts;
    std::vector<std::string> kept(2000);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < number(argv[1]); i++) {
        std::vector<std::string> words = cut(line(&random));
        std::sort(words.begin(), words.end());
        std::string joined;
        for (const std::string &word : words) {
            counts[word]++;
            joined = joined + word + ",";
        }
        sum += joined.size();
        kept[below(&random, kept.size())] = std::move(joined);
    }
    printf("%llu\n", (unsigned long long)(sum + counts.size()));
}
