/* Preloaded after the library: evicts a file in the very moment between the kernel's open and the
 * library's look at what it opened. As the evictor does it: away by a rename, then unlinked. $EVICTS says
 * how often. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void evict(const char *path) {
    static int left = -1;
    char trash[4200];
    if (left < 0) left = atoi(getenv("EVICTS"));
    if (!strstr(path, "/victim") || left == 0) return;
    left--;
    snprintf(trash, sizeof trash, "%s.trash", path);
    if (!syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, trash, 0)) syscall(SYS_unlinkat, AT_FDCWD, trash, 0);
}

static int opened(int fd, const char *path, int flags) {
    if (fd >= 0 && (flags & O_ACCMODE) != O_RDONLY) evict(path);
    return fd;
}

#define MODE                                                                                       \
    va_list rest;                                                                                  \
    va_start(rest, flags);                                                                         \
    int mode = flags & O_CREAT ? va_arg(rest, int) : 0;                                            \
    va_end(rest)

int open(const char *path, int flags, ...) {
    MODE;
    return opened(syscall(SYS_openat, AT_FDCWD, path, flags, mode), path, flags);
}
int open64(const char *path, int flags, ...) {
    MODE;
    return opened(syscall(SYS_openat, AT_FDCWD, path, flags, mode), path, flags);
}
int openat(int dirfd, const char *path, int flags, ...) {
    MODE;
    return opened(syscall(SYS_openat, dirfd, path, flags, mode), path, flags);
}
FILE *fopen(const char *path, const char *mode) {
    FILE *stream = ((FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen"))(path, mode);
    if (stream && *mode != 'r') evict(path);
    return stream;
}
