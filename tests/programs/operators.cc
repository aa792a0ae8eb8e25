// The C++ operators: a throwing `new` calls the new-handler and then throws, the others return null.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

static int handled;
static volatile std::size_t huge = std::size_t{1} << 62;

static void handler() {
    if (++handled == 3) {
        std::set_new_handler(nullptr);
    }
}

static void must(bool holds, const char *what) {
    if (!holds) {
        std::fprintf(stderr, "does not hold: %s\n", what);
        std::exit(1);
    }
}

int main() {
    bool thrown = false;
    std::set_new_handler(handler);
    try {
        ::operator delete(::operator new(huge));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    must(thrown && handled == 3, "new calls the handler until there is none, then throws");
    thrown = false;
    try {
        ::operator delete[](::operator new[](huge, std::align_val_t{256}), std::align_val_t{256});
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    must(thrown, "aligned new throws");
    must(::operator new(huge, std::nothrow) == nullptr, "nothrow new returns null");
    must(::operator new(huge, std::align_val_t{64}, std::nothrow) == nullptr, "aligned nothrow new returns null");
    for (std::size_t align = 1; align <= 1 << 16; align *= 2) {
        for (std::size_t size : {0, 1, 40, 1000, 50000}) {
            void *block = ::operator new(size, std::align_val_t{align});
            must(block && reinterpret_cast<std::uintptr_t>(block) % align == 0, "aligned new aligns");
            ::operator delete(block, size, std::align_val_t{align});
        }
    }
    void *empty = ::operator new(0);
    must(empty != nullptr, "new of no bytes is a block");
    ::operator delete(empty, std::size_t{0});
    std::free(::operator new(100));
    std::vector<std::unique_ptr<std::string>> strings;
    for (int i = 0; i < 10000; i++) {
        strings.push_back(std::make_unique<std::string>(static_cast<std::size_t>(i % 300), 'x'));
    }
    for (int i = 0; i < 10000; i++) {
        must(strings[i]->size() == static_cast<std::size_t>(i % 300), "strings keep their length");
    }
    return 0;
}
