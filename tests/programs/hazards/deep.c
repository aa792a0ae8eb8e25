/* A library that allocates and frees for others. */
#include <stdlib.h>
#include <string.h>

char *strdup_in_library(const char *text) {
    char *copy = malloc(strlen(text) + 1);
    return copy ? strcpy(copy, text) : copy;
}

void free_in_library(void *block) { free(block); }
