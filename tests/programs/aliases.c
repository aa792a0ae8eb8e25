/* Every __libc_ alias once; what they gave is freed by both names. */
#include "handshake.h"
#include <dlfcn.h>

int main(void) {
    void *(*malloc1)(size_t) = dlsym(RTLD_DEFAULT, "__libc_malloc");
    void *(*calloc1)(size_t, size_t) = dlsym(RTLD_DEFAULT, "__libc_calloc");
    void *(*realloc1)(void *, size_t) = dlsym(RTLD_DEFAULT, "__libc_realloc");
    void *(*memalign1)(size_t, size_t) = dlsym(RTLD_DEFAULT, "__libc_memalign");
    void *(*valloc1)(size_t) = dlsym(RTLD_DEFAULT, "__libc_valloc");
    void *(*pvalloc1)(size_t) = dlsym(RTLD_DEFAULT, "__libc_pvalloc");
    void (*free1)(void *) = dlsym(RTLD_DEFAULT, "__libc_free");
    must(malloc1 && calloc1 && realloc1 && memalign1 && valloc1 && pvalloc1 && free1);
    pause_here("ready");
    void *blocks[6] = {malloc1(10), calloc1(3, 5), realloc1(NULL, 20), memalign1(64, 30), valloc1(40), pvalloc1(50)};
    blocks[0] = realloc1(blocks[0], 1000);
    pause_here("held");
    for (int i = 0; i < 6; i++) {
        must(blocks[i] != NULL);
        i % 2 ? free(blocks[i]) : free1(blocks[i]);
    }
    pause_here("freed");
    return 0;
}
