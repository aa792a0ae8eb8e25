/* Takes the addresses of `malloc` and `free`, which in a program at a fixed place are its own, and allocates nothing before it
   looks whether it is published. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *(*volatile take)(size_t);
void (*volatile give)(void *);

int main(void) {
    char path[64];
    snprintf(path, sizeof path, "/dev/shm/statsalloc.%d", getpid());
    int is_published = access(path, F_OK) == 0;
    take = malloc;
    give = free;
    give(take(100));
    return is_published ? 0 : 1;
}
