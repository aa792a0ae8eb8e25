/* A slice of GLib's, which is part of a larger block, given to free. Ends with 77 without GLib. */
#include "handshake.h"
#include <dlfcn.h>

int main(void) {
    void *glib = dlopen("libglib-2.0.so.0", RTLD_NOW);
    if (glib == NULL) {
        return 77;
    }
    void *(*slice_alloc)(size_t);
    *(void **)&slice_alloc = dlsym(glib, "g_slice_alloc");
    must(slice_alloc != NULL);
    char *first = slice_alloc(96), *slice = slice_alloc(96);
    must(first != NULL && slice != NULL);
    memset(slice, 1, 96);
    say("%p", (void *)slice);
    free(slice);
    say("survived");
    return 0;
}
