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
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

typedef int (*open_call)(int dirfd, const char *path, int flags, mode_t mode);

/* What lies between the program and the kernel on the way of most opens is one function: every indirect
 * call, and every frame that is open across a system call, is a jump that the processor cannot predict. */
#define IN_LINE static inline __attribute__((always_inline))

IN_LINE int plain_open(int dirfd, const char *path, int flags, mode_t mode) {
    (void)dirfd;
    return P4_REAL("open", int (*)(const char *, int, ...))(path, flags, mode);
}
IN_LINE int plain_open64(int dirfd, const char *path, int flags, mode_t mode) {
    (void)dirfd;
    return P4_REAL("open64", int (*)(const char *, int, ...))(path, flags, mode);
}
IN_LINE int plain_openat(int dirfd, const char *path, int flags, mode_t mode) {
    return P4_REAL("openat", int (*)(int, const char *, int, ...))(dirfd, path, flags, mode);
}
IN_LINE int plain_openat64(int dirfd, const char *path, int flags, mode_t mode) {
    return P4_REAL("openat64", int (*)(int, const char *, int, ...))(dirfd, path, flags, mode);
}

enum which { OPEN, OPEN64, OPENAT, OPENAT64 };

/* Of each, whether the next definition after ours is the C library's own: 0 when that is not known yet. */
static signed char is_next[4];

__attribute__((noinline)) static int learn(enum which which) {
    static const char *const names[] = {"open", "open64", "openat", "openat64"};
    int is = p4_next_is_libc(names[which]) ? 1 : -1;
    __atomic_store_n(&is_next[which], is, __ATOMIC_RELAXED);
    return is;
}

/* Whether the system call alone is what the C library would do: it is in a process with one thread, where
 * nobody can cancel this one. */
IN_LINE int may_go_direct(enum which which) {
#ifdef __x86_64__
    if (P4_UNLIKELY(!p4_has_one_thread) || P4_UNLIKELY(!*p4_has_one_thread)) return 0;
    int is = __atomic_load_n(&is_next[which], __ATOMIC_RELAXED);
    return P4_LIKELY(is > 0) || (is == 0 && learn(which) > 0);
#else
    (void)which;
    return 0;
#endif
}

/* openat(2) without the C library: -errno when it fails. */
IN_LINE long kernel_open(int dirfd, const char *path, int flags, mode_t mode) {
#ifdef __x86_64__
    long rc;
    register long r10 __asm__("r10") = mode;
    __asm__ volatile("syscall"
                     : "=a"(rc)
                     : "a"(SYS_openat), "D"((long)dirfd), "S"(path), "d"((long)flags), "r"(r10)
                     : "rcx", "r11", "memory");
    return rc;
#else
    return syscall(SYS_openat, dirfd, path, flags, mode);
#endif
}

static int needs_mode(int flags) { return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE; }

/* Opens that are not about a file's content. */
static int is_special(int flags) { return flags & (O_PATH | O_DIRECTORY); }

static int open_existing(open_call call, int dirfd, const char *path, int flags, mode_t mode) {
    P4_RECOVERING(int, -1, dirfd, path, call(dirfd, path, flags, mode));
}

static int open_creating(open_call call, int dirfd, const char *path, int flags, mode_t mode) {
    for (int tries = 0;; tries++) {
        int fd = call(dirfd, path, flags & ~O_CREAT, mode);
        if (fd >= 0 || errno != ENOENT) return fd;
        int found = p4_recover_before_create(dirfd, path, tries);
        if (found < 0) return -1;
        if (!found) return call(dirfd, path, flags, mode);
    }
}

static int open_or_create(open_call call, int dirfd, const char *path, int flags, mode_t mode) {
    /* Outside the depot such an open is left whole: without O_CREAT it would mean less to the kernel
     * (fs.protected_regular). */
    if (!p4_may_be_evicted(dirfd, path)) return call(dirfd, path, flags, mode);
    if (flags & O_EXCL && !p4_is_free(dirfd, path)) return -1;
    int fd = flags & (O_EXCL | O_TRUNC) ? call(dirfd, path, flags, mode)
                                        : open_creating(call, dirfd, path, flags, mode);
    if (fd >= 0) p4_now_there(dirfd, path);
    return fd;
}

static int open_any(open_call call, int dirfd, const char *path, int flags,
                                              mode_t mode) {
    return flags & O_CREAT ? open_or_create(call, dirfd, path, flags, mode)
                           : open_existing(call, dirfd, path, flags, mode);
}

/* Opened for writing: made again while the file is being evicted. */
__attribute__((noinline)) static int keep_written(open_call call, int fd, int dirfd, const char *path,
                                                  int flags, mode_t mode) {
    if (!p4_may_be_evicted(dirfd, path)) return fd;
    int before = errno;
    for (int try = 0; try < P4_TRIES; try++) {
        if (!p4_was_replaced(fd, dirfd, path)) return fd;
        close(fd);
        fd = open_any(call, dirfd, path, flags & ~O_EXCL, mode);
        if (fd < 0) return fd;
        errno = before;
    }
    if (!p4_was_replaced(fd, dirfd, path)) return fd;
    close(fd);
    errno = EIO; /* evicted again and again: what is written here would be lost */
    return -1;
}

/* The open of a file that is not there, or may be made. */
__attribute__((noinline)) static int open_slowly(open_call call, int dirfd, const char *path, int flags,
                                                 mode_t mode) {
    int before = errno;
    int fd = open_any(call, dirfd, path, flags, mode);
    if (fd < 0) return fd;
    p4_note_access(dirfd, path);
    if ((flags & O_ACCMODE) != O_RDONLY) fd = keep_written(call, fd, dirfd, path, flags, mode);
    if (fd >= 0) errno = before;
    return fd;
}

__attribute__((noinline)) static int direct_open_failed(open_call call, int dirfd, const char *path,
                                                        int flags, mode_t mode, int error) {
    if (error == ENOENT && p4_depot.active && !is_special(flags))
        return open_slowly(call, dirfd, path, flags, mode);
    errno = error;
    return -1;
}

__attribute__((noinline)) static int open_by_libc(open_call call, int dirfd, const char *path, int flags,
                                                  mode_t mode) {
    int before = errno;
    int fd = call(dirfd, path, flags, mode);
    if (fd >= 0 || errno != ENOENT || !p4_depot.active || is_special(flags)) return fd;
    errno = before;
    return open_slowly(call, dirfd, path, flags, mode);
}

IN_LINE int shim_open(enum which which, open_call call, int dirfd, const char *path, int flags,
                      mode_t mode) {
    int fd;
    if (P4_UNLIKELY(flags & O_CREAT) && p4_depot.active && !is_special(flags))
        return open_slowly(call, dirfd, path, flags, mode);
    if (P4_LIKELY(may_go_direct(which))) {
        long rc = kernel_open(dirfd, path, flags, mode);
        if (P4_UNLIKELY(rc < 0)) return direct_open_failed(call, dirfd, path, flags, mode, (int)-rc);
        fd = (int)rc;
    } else {
        fd = open_by_libc(call, dirfd, path, flags, mode);
        if (fd < 0) return fd;
    }
    if (P4_UNLIKELY(!p4_depot.active) || P4_UNLIKELY(is_special(flags))) return fd;
    p4_note_access(dirfd, path);
    if (P4_LIKELY((flags & O_ACCMODE) == O_RDONLY)) return fd;
    return keep_written(call, fd, dirfd, path, flags, mode);
}

#define MODE_ARGUMENT(flags)                                                                       \
    mode_t mode = 0;                                                                               \
    if (P4_UNLIKELY(needs_mode(flags))) {                                                                  \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

P4_API int open(const char *path, int flags, ...) {
    MODE_ARGUMENT(flags)
    return shim_open(OPEN, plain_open, AT_FDCWD, path, flags, mode);
}
P4_API int open64(const char *path, int flags, ...) {
    MODE_ARGUMENT(flags)
    return shim_open(OPEN64, plain_open64, AT_FDCWD, path, flags, mode);
}
/* Their older names, which the C library exports too. */
int __open(const char *path, int flags, ...);
int __open64(const char *path, int flags, ...);
P4_API int __open(const char *path, int flags, ...) {
    MODE_ARGUMENT(flags)
    return shim_open(OPEN, plain_open, AT_FDCWD, path, flags, mode);
}
P4_API int __open64(const char *path, int flags, ...) {
    MODE_ARGUMENT(flags)
    return shim_open(OPEN64, plain_open64, AT_FDCWD, path, flags, mode);
}
P4_API int openat(int dirfd, const char *path, int flags, ...) {
    MODE_ARGUMENT(flags)
    return shim_open(OPENAT, plain_openat, dirfd, path, flags, mode);
}
P4_API int openat64(int dirfd, const char *path, int flags, ...) {
    MODE_ARGUMENT(flags)
    return shim_open(OPENAT64, plain_openat64, dirfd, path, flags, mode);
}

/* The names under which fortified programs call open without O_CREAT. */
P4_API int __open_2(const char *path, int flags) {
    return shim_open(OPEN, plain_open, AT_FDCWD, path, flags, 0);
}
P4_API int __open64_2(const char *path, int flags) {
    return shim_open(OPEN64, plain_open64, AT_FDCWD, path, flags, 0);
}
P4_API int __openat_2(int dirfd, const char *path, int flags) {
    return shim_open(OPENAT, plain_openat, dirfd, path, flags, 0);
}
P4_API int __openat64_2(int dirfd, const char *path, int flags) {
    return shim_open(OPENAT64, plain_openat64, dirfd, path, flags, 0);
}

P4_API int creat(const char *path, mode_t mode) {
    return shim_open(OPEN, plain_open, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
P4_API int creat64(const char *path, mode_t mode) {
    return shim_open(OPEN64, plain_open64, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
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
    *guard = shim_open(OPEN64, plain_open64, AT_FDCWD, path, flags, 0666);
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
    for (int try = 0;; try++) {
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
        p4_note_access(AT_FDCWD, path);
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
    FILE *opened = call(path, mode, stream);
    end_stream(guard);
    if (opened) p4_note_access(AT_FDCWD, path);
    return opened;
}

P4_API FILE *freopen(const char *path, const char *mode, FILE *stream) {
    return shim_freopen(P4_REAL("freopen", freopen_call), path, mode, stream);
}
P4_API FILE *freopen64(const char *path, const char *mode, FILE *stream) {
    return shim_freopen(P4_REAL("freopen64", freopen_call), path, mode, stream);
}
