/* The test's side is tests/src/process.rs. Nothing here allocates. */
#pragma once
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Writes one line to stdout. snprintf allocates nothing for the conversions used here. */
__attribute__((format(printf, 1, 2), unused)) static void say(const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (length < 0 || length > (int)sizeof line - 2) {
        length = sizeof line - 2;
    }
    line[length] = '\n';
    if (write(1, line, (size_t)length + 1) != length + 1) {
        _exit(90);
    }
}

/* Waits until the test lets us go on. */
__attribute__((unused)) static void wait_for_go(void) {
    char byte;
    ssize_t count;
    do {
        count = read(0, &byte, 1);
    } while (count < 0 && errno == EINTR);
    if (count != 1) {
        _exit(91); /* the test has gone */
    }
}

/* The segment comes with the first call of the allocator; many of these programs would make none before a pause. */
__attribute__((constructor)) static void wake_the_allocator(void) {
    void *volatile block = malloc(1);
    free(block);
}

/* "Here I am": the test may look now. */
#define pause_here(...) (say(__VA_ARGS__), wait_for_go())

/* Ends the program with a line on stderr. */
#define fail(...)                                                                                                     \
    do {                                                                                                              \
        char failure[512];                                                                                            \
        int failure_length = snprintf(failure, sizeof failure, __VA_ARGS__);                                          \
        (void)!write(2, failure, failure_length < 511 ? failure_length : 511);                                        \
        (void)!write(2, "\n", 1);                                                                                     \
        _exit(92);                                                                                                    \
    } while (0)

#define must(condition)                                                                                               \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fail("%s:%d: %s (errno %d)", __FILE__, __LINE__, #condition, errno);                                      \
        }                                                                                                             \
    } while (0)
