/* open: the calls that open files.
 *
 * - A plain open of an evicted file restores it first.
 * - O_CREAT must not put an empty file over an evicted one: such an open is made without O_CREAT
 *   first, then the daemon is asked, and only "absent everywhere" lets it create.
 * - O_TRUNC does not need the old content, O_EXCL needs it only to fail.
 * - After an open for writing the descriptor must still be the file at its path.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shim.h"

typedef int (*open_call)(int dirfd, const char *path, int flags, mode_t mode);

static int plain_open(int dirfd, const char *path, int flags, mode_t mode) {
    (void)dirfd;
    return P4_REAL("open", int (*)(const char *, int, ...))(path, flags, mode);
}
static int plain_open64(int dirfd, const char *path, int flags, mode_t mode) {
    (void)dirfd;
    return P4_REAL("open64", int (*)(const char *, int, ...))(path, flags, mode);
}
static int plain_openat(int dirfd, const char *path, int flags, mode_t mode) {
    return P4_REAL("openat", int (*)(int, const char *, int, ...))(dirfd, path, flags, mode);
}
static int plain_openat64(int dirfd, const char *path, int flags, mode_t mode) {
    return P4_REAL("openat64", int (*)(int, const char *, int, ...))(dirfd, path, flags, mode);
}

static int needs_mode(int flags) { return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE; }

/* Opens that are not about a file's content. */
static int is_special(int flags) { return flags & (O_PATH | O_DIRECTORY); }

static int open_existing(open_call call, int dirfd, const char *path, int flags, mode_t mode) {
    P4_RECOVERING(int, -1, dirfd, path, call(dirfd, path, flags, mode));
}

static int open_creating(open_call call, int dirfd, const char *path, int flags, mode_t mode) {
    for (int try = 0; try < P4_TRIES; try++) {
        int fd = call(dirfd, path, flags & ~(O_CREAT | O_EXCL), mode);
        int exists = fd >= 0 || errno != ENOENT;
        if (exists && !(flags & O_EXCL)) return fd;
        if (fd >= 0) close(fd);
        if (exists) break;
        int found = p4_recover_before_create(dirfd, path);
        if (found < 0) return -1;
        if (!found) break;
    }
    return call(dirfd, path, flags, mode);
}

/* A file made or opened for truncation: what was remembered as absent is there now. */
__attribute__((noinline)) static void forget_absence(int dirfd, const char *path) {
    char relative[P4_MAX_PATH];
    int saved = errno;
    size_t length = p4_relative(dirfd, path, relative);
    if (length) p4_negative_remove(relative, length);
    errno = saved;
}

/* O_EXCL looks only: opening would follow FIFOs and break leases. */
static int open_exclusive(open_call call, int dirfd, const char *path, int flags, mode_t mode) {
    int fd = call(dirfd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd >= 0)
        close(fd);
    else if (errno == ENOENT && p4_recover_before_create(dirfd, path) < 0)
        return -1;
    return call(dirfd, path, flags, mode);
}

__attribute__((noinline)) static int open_any(open_call call, int dirfd, const char *path, int flags, mode_t mode) {
    if (!(flags & O_CREAT)) return open_existing(call, dirfd, path, flags, mode);
    int fd = flags & O_EXCL    ? open_exclusive(call, dirfd, path, flags, mode)
             : flags & O_TRUNC ? call(dirfd, path, flags, mode)
                               : open_creating(call, dirfd, path, flags, mode);
    if (fd >= 0) forget_absence(dirfd, path);
    return fd;
}

/* Opened for writing: made again while the file is being evicted. Apart, for its large frame. */
__attribute__((noinline)) static int keep_written(open_call call, int fd, int dirfd, const char *path,
                                                  int flags, mode_t mode) {
    char relative[P4_MAX_PATH];
    if (!p4_relative(dirfd, path, relative)) return fd;
    for (int try = 0; try < P4_TRIES && p4_was_replaced(fd, dirfd, path); try++) {
        close(fd);
        fd = open_any(call, dirfd, path, flags & ~O_EXCL, mode);
        if (fd < 0) return fd;
    }
    return fd;
}

static int shim_open(open_call call, int dirfd, const char *path, int flags, mode_t mode) {
    if (!p4_depot.active || is_special(flags)) return call(dirfd, path, flags, mode);
    int before = errno;
    int fd = open_any(call, dirfd, path, flags, mode);
    if (fd < 0) return fd;
    const char *below = *path == '/' ? p4_below_depot(path) : NULL;
    if (below) p4_note_access(below);
    if ((flags & O_ACCMODE) != O_RDONLY && (below || *path != '/'))
        fd = keep_written(call, fd, dirfd, path, flags, mode);
    if (fd >= 0) errno = before;
    return fd;
}

#define MODE_ARGUMENT(flags)                                                                       \
    mode_t mode = 0;                                                                               \
    if (needs_mode(flags)) {                                                                       \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

P4_API int open(const char *path, int flags, ...) {
    MODE_ARGUMENT(flags)
    return shim_open(plain_open, AT_FDCWD, path, flags, mode);
}
P4_API int open64(const char *path, int flags, ...) {
    MODE_ARGUMENT(flags)
    return shim_open(plain_open64, AT_FDCWD, path, flags, mode);
}
P4_API int openat(int dirfd, const char *path, int flags, ...) {
    MODE_ARGUMENT(flags)
    return shim_open(plain_openat, dirfd, path, flags, mode);
}
P4_API int openat64(int dirfd, const char *path, int flags, ...) {
    MODE_ARGUMENT(flags)
    return shim_open(plain_openat64, dirfd, path, flags, mode);
}

/* The names under which fortified programs call open without O_CREAT. */
P4_API int __open_2(const char *path, int flags) {
    return shim_open(plain_open, AT_FDCWD, path, flags, 0);
}
P4_API int __open64_2(const char *path, int flags) {
    return shim_open(plain_open64, AT_FDCWD, path, flags, 0);
}
P4_API int __openat_2(int dirfd, const char *path, int flags) {
    return shim_open(plain_openat, dirfd, path, flags, 0);
}
P4_API int __openat64_2(int dirfd, const char *path, int flags) {
    return shim_open(plain_openat64, dirfd, path, flags, 0);
}

P4_API int creat(const char *path, mode_t mode) {
    return shim_open(plain_open, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
P4_API int creat64(const char *path, mode_t mode) {
    return shim_open(plain_open64, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

/* ---- streams ---- */

/* "a" creates inside the C library, which our open does not see: the file is brought back before.
 * 0 with errno when nobody can say whether there is one. */
static int before_append(const char *path, const char *mode) {
    if (*mode != 'a') return 1;
    int fd = plain_open(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
    if (fd >= 0) return close(fd), 1;
    if (errno != ENOENT) return 1;
    int found = p4_recover_before_create(AT_FDCWD, path);
    if (!found) forget_absence(AT_FDCWD, path);
    return found >= 0;
}

static void note_stream(const char *path) {
    const char *below = *path == '/' ? p4_below_depot(path) : NULL;
    if (below) p4_note_access(below);
}

typedef FILE *(*fopen_call)(const char *, const char *);

static FILE *open_stream(fopen_call call, const char *path, const char *mode) {
    P4_RECOVERING(FILE *, NULL, AT_FDCWD, path, call(path, mode));
}

static FILE *shim_fopen(fopen_call call, const char *path, const char *mode) {
    if (!p4_depot.active) return call(path, mode);
    /* A bad path is for the C library to refuse: only a mode that creates makes us look first. */
    if (*mode == 'a' && !before_append(path, mode)) return NULL;
    FILE *stream = open_stream(call, path, mode);
    for (int try = 0; stream && try < P4_TRIES; try++) {
        int writes = *mode != 'r' || strchr(mode, '+');
        char relative[P4_MAX_PATH];
        if (!writes || !p4_relative(AT_FDCWD, path, relative)) break;
        if (!p4_was_replaced(fileno(stream), AT_FDCWD, path)) break;
        fclose(stream);
        if (!before_append(path, mode)) return NULL;
        stream = open_stream(call, path, mode);
    }
    if (stream) note_stream(path);
    return stream;
}

P4_API FILE *fopen(const char *path, const char *mode) {
    return shim_fopen(P4_REAL("fopen", fopen_call), path, mode);
}
P4_API FILE *fopen64(const char *path, const char *mode) {
    return shim_fopen(P4_REAL("fopen64", fopen_call), path, mode);
}

typedef FILE *(*freopen_call)(const char *, const char *, FILE *);

/* freopen closes the stream even when it fails, so the file is brought back before. */
static FILE *shim_freopen(freopen_call call, const char *path, const char *mode, FILE *stream) {
    if (!p4_depot.active || !path) return call(path, mode, stream);
    if (*mode == 'r') {
        int fd = open_existing(plain_open, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
        if (fd >= 0) close(fd);
    } else if (!before_append(path, mode)) {
        int saved = errno;
        fclose(stream);
        errno = saved;
        return NULL;
    }
    FILE *opened = call(path, mode, stream);
    if (opened) note_stream(path);
    return opened;
}

P4_API FILE *freopen(const char *path, const char *mode, FILE *stream) {
    return shim_freopen(P4_REAL("freopen", freopen_call), path, mode, stream);
}
P4_API FILE *freopen64(const char *path, const char *mode, FILE *stream) {
    return shim_freopen(P4_REAL("freopen64", freopen_call), path, mode, stream);
}
