// Binary trees, built and torn down: one long-lived, many short-lived ones of all depths beside it.
// Usage: trees DEPTH.
#include "bench.h"

namespace {

struct Node {
    Node *left = nullptr;
    Node *right = nullptr;
    uint64_t value = 1;

    explicit Node(uint64_t depth) {
        if (depth > 0) {
            left = new Node(depth - 1);
            right = new Node(depth - 1);
        }
    }
    ~Node() {
        delete left;
        delete right;
    }
    uint64_t sum() const {
        return value + (left ? left->sum() + right->sum() : 0);
    }
};

}

int main(int argc, char **argv) {
    must(argc == 2);
    uint64_t deepest = number(argv[1]), sum = 0;
    Node lasting(deepest);
    for (uint64_t depth = 4; depth <= deepest; depth += 4) {
        for (uint64_t i = 0; i < uint64_t(1) << (deepest - depth + 2); i++) {
            Node tree(depth);
            sum += tree.sum();
        }
    }
    printf("%llu\n", (unsigned long long)(sum + lasting.sum()));
}
