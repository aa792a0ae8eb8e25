/* Loaded with LD_AUDIT, in a name space of its own with a C library of its own; allocates there. */
#include <link.h>
#include <stdlib.h>

unsigned la_version(unsigned version) {
    free(malloc(100));
    return version;
}

unsigned la_objopen(struct link_map *map, Lmid_t space, uintptr_t *cookie) {
    (void)map, (void)space, (void)cookie;
    free(malloc(1000));
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}
