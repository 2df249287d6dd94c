/* open: the calls that open files.
 *
 * - A plain open of an evicted file restores it first. What the daemon cannot say is EIO (P3).
 * - O_CREAT must not put an empty file over an evicted one: such an open is made without O_CREAT
 *   first, then the daemon is asked, and only "absent everywhere" lets it create.
 * - O_TRUNC does not need the old content, O_EXCL needs it only to fail.
 * - After an open for writing the descriptor must still be the file at its path.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kernel.h"
#include "quick.h"
#include "shim.h"

/* Ways that few opens take: apart, so that the others are short. */
#define APART static __attribute__((noinline))

/* The C library's functions; those that open without them are the same but for their names. */
enum which { OPEN, OPEN64, OPENAT, OPENAT64 };

/* Of each, whether the system call may be made in its place. */
static const char *goes_direct[] = {&p4_unknown, &p4_unknown, &p4_unknown, &p4_unknown};

static int by_libc(enum which which, int dirfd, const char *path, int flags, mode_t mode) {
    typedef int (*open_call)(const char *, int, ...);
    typedef int (*openat_call)(int, const char *, int, ...);
    switch (which) {
    case OPEN:
        return P4_REAL("open", open_call)(path, flags, mode);
    case OPEN64:
        return P4_REAL("open64", open_call)(path, flags, mode);
    case OPENAT:
        return P4_REAL("openat", openat_call)(dirfd, path, flags, mode);
    default:
        return P4_REAL("openat64", openat_call)(dirfd, path, flags, mode);
    }
}

void p4_look_at_opens(void) {
    static const char no;
    for (int i = OPEN; i <= OPENAT64; i++) __atomic_store_n(&goes_direct[i], &no, __ATOMIC_SEQ_CST);
}

APART void learn(enum which which) {
    static const char *const names[] = {"open", "open64", "openat", "openat64"};
    __atomic_store_n(&goes_direct[which], p4_goes_direct(names[which], P4_ALONE), __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&p4_depot.active, __ATOMIC_SEQ_CST) == P4_REPLICA) p4_look_at_opens();
}

/* Opens that are not about a file's content. */
static int is_special(int flags) { return flags & (O_PATH | O_DIRECTORY); }

/* The open said ENOENT: made again when the file is back. */
static int open_again(enum which which, int dirfd, const char *path, int flags, mode_t mode) {
    for (int tries = 0; p4_recover(dirfd, path, tries); tries++) {
        int fd = by_libc(which, dirfd, path, flags, mode);
        if (fd >= 0 || errno != ENOENT) return fd;
    }
    return -1;
}

static int open_existing(enum which which, int dirfd, const char *path, int flags, mode_t mode) {
    int fd = by_libc(which, dirfd, path, flags, mode);
    return fd < 0 && errno == ENOENT ? open_again(which, dirfd, path, flags, mode) : fd;
}

static int open_creating(enum which which, int dirfd, const char *path, int flags, mode_t mode) {
    for (int tries = 0;; tries++) {
        int fd = by_libc(which, dirfd, path, flags & ~O_CREAT, mode);
        if (fd >= 0 || errno != ENOENT) return fd;
        int found = p4_recover_before_create(dirfd, path, tries);
        if (found < 0) return -1;
        if (!found) return by_libc(which, dirfd, path, flags, mode);
    }
}

static int open_or_create(enum which which, int dirfd, const char *path, int flags, mode_t mode) {
    /* Outside the depot such an open is left whole: without O_CREAT it would mean less to the kernel
     * (fs.protected_regular). */
    if (!p4_may_be_evicted(dirfd, path)) return by_libc(which, dirfd, path, flags, mode);
    if (flags & O_EXCL && !p4_is_free(dirfd, path)) return -1;
    int fd = flags & (O_EXCL | O_TRUNC) ? by_libc(which, dirfd, path, flags, mode)
                                        : open_creating(which, dirfd, path, flags, mode);
    if (fd >= 0) p4_now_there(dirfd, path);
    return fd;
}

/* Opened for writing: made again while the file is being evicted. */
static int keep_written(enum which which, int fd, int dirfd, const char *path, int flags, mode_t mode) {
    if (!p4_may_be_evicted(dirfd, path)) return fd;
    flags &= ~O_EXCL;
    for (int try = 0; try < P4_TRIES; try++) {
        if (!p4_was_replaced(fd, dirfd, path)) return fd;
        close(fd);
        fd = flags & O_CREAT ? open_or_create(which, dirfd, path, flags, mode)
                             : open_existing(which, dirfd, path, flags, mode);
        if (fd < 0) return fd;
    }
    if (!p4_was_replaced(fd, dirfd, path)) return fd;
    close(fd);
    errno = EIO; /* evicted again and again: what is written here would be lost */
    return -1;
}

/* Opened on a replica: made again where a newer version took the copy's place. */
static int keep_current(enum which which, int fd, int dirfd, const char *path, int flags, mode_t mode) {
    int stale = p4_went_stale(fd, dirfd, path), before = errno;
    if (!stale) return fd;
    close(fd);
    errno = before;
    return stale < 0 ? -1 : open_existing(which, dirfd, path, flags & ~(O_CREAT | O_EXCL | O_TRUNC), mode);
}

static int look_after(enum which which, int fd, int dirfd, const char *path, int flags, mode_t mode) {
    if (!p4_depot.active || is_special(flags)) return fd;
    if (p4_may_be_inside(path)) p4_note_access(fd, dirfd, path);
    if (p4_depot.active == P4_REPLICA) fd = keep_current(which, fd, dirfd, path, flags, mode);
    if (fd < 0) return fd;
    return (flags & O_ACCMODE) == O_RDONLY ? fd : keep_written(which, fd, dirfd, path, flags, mode);
}

/* What is left to do when a file was opened. As with the kernel, success leaves errno alone. */
APART int opened(enum which which, int fd, int dirfd, const char *path, int flags, mode_t mode) {
    int before = errno;
    fd = look_after(which, fd, dirfd, path, flags, mode);
    if (fd >= 0) errno = before;
    return fd;
}

APART int open_may_create(enum which which, int dirfd, const char *path, int flags, mode_t mode) {
    int before = errno;
    int fd = open_or_create(which, dirfd, path, flags, mode);
    if (fd < 0) return fd;
    errno = before;
    return opened(which, fd, dirfd, path, flags, mode);
}

APART int open_failed(enum which which, int dirfd, const char *path, int flags, mode_t mode, int error) {
    int before = errno;
    errno = error;
    if (error != ENOENT || !p4_depot.active || is_special(flags)) return -1;
    int fd = open_again(which, dirfd, path, flags, mode);
    if (fd < 0) return fd;
    errno = before;
    return opened(which, fd, dirfd, path, flags, mode);
}

APART int open_by_libc(enum which which, int dirfd, const char *path, int flags, mode_t mode) {
    if (__atomic_load_n(&goes_direct[which], __ATOMIC_RELAXED) == &p4_unknown) learn(which);
    int before = errno;
    int fd = by_libc(which, dirfd, path, flags, mode);
    if (fd >= 0) return opened(which, fd, dirfd, path, flags, mode);
    int error = errno;
    errno = before;
    return open_failed(which, dirfd, path, flags, mode, error);
}

/* What lies between the program and the kernel on the way of most opens is this and nothing else: it calls
 * nobody, and leaves by a jump where there is more to do. Until then errno is as it was. */
static inline __attribute__((always_inline)) int shim_open(enum which which, int dirfd, const char *path,
                                                           int flags, mode_t mode) {
    if (P4_UNLIKELY(flags & O_CREAT) && p4_depot.active && !is_special(flags))
        return open_may_create(which, dirfd, path, flags, mode);
    if (P4_UNLIKELY(!*__atomic_load_n(&goes_direct[which], __ATOMIC_RELAXED)))
        return open_by_libc(which, dirfd, path, flags, mode);
    long fd = p4_kernel(SYS_openat, dirfd, (long)path, flags, mode);
    if (P4_UNLIKELY(fd < 0)) return open_failed(which, dirfd, path, flags, mode, (int)-fd);
    if (P4_UNLIKELY(flags & (O_ACCMODE | O_PATH | O_DIRECTORY)))
        return opened(which, (int)fd, dirfd, path, flags, mode);
    if (P4_LIKELY(!p4_may_be_inside(path)) || P4_LIKELY(p4_is_last(path) && ++p4_log.again % 64))
        return (int)fd;
    return p4_note_access((int)fd, dirfd, path);
}

/* The exported names. A mode that was not given is not looked at; one that was is where a last argument would
 * be, in the calling conventions of both processors. */
#define OPEN_FUNCTION(name, which)                                                                 \
    P4_API int p4_##name(const char *path, int flags, mode_t mode) __asm__(#name);                 \
    int p4_##name(const char *path, int flags, mode_t mode) {                                      \
        return shim_open(which, AT_FDCWD, path, flags, mode);                                      \
    }
#define OPENAT_FUNCTION(name, which)                                                               \
    P4_API int p4_##name(int dirfd, const char *path, int flags, mode_t mode) __asm__(#name);      \
    int p4_##name(int dirfd, const char *path, int flags, mode_t mode) {                           \
        return shim_open(which, dirfd, path, flags, mode);                                         \
    }
OPEN_FUNCTION(open, OPEN)
OPEN_FUNCTION(open64, OPEN64)
/* Their older names, which the C library exports too, and those of fortified programs, without O_CREAT. */
OPEN_FUNCTION(__open, OPEN)
OPEN_FUNCTION(__open64, OPEN64)
OPEN_FUNCTION(__open_2, OPEN)
OPEN_FUNCTION(__open64_2, OPEN64)
OPENAT_FUNCTION(openat, OPENAT)
OPENAT_FUNCTION(openat64, OPENAT64)
OPENAT_FUNCTION(__openat_2, OPENAT)
OPENAT_FUNCTION(__openat64_2, OPENAT64)

P4_API int creat(const char *path, mode_t mode) {
    return shim_open(OPEN, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
P4_API int creat64(const char *path, mode_t mode) {
    return shim_open(OPEN64, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

/* ---- streams: they open inside the C library, which our open does not see ---- */

/* Before an open that would create over an evicted file, or close its stream for want of one: brings the
 * file back and holds it open, which keeps it from being evicted, in `guard` (-1: nothing to hold).
 * 0 with errno when the stream's open must fail. */
static int begin_stream(const char *path, const char *mode, int *guard) {
    *guard = -1;
    if (!p4_may_be_evicted(AT_FDCWD, path)) return 1;
    size_t letters = strcspn(mode, ","); /* what follows is ccs=… */
    int flags = O_CLOEXEC | O_NOCTTY;
    if (*mode == 'a') flags |= O_CREAT | O_APPEND;
    if (memchr(mode, '+', letters))
        flags |= O_RDWR;
    else if (*mode != 'r')
        flags |= O_WRONLY;
    if (*mode != 'r' && memchr(mode, 'x', letters)) return p4_is_free(AT_FDCWD, path);
    if (*mode == 'w') return 1;
    *guard = shim_open(OPEN64, AT_FDCWD, path, flags, 0666);
    return *guard >= 0;
}

/* Leaves errno alone. */
static void end_stream(int guard) {
    int saved = errno;
    if (guard >= 0) close(guard);
    errno = saved;
}

typedef FILE *(*fopen_call)(const char *, const char *);

static FILE *open_stream(fopen_call call, const char *path, const char *mode) {
    P4_RECOVERING(FILE *, NULL, AT_FDCWD, path, call(path, mode));
}

static FILE *shim_fopen(fopen_call call, const char *path, const char *mode) {
    if (!p4_depot.active) return call(path, mode);
    for (int try = 0, looked = 0;; try++) {
        int guard = -1;
        /* A path that cannot be read is the C library's to refuse; "r" and "w" need no look before. */
        if ((*mode == 'a' || strchr(mode, 'x')) && !begin_stream(path, mode, &guard)) return NULL;
        FILE *stream = open_stream(call, path, mode);
        end_stream(guard);
        if (!stream) return NULL;
        int writes = *mode != 'r' || strchr(mode, '+');
        if (writes && try < P4_TRIES && p4_may_be_evicted(AT_FDCWD, path) &&
            p4_was_replaced(fileno(stream), AT_FDCWD, path)) {
            fclose(stream);
            continue;
        }
        if (p4_depot.active == P4_REPLICA && *mode == 'r' && !looked++) {
            int stale = p4_went_stale(fileno(stream), AT_FDCWD, path), saved = errno;
            if (stale) fclose(stream);
            errno = saved;
            if (stale < 0) return NULL;
            if (stale) continue;
        }
        p4_note_access(-1, AT_FDCWD, path);
        return stream;
    }
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
    int guard, before = errno;
    if (!begin_stream(path, mode, &guard)) {
        int saved = errno;
        fclose(stream);
        errno = saved;
        return NULL;
    }
    errno = before;
    FILE *again = call(path, mode, stream);
    end_stream(guard);
    if (again) p4_note_access(-1, AT_FDCWD, path);
    return again;
}

P4_API FILE *freopen(const char *path, const char *mode, FILE *stream) {
    return shim_freopen(P4_REAL("freopen", freopen_call), path, mode, stream);
}
P4_API FILE *freopen64(const char *path, const char *mode, FILE *stream) {
    return shim_freopen(P4_REAL("freopen64", freopen_call), path, mode, stream);
}
