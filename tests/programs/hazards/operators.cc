/* The same through the C++ operators. */
#include "hazard.h"
#include <initializer_list>
#include <new>
#include <string>
#include <vector>

static char *volatile block;

HAZARD(double, operator_delete, "") {
    block = static_cast<char *>(operator new(100));
    operator delete(block);
    operator delete(block);
}

HAZARD(double, operator_delete_array, "") {
    block = static_cast<char *>(operator new[](100));
    operator delete[](block);
    operator delete[](block);
}

HAZARD(double, sized_operator_delete, "") {
    block = static_cast<char *>(operator new(100));
    operator delete(block, size_t{100});
    operator delete(block, size_t{100});
}

HAZARD(double, aligned_operator_delete, "") {
    block = static_cast<char *>(operator new(100, std::align_val_t{256}));
    operator delete(block, std::align_val_t{256});
    operator delete(block, std::align_val_t{256});
}

HAZARD(interior, delete_inside, "") {
    block = static_cast<char *>(operator new(100));
    operator delete(block + 48);
}

/* An array of objects with destructors begins behind a count; deleting it as one object frees its inside. */
struct Counted {
    long number = 1;
    ~Counted() { number = 0; }
};

HAZARD(interior, delete_of_an_array, "") {
    Counted *volatile array = new Counted[10];
    operator delete(static_cast<void *>(array));
}

HAZARD(wild, delete_of_a_local, "") {
    char local[64] = "local";
    block = local;
    operator delete(block);
}

/* Sizes that no class has: the size is a hint at most. */
HAZARD(life, sized_delete_of_another_class, "") {
    for (size_t size : {size_t{1}, size_t{99}, size_t{5000}, size_t{1} << 20}) {
        block = static_cast<char *>(operator new(100));
        operator delete(block, size);
    }
}

HAZARD(life, bad_alloc, "") {
    bool thrown = false;
    try {
        block = static_cast<char *>(operator new(size_t{1} << 62));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    must(thrown);
    must(operator new(size_t{1} << 62, std::nothrow) == nullptr);
}

static void *throwing(void *unused) {
    for (int i = 0; i < 200; i++) {
        try {
            throw i;
        } catch (int caught) {
            must(caught == i);
        }
    }
    return unused;
}

HAZARD(life, exceptions_in_threads, "") {
    for (int i = 0; i < 50; i++) {
        in_a_thread(throwing, nullptr);
    }
}

/* Destructors of thread-local objects, which the C library calls before those of thread-specific data. */
struct Held {
    std::vector<std::string> texts;
    ~Held() {
        texts.emplace_back(5000, 'x');
        for (const std::string &text : texts) {
            must(text.back() == 'x');
        }
    }
};

static thread_local Held held;

static void *hold(void *unused) {
    for (size_t size = 1; size < 3000; size *= 2) {
        held.texts.emplace_back(size, 'x');
    }
    return unused;
}

HAZARD(life, thread_local_objects_allocate_at_their_end, "") {
    for (int i = 0; i < 500; i++) {
        in_a_thread(hold, nullptr);
    }
    hold(nullptr);
}
