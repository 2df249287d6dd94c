/* access_log: tells the daemon which files were opened, many at a time, so that files in use stay in
 * the cache. Noting one costs no system call; what is noted is sent when there is much of it, when it
 * is old, and at the end of the process. It is never waited for: a daemon that is away misses it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim.h"

enum { BUFFER = 8192 };
static const int64_t OLD_NS = 1000000000;

/* Where relative names start, as far as known: the working directory below the depot, with a slash at
 * its end. Valid while `cwd_seen` is the number of changes of directory. */
static unsigned cwd_changes = 1, cwd_seen;
static char cwd[P4_MAX_PATH];
static size_t cwd_length;
static int cwd_inside;

static char buffer[BUFFER];
static size_t used, last; /* last: where the newest path begins */
static int64_t oldest_ns;
static unsigned noted;
static char locked;

static int try_lock(void) { return !__atomic_test_and_set(&locked, __ATOMIC_ACQUIRE); }
static void unlock(void) { __atomic_clear(&locked, __ATOMIC_RELEASE); }

static void send_buffer(void) {
    if (!used || !p4_depot.access_socket[0]) {
        used = last = 0;
        return;
    }
    int saved = errno;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, p4_depot.access_socket, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        sendto(fd, buffer, used, MSG_NOSIGNAL, (struct sockaddr *)&address, sizeof address);
        close(fd);
    }
    used = last = 0;
    errno = saved;
}

__attribute__((noinline)) static void look_where_we_are(void) {
    unsigned changes = __atomic_load_n(&cwd_changes, __ATOMIC_ACQUIRE);
    char here[P4_MAX_PATH];
    int saved = errno;
    long n = syscall(SYS_getcwd, here, sizeof here - 1);
    errno = saved;
    cwd_inside = 0;
    if (n > 1 && here[n - 2] != '/') memcpy(here + n - 1, "/", 2);
    const char *below = n > 1 ? p4_below_depot(here) : NULL;
    if (below) {
        cwd_length = strlen(below);
        memcpy(cwd, below, cwd_length + 1);
        cwd_inside = 1;
    }
    cwd_seen = changes;
}

static void append(const char *prefix, size_t prefix_length, const char *name, size_t name_length) {
    size_t length = prefix_length + name_length;
    /* The clock costs as much as the rest: not every name looks at it. */
    if (used + length + 1 > BUFFER || (++noted % 8 == 0 && p4_now_ns() - oldest_ns > OLD_NS))
        send_buffer();
    if (!used) oldest_ns = p4_now_ns();
    last = used;
    memcpy(buffer + used, prefix, prefix_length);
    memcpy(buffer + used + prefix_length, name, name_length);
    buffer[used + length] = '\n';
    used += length + 1;
}

/* The same for a name with "." or ".." or "//" in it. */
__attribute__((noinline)) static void append_odd(const char *prefix, const char *name) {
    char raw[2 * P4_MAX_PATH], plain[P4_MAX_PATH];
    int n = snprintf(raw, sizeof raw, "%s/%s%s", p4_depot.real, prefix, name);
    size_t length = n > 0 && n < (int)sizeof raw ? p4_relative(AT_FDCWD, raw, plain) : 0;
    if (length) append("", 0, plain, length);
}

/* Whether a name may not be plain: has "/." or "//". Eight bytes at a time; may err towards yes. */
static int may_be_odd(const char *name, size_t length) {
    const uint64_t ones = 0x0101010101010101, slashes = 0x2f * ones;
    size_t at = 0;
    if (*name == '.') return 1;
    for (; at + 9 <= length; at += 8) {
        uint64_t here, next;
        memcpy(&here, name + at, 8);
        memcpy(&next, name + at + 1, 8);
        here ^= slashes;
        next = (next | ones) ^ slashes; /* '.' | 1 is '/' */
        if ((here - ones) & ~here & (next - ones) & ~next & (ones << 7)) return 1;
    }
    for (; at + 1 < length; at++)
        if (name[at] == '/' && (name[at + 1] | 1) == '/') return 1;
    return 0;
}

/* Notes a name below a directory below the depot. */
static void note(const char *prefix, size_t prefix_length, const char *name) {
    size_t length = strlen(name);
    size_t total = prefix_length + length;
    if (used == last + total + 1 && !memcmp(buffer + last + prefix_length, name, length) &&
        !memcmp(buffer + last, prefix, prefix_length))
        return; /* the same once more */
    if (P4_UNLIKELY(may_be_odd(name, length))) {
        append_odd(prefix, name);
    } else if (total && total <= P4_MAX_CACHED && !memchr(name, '\n', length)) {
        append(prefix, prefix_length, name, length);
    }
}

void p4_note_access(int dirfd, const char *path) {
    const char *below = NULL;
    if (*path == '/') {
        if (!(below = p4_below_depot(path))) return;
    } else if (dirfd != AT_FDCWD) {
        return;
    }
    if (!try_lock()) return; /* another thread is noting: one of many is lost, not time */
    if (below) {
        note("", 0, below);
    } else {
        if (cwd_seen != __atomic_load_n(&cwd_changes, __ATOMIC_ACQUIRE)) look_where_we_are();
        if (cwd_inside) note(cwd, cwd_length, path);
    }
    unlock();
}

void p4_flush_accesses(void) {
    if (!p4_depot.active || !try_lock()) return;
    send_buffer();
    unlock();
}

/* A child begins with nothing noted: its parent sends what it noted. */
static void in_child(void) {
    used = last = 0;
    unlock();
}

__attribute__((constructor(200))) static void prepare(void) {
    if (getenv("P4CACHE_DEPOT")) pthread_atfork(NULL, NULL, in_child);
}

__attribute__((destructor)) static void at_exit(void) { p4_flush_accesses(); }

/* ---- the ends of a program ---- */

P4_API __attribute__((noreturn)) void _exit(int status) {
    p4_flush_accesses();
    P4_REAL("_exit", void (*)(int))(status);
    __builtin_unreachable();
}

P4_API __attribute__((noreturn)) void _Exit(int status) { _exit(status); }

typedef char *const *strings;

P4_API int execve(const char *path, char *const argv[], char *const envp[]) {
    p4_flush_accesses();
    return P4_REAL("execve", int (*)(const char *, strings, strings))(path, argv, envp);
}
P4_API int execv(const char *path, char *const argv[]) {
    p4_flush_accesses();
    return P4_REAL("execv", int (*)(const char *, strings))(path, argv);
}
P4_API int execvp(const char *file, char *const argv[]) {
    p4_flush_accesses();
    return P4_REAL("execvp", int (*)(const char *, strings))(file, argv);
}
P4_API int execvpe(const char *file, char *const argv[], char *const envp[]) {
    p4_flush_accesses();
    return P4_REAL("execvpe", int (*)(const char *, strings, strings))(file, argv, envp);
}
P4_API int fexecve(int fd, char *const argv[], char *const envp[]) {
    p4_flush_accesses();
    return P4_REAL("fexecve", int (*)(int, strings, strings))(fd, argv, envp);
}

/* ---- changes of the working directory ---- */

P4_API int chdir(const char *path) {
    int rc = P4_REAL("chdir", int (*)(const char *))(path);
    __atomic_add_fetch(&cwd_changes, 1, __ATOMIC_RELEASE);
    return rc;
}
P4_API int fchdir(int fd) {
    int rc = P4_REAL("fchdir", int (*)(int))(fd);
    __atomic_add_fetch(&cwd_changes, 1, __ATOMIC_RELEASE);
    return rc;
}
