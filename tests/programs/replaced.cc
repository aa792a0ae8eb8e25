/* A program with its own `operator new` and `delete`, which put a header before each block. The standard has every other
   form come to them; none may reach a block of the one kind with the other's operator. */
#include <cstdio>
#include <cstdlib>
#include <new>

/* That the sized forms are not replaced too is the point. */
#pragma GCC diagnostic ignored "-Wsized-deallocation"

namespace {

constexpr size_t HEADER = 64;
long made, ended;

void must(bool condition) {
    if (!condition) {
        std::fputs("not this program's operator\n", stderr);
        std::abort();
    }
}

}

void *operator new(size_t size) {
    char *start = static_cast<char *>(std::malloc(size + HEADER));
    if (start == nullptr) {
        throw std::bad_alloc();
    }
    made++;
    start[0] = 'h';
    return start + HEADER;
}

void operator delete(void *block) noexcept {
    if (block != nullptr) {
        char *start = static_cast<char *>(block) - HEADER;
        must(start[0] == 'h');
        start[0] = 0;
        ended++;
        std::free(start);
    }
}

struct Plain {
    long number = 7;
};

struct Ending {
    long number = 7;
    ~Ending() { number = 0; }
};

/* Opaque, or the compiler leaves the pairs out. */
template <typename T> static T *volatile kept;

template <typename T> static T *through(T *pointer) {
    kept<T> = pointer;
    return kept<T>;
}

int main() {
    long pairs = 0;
    delete through(new Plain), pairs++;
    delete[] through(new Plain[3]), pairs++;
    delete[] through(new Ending[3]), pairs++;
    delete through(new (std::nothrow) Plain), pairs++;
    delete[] through(new (std::nothrow) Ending[5]), pairs++;
    operator delete(through(static_cast<char *>(operator new(10))), size_t{10}), pairs++;
    operator delete[](through(static_cast<char *>(operator new[](10))), size_t{10}), pairs++;
    operator delete(through(static_cast<char *>(operator new(10))), std::nothrow), pairs++;
    must(made == pairs && ended == pairs);
    /* The aligned forms are the C++ library's, and do not come here. */
    operator delete(through(static_cast<char *>(operator new(10, std::align_val_t{256}))), std::align_val_t{256});
    must(made == pairs && ended == pairs);
    std::puts("done");
}
