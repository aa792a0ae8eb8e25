/* What the heap counts, by malloc_info. Allocates nothing but at its first call. */
#pragma once
#include "handshake.h"
#include <malloc.h>

struct totals {
    long requested, allocated, blocks;
};

static long total_of(const char *text, const char *name) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, "<total type=\"%s\" ", name);
    const char *found = strstr(text, wanted);
    must(found != NULL);
    return atol(strchr(found + strlen(wanted), '"') + 1);
}

/* What the heap counts now. */
static struct totals count(void) {
    static char text[1 << 16], buffer[1 << 16];
    static FILE *stream;
    if (stream == NULL) {
        must((stream = fmemopen(text, sizeof text, "w")) != NULL);
        must(setvbuf(stream, buffer, _IOFBF, sizeof buffer) == 0);
    }
    rewind(stream);
    must(malloc_info(0, stream) == 0 && fflush(stream) == 0);
    return (struct totals){total_of(text, "requested"), total_of(text, "allocated"), total_of(text, "live blocks")};
}
