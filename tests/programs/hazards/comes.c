/* A library that is loaded and unloaded; its thread-local variables are many, and one owns a block. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static __thread char space[3000];
static __thread char *owned;
static pthread_key_t key;

__attribute__((constructor)) static void come(void) { pthread_key_create(&key, free); }
__attribute__((destructor)) static void go(void) { pthread_key_delete(key); }

void use_library(void) {
    free(owned);
    owned = malloc(500);
    memset(owned, 1, 500);
    memset(space, 1, sizeof space);
    free(owned);
    owned = NULL;
    pthread_setspecific(key, malloc(70));
}
