/* engine_bench: writes or reads many files and prints how long each took.
 *
 *   engine_bench write DIR COUNT SIZE           DIR/<n / 500>/<n>, each by open, write, close
 *   engine_bench read  DIR COUNT SIZE PROCS     the same files, by so many processes side by side
 *
 * Prints: seconds in all, median and 99th percentile of one file in microseconds. */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void path_of(char *path, size_t room, const char *dir, long n) {
    snprintf(path, room, "%s/%ld/%ld", dir, n / 500, n);
}

static void write_one(const char *dir, long n, const char *bytes, size_t size) {
    char path[4096];
    if (n % 500 == 0) {
        snprintf(path, sizeof path, "%s/%ld", dir, n / 500);
        mkdir(path, 0755);
    }
    path_of(path, sizeof path, dir, n);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) err(1, "%s", path);
    for (size_t at = 0; at < size;) {
        ssize_t done = write(fd, bytes + at, size - at);
        if (done < 0) err(1, "%s", path);
        at += (size_t)done;
    }
    close(fd);
}

static void read_one(const char *dir, long n, char *bytes, size_t size) {
    char path[4096];
    path_of(path, sizeof path, dir, n);
    int fd = open(path, O_RDONLY);
    if (fd < 0) err(1, "%s", path);
    size_t got = 0;
    for (ssize_t done; (done = read(fd, bytes, size)) > 0;) got += (size_t)done;
    if (got != size) errx(1, "%s: %zu bytes", path, got);
    close(fd);
}

int main(int argc, char **argv) {
    if (argc < 5) errx(2, "usage: engine_bench write|read DIR COUNT SIZE [PROCS]");
    int is_write = strcmp(argv[1], "write") == 0;
    const char *dir = argv[2];
    long count = atol(argv[3]), procs = argc > 5 ? atol(argv[5]) : 1;
    size_t size = (size_t)atol(argv[4]);
    char *bytes = malloc(size + 1);
    if (!bytes) err(1, "malloc");
    for (size_t i = 0; i < size; i++) bytes[i] = (char)(i * 2654435761u >> 13);
    double *took = mmap(NULL, (size_t)count * sizeof *took, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (took == MAP_FAILED) err(1, "mmap");
    double begun = now();
    for (long p = 0; p < procs; p++) {
        if (fork() != 0) continue;
        for (long n = p; n < count; n += procs) {
            double from = now();
            if (is_write) write_one(dir, n, bytes, size);
            else read_one(dir, n, bytes, size);
            took[n] = now() - from;
        }
        _exit(0);
    }
    int failed = 0;
    for (int status; wait(&status) > 0;) failed |= status;
    if (failed) errx(1, "a process failed");
    double all = now() - begun;
    qsort(took, (size_t)count, sizeof *took, ascending);
    printf("%.6f %.2f %.2f\n", all, took[count / 2] * 1e6, took[count * 99 / 100] * 1e6);
    return 0;
}
