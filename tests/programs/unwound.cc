/* Asks at every instruction of an operator new whether a backtrace leads back to the program, as a profiler does at some.
   Says at how many it was asked, and at how many not. */
#include <csignal>
#include <cstdio>
#include <cstring>
#include <execinfo.h>
#include <new>
#include <ucontext.h>

extern char __executable_start, etext;

namespace {

volatile bool within;
int steps, lost;

bool is_ours(void *frame) {
    return frame >= &__executable_start && frame < &etext;
}

void stepped(int, siginfo_t *, void *) {
    if (!within) {
        return;
    }
    void *frames[64];
    steps++;
    int count = backtrace(frames, 64), ours = 0;
    for (int i = 0; i < count; i++) {
        ours += is_ours(frames[i]);
    }
    /* This handler, the function that allocates, and main. */
    lost += ours < 3;
}

[[gnu::noinline]] char *taken(size_t size) {
    within = true;
    char *block = static_cast<char *>(operator new(size));
    within = false;
    return block;
}

}

int main() {
    /* Loads what backtrace needs. */
    void *frames[4];
    backtrace(frames, 4);
    operator delete(taken(10));
    struct sigaction action = {};
    action.sa_sigaction = stepped;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGTRAP, &action, nullptr);
    __asm__ volatile("pushf; orq $0x100, (%%rsp); popf" : : : "memory", "cc");
    char *block = taken(3000000);
    __asm__ volatile("pushf; andq $~0x100, (%%rsp); popf" : : : "memory", "cc");
    std::printf("%d %d\n", steps, lost);
    operator delete(block);
}
