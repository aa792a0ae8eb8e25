/* Guards behind large blocks. One case by name; HOW before it makes guards of another kind:
   guards [marks|pages|filtered|refused] CASE [BYTES]. */
#include "advices.h"
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { PAGE = 4096, INSTALL = 102, REMOVE = 103, SLOTS = 40 };

static void *written(void *block) {
    must(block != NULL);
    memset(block, 'x', malloc_usable_size(block));
    return block;
}

/* The first byte that no program may count on. */
static void overrun(void *block) {
    ((volatile char *)written(block))[malloc_usable_size(block)] = 'x';
}

/* Whatever comes from the heap can be written and read to its end, however it was used before. */
static void churn(uint64_t seed, int rounds) {
    static char *table[SLOTS];
    for (int i = 0; i < rounds; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        char **slot = &table[(seed >> 33) % SLOTS];
        size_t size = (size_t)1 << (12 + (seed >> 40) % 10);
        size += (seed >> 50) % 3 ? (seed >> 20) % size : 0;
        switch ((seed >> 60) % 8) {
        case 0:
            free(*slot);
            *slot = calloc(1, size);
            must(*slot != NULL);
            for (size_t at = 0; at < size; at += 512) {
                must((*slot)[at] == 0);
            }
            break;
        case 1:
            *slot = realloc(*slot, size);
            break;
        case 2:
            *slot = realloc(*slot, *slot ? malloc_usable_size(*slot) + 30000 : size);
            break;
        case 3:
            free(*slot);
            *slot = aligned_alloc(PAGE << (seed >> 45) % 8, size);
            break;
        case 4:
            free(*slot);
            *slot = NULL;
            if (i % 64 == 0) {
                malloc_trim(0);
            }
            break;
        default:
            free(*slot);
            *slot = malloc(size);
        }
        if (*slot) {
            written(*slot);
        }
    }
    for (int i = 0; i < SLOTS; i++) {
        free(table[i]);
        table[i] = NULL;
    }
}

static int mappings(void) {
    char line[512];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    must(maps != NULL);
    while (fgets(line, sizeof line, maps)) {
        count++;
    }
    fclose(maps);
    return count;
}

int main(int count, char **arguments) {
    must(count == 3 || count == 4);
    const char *how = arguments[1], *what = arguments[2];
    size_t size = count == 4 ? strtoul(arguments[3], NULL, 10) : 1 << 20;
    if (strcmp(how, "pages") == 0) {
        answer_advices(INSTALL, REMOVE, SECCOMP_RET_ERRNO | EINVAL, 0);
    }
    if (strcmp(what, "fresh") == 0) {
        overrun(malloc(size));
    } else if (strcmp(what, "zeroed") == 0) {
        overrun(calloc(1, size));
    } else if (strcmp(what, "aligned") == 0) {
        overrun(aligned_alloc(1 << 18, size));
    } else if (strcmp(what, "reused") == 0) {
        void *first = written(malloc(size));
        free(first);
        void *again = malloc(size);
        must(again == first);
        overrun(again);
    } else if (strcmp(what, "reused-smaller") == 0) {
        free(written(malloc(2 * size)));
        overrun(malloc(size));
    } else if (strcmp(what, "grown") == 0) {
        /* The block before has lost its guard by growing. */
        free(written(realloc(written(malloc(size - 2 * PAGE)), size)));
        overrun(malloc(size));
    } else if (strcmp(what, "purged") == 0) {
        free(written(malloc(size)));
        malloc_trim(0);
        overrun(malloc(size));
    } else if (strcmp(what, "shrunk") == 0) {
        /* In place, and not by so much that units go back: the guard stays where it was. */
        char *block = malloc(size);
        must(realloc(block, size - PAGE) == block);
        ((volatile char *)written(block))[size] = 'x';
    } else if (strcmp(what, "in-a-child") == 0) {
        void *block = malloc(size);
        pid_t child = fork();
        must(child >= 0);
        if (child == 0) {
            overrun(block);
        }
        int status;
        must(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    } else if (strcmp(what, "churn") == 0) {
        churn(1, 3000);
        if (strcmp(how, "filtered") == 0) {
            answer_advices(INSTALL, REMOVE, SECCOMP_RET_KILL_PROCESS, 1);
        } else if (strcmp(how, "refused") == 0) {
            answer_advices(INSTALL, REMOVE, SECCOMP_RET_ERRNO | EPERM, 0);
        }
        churn(2, 3000);
        pid_t child = fork();
        must(child >= 0);
        churn(3, 3000);
        if (child == 0) {
            return 0;
        }
        int status;
        must(waitpid(child, &status, 0) == child && status == 0);
    } else if (strcmp(what, "many") == 0) {
        int before = mappings();
        for (int i = 0; i < 2000; i++) {
            must(malloc(size) != NULL);
        }
        must(mappings() < before + 600);
    } else if (strcmp(what, "locked") == 0) {
        written(malloc(size));
        must(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
        churn(4, 500);
    } else if (strcmp(what, "untouched") == 0) {
        for (int i = 0; i < 4000; i++) {
            must(malloc(100000) != NULL);
        }
        pause_here("ready");
    } else {
        return 94;
    }
    say("went on");
    return 0;
}
