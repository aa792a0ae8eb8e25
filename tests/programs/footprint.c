/* How much memory a program keeps. Usage: footprint MODE; says figures of its own and waits for the test. */
#include "resident.h"
#include <malloc.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

static char page[1 << 16];

static long maps(void) {
    int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    must(file >= 0);
    long lines = 0;
    ssize_t length;
    while ((length = read(file, page, sizeof page)) > 0) {
        for (ssize_t i = 0; i < length; i++) {
            lines += page[i] == '\n';
        }
    }
    close(file);
    return lines;
}

static void *touched(size_t size) {
    char *block = malloc(size);
    must(block != NULL);
    memset(block, 1, size);
    return block;
}

enum { SMALL = 400000, LARGE = 200 };
static void *blocks[SMALL + LARGE];

enum { SCATTERED = 50000, SIZE = 2000 };

static void fill(int i) {
    must((blocks[i] = malloc(SIZE)) != NULL);
    memset(blocks[i], i, SIZE);
}

static bool is_whole(int i) {
    const unsigned char *block = blocks[i];
    for (int at = 0; at < SIZE; at++) {
        if (block[at] != (unsigned char)i) {
            return false;
        }
    }
    return true;
}

enum { MIB = 1 << 20, CROWD = 20000 };

/* A buffer that grows by a half to 3 GiB, of which a byte in every MiB is written, and blocks that are taken after each step lie in its
   way. How often it was moved. */
static int grown_by_halves(void) {
    int moved = 0;
    size_t size = MIB;
    char *buffer = touched(size);
    while (size < 3000UL * MIB) {
        size_t next = (size / 2 * 3) & ~(size_t)4095;
        char *grown = realloc(buffer, next);
        must(grown != NULL);
        moved += grown != buffer;
        buffer = grown;
        must(buffer[MIB - 1] == 1);
        for (size_t at = MIB; at < next; at += MIB) {
            must(buffer[at] == (at < size ? (char)(at / MIB) : 0));
            buffer[at] = (char)(at / MIB);
        }
        size = next;
        for (int k = 0; k < 3; k++) {
            must(malloc(size / 16) != NULL && malloc(40000) != NULL);
        }
    }
    return moved;
}

/* Blocks that grow, each in the way of the next, until there are too many mappings to move more; of each a byte is written. */
static void crowd(void) {
    static char *grown[CROWD];
    for (int i = 0; i < CROWD; i++) {
        must((grown[i] = malloc(1500000)) != NULL);
        grown[i][1000000] = (char)i;
    }
    for (int i = 0; i < CROWD; i++) {
        must((grown[i] = realloc(grown[i], 3200000)) != NULL);
    }
    for (int i = 0; i < CROWD; i++) {
        must(grown[i][1000000] == (char)i && grown[i][999999] == 0);
    }
}

/* Zeroed blocks of 64 MiB in all, of sizes that lie in slabs: how many KiB more are resident before anything is written to them. They
   read as zero, also where others were before. */
static long blank(void) {
    static const size_t sizes[] = {1200, 3000, 8000, 30000};
    static size_t size[SMALL];
    enum { ALL = 64 * MIB, SIZES = sizeof sizes / sizeof *sizes };
    long before = resident(), after = 0;
    for (int round = 0; round < 3; round++) {
        int count = 0;
        /* Of each as many bytes. */
        for (int k = 0; k < SIZES; k++) {
            for (size_t taken = 0; taken < ALL / SIZES; taken += sizes[k]) {
                must((blocks[count] = calloc(1, sizes[k])) != NULL);
                size[count++] = sizes[k];
            }
        }
        if (round == 0) {
            after = resident();
        }
        for (int i = 0; i < count; i++) {
            unsigned char *block = blocks[i];
            for (size_t at = 0; at < size[i]; at++) {
                must(block[at] == 0);
            }
            memset(block, 255, size[i]);
        }
        for (int i = 0; i < count; i++) {
            free(blocks[i]);
        }
    }
    return after - before;
}

/* 100 MB in blocks of 2,000 bytes, of which one in ten stays, anywhere. */
static void scatter(void) {
    unsigned seed = 1;
    for (int i = 0; i < SCATTERED; i++) {
        fill(i);
    }
    for (int i = 0; i < SCATTERED; i++) {
        seed = seed * 1103515245 + 12345;
        if ((seed >> 16) % 10 != 0) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
    }
}

static void work_a_little(void) {
    for (int i = 0; i < 1000; i++) {
        free(touched(100));
    }
    struct timespec pause = {0, 1000000};
    nanosleep(&pause, NULL);
}

/* Those that stayed have kept what was in them, and the others are there again. */
static void gather(void) {
    for (int i = 0; i < SCATTERED; i++) {
        if (blocks[i] == NULL) {
            fill(i);
        }
    }
    for (int i = 0; i < SCATTERED; i++) {
        must(is_whole(i));
    }
}

/* 40 MiB in small blocks and 200 MiB in large ones, all touched, all freed. */
static void rise_and_fall(void) {
    for (int i = 0; i < SMALL; i++) {
        blocks[i] = touched(100);
    }
    for (int i = SMALL; i < SMALL + LARGE; i++) {
        blocks[i] = touched(1 << 20);
    }
    say("%ld", resident());
    for (int i = 0; i < SMALL + LARGE; i++) {
        free(blocks[i]);
    }
}

int main(int count, char **arguments) {
    must(count == 2);
    const char *mode = arguments[1];
    say("%ld", resident());
    if (strcmp(mode, "trim") == 0) {
        rise_and_fall();
        malloc_trim(0);
        pause_here("%ld", resident());
    } else if (strcmp(mode, "large") == 0) {
        for (int i = 0; i < LARGE; i++) {
            blocks[i] = touched(1 << 20);
        }
        say("%ld", resident());
        for (int i = 0; i < LARGE; i++) {
            free(blocks[i]);
        }
        pause_here("%ld", resident());
    } else if (strcmp(mode, "decay") == 0) {
        rise_and_fall();
        /* The program goes on with a little work; the test's deadline ends it if nothing is ever given back. */
        while (resident() > 100 * 1024) {
            work_a_little();
        }
        pause_here("%ld", resident());
    } else if (strcmp(mode, "moves") == 0) {
        /* Large blocks that all grow in turn, so that most must move, again and again. */
        for (int i = 0; i < 300; i++) {
            blocks[i] = touched(100000);
        }
        for (size_t size = 100000; size < 3000000; size += size / 8) {
            for (int i = 0; i < 300; i++) {
                char *block = realloc(blocks[i], size);
                must(block != NULL && block[0] == 1 && block[99999] == 1);
                block[size - 1] = 1;
                blocks[i] = block;
            }
        }
        pause_here("%ld", maps());
    } else if (strcmp(mode, "pieces") == 0) {
        int moved = grown_by_halves();
        pause_here("%d %ld", moved, resident());
    } else if (strcmp(mode, "blank") == 0) {
        long more = blank();
        pause_here("%ld", more);
    } else if (strcmp(mode, "crowd") == 0) {
        crowd();
        pause_here("%ld", resident());
    } else if (strcmp(mode, "doubling") == 0) {
        /* Buffers in each other's way that double, for as long as a server might. */
        for (int i = 0; i < 2000; i++) {
            char *buffers[4];
            for (int k = 0; k < 4; k++) {
                must((buffers[k] = malloc(1 << 20)) != NULL);
                buffers[k][0] = (char)(i + k);
            }
            for (size_t size = 2 << 20; size <= 16 << 20; size *= 2) {
                for (int k = 0; k < 4; k++) {
                    must((buffers[k] = realloc(buffers[k], size)) != NULL && buffers[k][0] == (char)(i + k));
                }
            }
            for (int k = 0; k < 4; k++) {
                free(buffers[k]);
            }
        }
        pause_here("%ld", maps());
    } else if (strcmp(mode, "reuse") == 0) {
        unsigned seed = 1;
        for (int i = 0; i < 200000; i++) {
            seed = seed * 1103515245 + 12345;
            unsigned slot = (seed >> 16) % 64;
            free(blocks[slot]);
            seed = seed * 1103515245 + 12345;
            blocks[slot] = malloc((seed >> 8) % 2000000);
            must(blocks[slot] != NULL);
        }
        pause_here("%ld", resident());
    } else if (strcmp(mode, "replaced") == 0) {
        /* Blocks of 16 KiB to 4 MiB, replaced at random. Says how many ms that took. */
        struct timespec from, to;
        must(clock_gettime(CLOCK_MONOTONIC, &from) == 0);
        for (unsigned i = 0, seed = 1; i < 6000; i++) {
            seed = seed * 1103515245 + 12345;
            size_t base = (size_t)16384 << (seed >> 8) % 8;
            void **block = &blocks[(seed >> 16) % 24];
            free(*block);
            must((*block = malloc(base + (seed >> 4) % base)) != NULL);
            for (size_t at = 0; at < base; at += 4096) {
                ((char *)*block)[at] = 1;
            }
        }
        must(clock_gettime(CLOCK_MONOTONIC, &to) == 0);
        pause_here("%ld", (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000);
    } else if (strcmp(mode, "zeroed") == 0) {
        /* Of 5 MiB that are live in 16 blocks, one is replaced at a time. Says the most that was resident. */
        long most = 0;
        for (int i = 0; i < 2000; i++) {
            size_t size = (size_t)(128 + i * 37 % 400) << 10;
            free(blocks[i * 5 % 16]);
            must((blocks[i * 5 % 16] = calloc(1, size)) != NULL);
            memset(blocks[i * 5 % 16], 1, size);
            long now = resident();
            most = now > most ? now : most;
        }
        pause_here("%ld", most);
    } else if (strcmp(mode, "grows") == 0) {
        /* A buffer doubles from 64 KiB to 4 MiB, with small blocks in between. Says how often it moved on its way. */
        long moved = 0;
        for (int i = 0; i < 100; i++) {
            char *buffer = realloc(malloc(1 << 15), 1 << 16);
            for (size_t size = 1 << 17; size <= 4 << 20; size *= 2) {
                must((blocks[size >> 17] = malloc(48)) != NULL);
                char *grown = realloc(buffer, size);
                must(grown != NULL);
                moved += grown != buffer;
                buffer = grown;
                memset(buffer, 1, size);
            }
            free(buffer);
            for (size_t size = 1 << 17; size <= 4 << 20; size *= 2) {
                free(blocks[size >> 17]);
            }
        }
        pause_here("%ld", moved);
    } else if (strcmp(mode, "scattered") == 0) {
        scatter();
        say("%ld", resident());
        /* The program goes on with a little work; the test's deadline ends it if too little is ever given back. Then it goes on
           for as long again: nothing may come back. */
        int rounds = 0;
        while (resident() > 30 << 10) {
            work_a_little();
            rounds++;
        }
        while (rounds-- > 0) {
            work_a_little();
        }
        pause_here("%ld", resident());
        pid_t child = fork();
        must(child >= 0);
        gather();
        if (child == 0) {
            _exit(0);
        }
        int status;
        must(waitpid(child, &status, 0) == child && status == 0);
        pause_here("%ld", resident());
    } else if (strcmp(mode, "sparse") == 0) {
        scatter();
        say("%ld", resident());
        malloc_trim(0);
        pause_here("%ld", resident());
        gather();
        for (int i = 0; i < SCATTERED; i++) {
            free(blocks[i]);
        }
        malloc_trim(0);
        pause_here("%ld", resident());
    } else if (strcmp(mode, "thirds") == 0) {
        /* Blocks that share their pages unevenly, in memory that others have used. Every third stays for a while. Says what the
           first and the second malloc_trim return, then that all are free. */
        for (int i = 0; i < SCATTERED; i++) {
            fill(i);
        }
        for (int i = 0; i < SCATTERED; i++) {
            free(blocks[i]);
        }
        enum { UNEVEN = 7168, COUNT = SCATTERED * SIZE / UNEVEN };
        for (int i = 0; i < COUNT; i++) {
            blocks[i] = touched(UNEVEN);
        }
        for (int i = 0; i < COUNT; i++) {
            if (i % 3 != 0) {
                free(blocks[i]);
            }
        }
        int first = malloc_trim(0), second = malloc_trim(0);
        pause_here("%d", first * 10 + second);
        for (int i = 0; i < COUNT; i += 3) {
            free(blocks[i]);
        }
        pause_here("%ld", resident());
    } else if (strcmp(mode, "halves") == 0) {
        /* 16 buffers that grow by a half in turn, to 1 MiB on average, are written and dropped. Says the most that was resident. */
        enum { BUFFERS = 16, ROUNDS = 20 };
        long most = 0;
        for (int round = 0; round < ROUNDS; round++) {
            size_t sizes[BUFFERS];
            for (int i = 0; i < BUFFERS; i++) {
                blocks[i] = NULL;
                sizes[i] = 1000 + (size_t)(i * 7 + round * 5) % 16 * 100;
            }
            for (int step = 0; step < 16; step++) {
                for (int i = 0; i < BUFFERS; i++) {
                    sizes[i] += sizes[i] / 2;
                    must((blocks[i] = realloc(blocks[i], sizes[i])) != NULL);
                    memset(blocks[i], 1, sizes[i]);
                }
            }
            long now = resident();
            most = now > most ? now : most;
            for (int i = 0; i < BUFFERS; i++) {
                free(blocks[i]);
            }
        }
        pause_here("%ld", most);
    } else if (strcmp(mode, "classes") == 0) {
        /* Two slabs of each of 24 classes, all freed; then 16 MiB in one other class. */
        int taken = 0;
        for (size_t size = 1024 + 128; size <= 8192; size += size < 2048 ? 128 : size < 4096 ? 256 : 512) {
            for (size_t k = 0; k < (128 << 10) / size; k++) {
                blocks[taken++] = touched(size);
            }
        }
        while (taken > 0) {
            free(blocks[--taken]);
        }
        for (int i = 0; i < (16 << 20) / 512; i++) {
            blocks[i] = touched(512);
        }
        pause_here("%ld", resident());
    } else if (strcmp(mode, "gaps") == 0) {
        /* 24 MiB in blocks of 512 bytes, of which one in 1,024 stays; then 12 MB in blocks of 12,000. */
        enum { FIRST = (24 << 20) / 512, THEN = 1000 };
        for (int i = 0; i < FIRST; i++) {
            blocks[i] = touched(512);
        }
        for (int i = 0; i < FIRST; i++) {
            if (i % 1024 != 0) {
                free(blocks[i]);
            }
        }
        for (int i = 0; i < THEN; i++) {
            touched(12000);
        }
        pause_here("%ld", resident());
    } else if (strcmp(mode, "granules") == 0) {
        /* For each slab of blocks of 48 bytes three of larger blocks, taken in turn. */
        int taken = 0;
        for (int i = 0; i < 16; i++) {
            for (int k = 0; k < (64 << 10) / 48; k++) {
                blocks[taken++] = touched(48);
            }
            for (size_t size = 1024; size <= 4096; size *= 2) {
                for (size_t k = 0; k < (64 << 10) / size; k++) {
                    blocks[taken++] = touched(size);
                }
            }
        }
        pause_here("%ld", resident());
    }
    return 0;
}
