/* Times one operation. Usage: shim_bench OPERATION PATH COUNT. Prints nanoseconds:
 * - open, stat …: what the C library alone takes, and what a library before it adds. Both are called in
 *   turns, a few times each, and the median of the differences counts: what else the machine does hits
 *   both alike.
 * - start: the median of starting a program.
 * - each, each 99: the 50th or 99th percentile of opens of different files.
 * - question: the 50th percentile of a byte sent to another process over a Unix socket, and one back: what
 *   the machine takes for that, whatever is asked. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAIRS = 600, CALLS = 200, NAMES = 100 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}
static int by_value(const void *a, const void *b) {
    double x = *(const double *)a - *(const double *)b;
    return x < 0 ? -1 : x > 0;
}

typedef int (*open_call)(const char *, int, ...);
typedef int (*stat_call)(const char *, struct stat *);
static struct stat st;

/* Nanoseconds a call of one or the other function, over a few names. */
static double time_opens(open_call call, const char *const *paths, int names, int first) {
    double begun = now();
    for (int i = 0; i < CALLS; i++) close(call(paths[(first + i) % names], O_RDONLY));
    return (now() - begun) / CALLS;
}
static double time_stats(stat_call call, const char *const *paths, int names, int first) {
    double begun = now();
    for (int i = 0; i < CALLS; i++) call(paths[(first + i) % names], &st);
    return (now() - begun) / CALLS;
}

static void in_turns(const char *name, const char *const *paths, int names) {
    static double plain[PAIRS], added[PAIRS];
    void *libc = dlopen("libc.so.6", RTLD_NOLOAD | RTLD_LAZY);
    void *theirs = dlsym(libc, name), *ours = dlsym(RTLD_DEFAULT, name);
    int opens = *name == 'o';
    for (int i = 0; i < PAIRS; i++) {
        for (int turn = 0; turn < 2; turn++) {
            /* Who comes first finds the caches colder. */
            void *call = (turn ^ i) & 1 ? ours : theirs;
            double ns = opens ? time_opens(call, paths, names, i * CALLS)
                              : time_stats(call, paths, names, i * CALLS);
            if (call == theirs) plain[i] = ns;
            else added[i] = ns;
            if (ours == theirs) added[i] = ns;
        }
        added[i] -= plain[i];
    }
    qsort(plain, PAIRS, sizeof *plain, by_value);
    qsort(added, PAIRS, sizeof *added, by_value);
    printf("%.1f %.1f\n", plain[PAIRS / 2], added[PAIRS / 2]);
}

static void one_by_one(const char *path, int count, int percent) {
    double *times = calloc(count, sizeof *times);
    char name[4096];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s%d", path, i);
        double begun = now();
        int fd = open(name, O_RDONLY);
        times[i] = now() - begun;
        close(fd);
    }
    qsort(times, count, sizeof *times, by_value);
    printf("%.0f\n", times[count * percent / 100]);
}

static void questions(int count) {
    double *times = calloc(count, sizeof *times);
    char byte = 0;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return;
    if (!fork()) {
        close(ends[0]);
        while (read(ends[1], &byte, 1) == 1) write(ends[1], &byte, 1);
        _exit(0);
    }
    close(ends[1]);
    for (int i = 0; i < count; i++) {
        double begun = now();
        write(ends[0], &byte, 1);
        read(ends[0], &byte, 1);
        times[i] = now() - begun;
    }
    close(ends[0]);
    qsort(times, count, sizeof *times, by_value);
    printf("%.0f\n", times[count / 2]);
}

/* The environment is for the program, not for this one: the library is in $PRELOAD. */
static void starts(const char *program, int count) {
    extern char **environ;
    double *times = calloc(count, sizeof *times);
    char *const argv[] = {(char *)program, NULL};
    const char *preload = getenv("PRELOAD");
    if (preload) setenv("LD_PRELOAD", preload, 1);
    for (int i = 0; i < count; i++) {
        pid_t child;
        double begun = now();
        if (!posix_spawn(&child, program, NULL, NULL, argv, environ)) waitpid(child, NULL, 0);
        times[i] = now() - begun;
    }
    qsort(times, count, sizeof *times, by_value);
    printf("%.0f\n", times[count / 2]);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    const char *operation = argv[1], *path = argv[2];
    int count = atoi(argv[3]);
    static char names[NAMES][4096];
    const char *paths[NAMES];
    for (int i = 0; i < NAMES; i++) {
        snprintf(names[i], sizeof names[i], "%s%d", path, i);
        paths[i] = names[i];
    }
    if (!strcmp(operation, "open") || !strcmp(operation, "stat")) in_turns(operation, &path, 1);
    if (!strcmp(operation, "open many")) in_turns("open", paths, NAMES);
    if (!strcmp(operation, "start")) starts(path, count);
    if (!strcmp(operation, "each")) one_by_one(path, count, 50);
    if (!strcmp(operation, "each 99")) one_by_one(path, count, 99);
    if (!strcmp(operation, "question")) questions(count);
    return 0;
}
