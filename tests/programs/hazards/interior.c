/* Pointers into live blocks, and into blocks that are free. */
#include "hazard.h"
#include <malloc.h>

HAZARD(interior, sixteen_bytes_in, "") { free(take(100) + 16); }
HAZARD(interior, forty_eight_bytes_in, "") { free(take(100) + 48); }
HAZARD(interior, one_byte_in, "") { free(take(100) + 1); }
HAZARD(interior, eight_bytes_in, "") { free(take(100) + 8); }
HAZARD(interior, last_byte, "") { free(take(100) + 99); }
HAZARD(interior, middle_of_2_kib, "") { free(take(2048) + 1024); }
HAZARD(interior, middle_of_20_kib, "") { free(take(20000) + 9984); }
HAZARD(interior, page_of_large, "") { free(take(1000000) + 65536 - 16); }
HAZARD(interior, unit_of_large, "") { free(take(1000000) + 65536); }
HAZARD(interior, odd_of_large, "") { free(take(1000000) + 500001); }
HAZARD(interior, far_into_huge, "") { free(take(64 << 20) + (33 << 20)); }

HAZARD(interior, of_an_aligned_block, "") {
    char *block = aligned_alloc(4096, 8192);
    must(block != NULL);
    free(block + 4096);
}

HAZARD(interior, with_fake_headers, "") {
    /* Words before the pointer that look like a chunk's size to allocators that trust them. */
    size_t *block = (size_t *)take(400);
    for (int i = 0; i < 50; i++) {
        block[i] = 0x41;
    }
    char *volatile got = (char *)(block + 8);
    free(got);
    char *volatile again = malloc(0x38);
    if (again == got) {
        chosen(again);
    }
}

HAZARD(interior, realloc_inside, "") {
    char *volatile got = realloc(take(100) + 48, 10);
    (void)got;
}

HAZARD(interior, reallocarray_inside, "") {
    char *volatile got = reallocarray(take(100) + 32, 10, 10);
    (void)got;
}

HAZARD(interior, realloc_inside_large, "") {
    char *volatile got = realloc(take(1000000) + 4096, 10);
    (void)got;
}

HAZARD(interior, from_another_thread, "") { in_a_thread(free_it, take(100) + 16); }

HAZARD(interior, inside_a_freed_block, "") {
    char *block = take(100);
    free(block);
    free(block + 16);
}

HAZARD(interior, inside_a_freed_large_block, "") {
    char *block = take(1000000), *behind = take(1000000);
    free(block);
    free(block + 8192);
    free(behind);
}

/* A pool that carves an aligned block, and a caller that frees a slice of it: GLib's slice allocator, seen from free. */
HAZARD(interior, slice_of_a_memaligned_page, "") {
    void *page;
    must(posix_memalign(&page, 4096, 4096 - 16) == 0);
    memset(page, 0, 4096 - 16);
    free((char *)page + 96);
}
HAZARD(interior, usable_size_inside, "") { (void)malloc_usable_size(take(100) + 16); }
