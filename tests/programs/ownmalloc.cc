/* A program with an allocator of its own under the C names, and no C++ operators of its own: the C++ library's use that one,
   as does the C library's `reallocarray`. */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

alignas(16) char arena[64 << 20];
size_t used;
long calls;

void must(bool condition, const char *what) {
    if (!condition) {
        (void)!write(2, what, std::strlen(what));
        _exit(92);
    }
}

bool is_ours(const void *block) {
    return static_cast<const char *>(block) >= arena && static_cast<const char *>(block) < arena + sizeof arena;
}

}

extern "C" {

void *malloc(size_t size) {
    calls++;
    size_t need = (size + 31) & ~size_t(15);
    must(used + need <= sizeof arena, "the arena is full\n");
    char *start = arena + used;
    used += need;
    std::memcpy(start, &size, sizeof size);
    return start + 16;
}

void free(void *block) {
    must(block == nullptr || is_ours(block), "another's block was freed\n");
}

void *calloc(size_t count, size_t size) {
    return malloc(count * size);
}

void *realloc(void *block, size_t size) {
    must(block == nullptr || is_ours(block), "another's block was resized\n");
    void *moved = malloc(size);
    if (block != nullptr) {
        size_t old;
        std::memcpy(&old, static_cast<char *>(block) - 16, sizeof old);
        std::memcpy(moved, block, old < size ? old : size);
    }
    return moved;
}

}

int main() {
    std::vector<std::string> texts;
    long before = calls;
    for (int i = 0; i < 1000; i++) {
        texts.push_back(std::string(size_t(100 + 3 * i), 'x'));
    }
    must(calls - before >= 1000, "new does not come to malloc\n");
    texts.clear();
    char *volatile block = static_cast<char *>(malloc(10));
    std::strcpy(block, "hello");
    block = static_cast<char *>(reallocarray(block, 100, 3));
    must(is_ours(block) && std::strcmp(block, "hello") == 0, "reallocarray does not come to realloc\n");
    free(block);
    block = static_cast<char *>(reallocarray(nullptr, 10, 10));
    free(block);
    must(reallocarray(nullptr, SIZE_MAX / 2, 3) == nullptr, "reallocarray does not see the overflow\n");
    /* Not by its name: a crashed process that had this PID may have left one of that name. */
    std::FILE *maps = std::fopen("/proc/self/maps", "r");
    must(maps != nullptr, "no /proc/self/maps\n");
    bool is_published = false;
    for (char line[512]; std::fgets(line, sizeof line, maps) != nullptr;) {
        is_published |= std::strstr(line, "/dev/shm/statsalloc.") != nullptr;
    }
    std::fclose(maps);
    must(!is_published, "the heap is published that the program does not use\n");
    std::puts("went on");
}
