/* access_log: tells the daemon which files were opened, many at a time, so that files in use stay in
 * the cache. Noting one costs no system call; what is noted is sent when it is the first for a while,
 * when there is much of it, when it is old, and at the end of the process. The daemon is not waited for,
 * but for a moment at the end; what it misses is counted, and told to it when it is there again.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim.h"

/* Bytes sent in one piece. */
enum { DATAGRAM = 8192 };
static const int64_t OLD_NS = 1000000000;

/* Longest wait at the end for a daemon that is behind with receiving, ms. */
enum { END_WAIT_MS = 200 };

/* Tries for the lock: who holds it is done in tens of nanoseconds, or was interrupted. */
enum { SPINS = 200 };

/* With less noted than this, each note looks at the clock: then it costs little, seldom done. */
enum { LITTLE = 512 };

/* Where relative names start, as far as known: the working directory below the depot, with a slash at
 * its end. Valid while `cwd_seen` is the number of changes of directory. */
static unsigned cwd_changes = 1, cwd_seen;
static char cwd[P4_MAX_PATH];
static size_t cwd_length;
static int cwd_inside;

struct p4_log p4_log;

/* Room for names that have to be looked at; used under the lock, as stacks may be tiny. */
static char raw[2 * P4_MAX_PATH];

static int try_lock(void) {
    for (int i = 0; i < SPINS; i++)
        if (!__atomic_exchange_n(&p4_log.locked, 1, __ATOMIC_ACQUIRE)) return 1;
    return 0;
}
static void unlock(void) { __atomic_store_n(&p4_log.locked, 0, __ATOMIC_RELEASE); }

static void drop(unsigned n) { __atomic_add_fetch(&p4_log.dropped, n, __ATOMIC_RELAXED); }

/* Tells how many were dropped, and waits for no answer. */
static void report_dropped(void) {
    unsigned n = __atomic_exchange_n(&p4_log.dropped, 0, __ATOMIC_RELAXED);
    char request[32];
    int length = n ? snprintf(request, sizeof request, "DROPPED %u\n", n) : 0;
    int fd = length ? p4_begin_asking(request, (size_t)length, 0) : -1;
    if (fd >= 0) syscall(SYS_close, fd);
}

/* A socket whose peer is the daemon's, so that poll knows whose queue it is; or -1. */
static int connect_to_log(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, p4_depot.access_socket, sizeof address.sun_path);
    if (!address.sun_path[0]) return -1;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || !connect(fd, (struct sockaddr *)&address, sizeof address)) return fd;
    syscall(SYS_close, fd);
    return -1;
}

/* Sends whole paths, piece by piece; waits for room in the daemon's queue if told to. Bytes sent. */
static unsigned send_pieces(int fd, int wait_ms) {
    unsigned sent = 0;
    while (sent < p4_log.used) {
        const char *from = p4_log.buffer + sent;
        unsigned length = p4_log.used - sent;
        if (length > DATAGRAM) length = (unsigned)((char *)memrchr(from, '\n', DATAGRAM) - from) + 1;
        if (send(fd, from, length, MSG_NOSIGNAL) >= 0) {
            sent += length;
            continue;
        }
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        if (errno != EAGAIN || !wait_ms || poll(&writable, 1, wait_ms) <= 0) break;
    }
    return sent;
}

/* Sends what there is. What cannot be sent stays, unless it must go. */
__attribute__((noinline)) static void send_buffer(int must_go, int wait_ms) {
    if (!p4_log.used) return;
    int saved = errno, fd = connect_to_log();
    unsigned sent = fd < 0 ? 0 : send_pieces(fd, wait_ms);
    if (fd >= 0) syscall(SYS_close, fd);
    p4_log.tried_ns = p4_log.oldest_ns = p4_now_ns();
    if (sent && __atomic_load_n(&p4_log.dropped, __ATOMIC_RELAXED)) report_dropped();
    if (must_go && sent < p4_log.used) {
        unsigned lost = 0;
        for (unsigned at = sent; at < p4_log.used; at++) lost += p4_log.buffer[at] == '\n';
        drop(lost);
        sent = p4_log.used;
    }
    memmove(p4_log.buffer, p4_log.buffer + sent, p4_log.used - sent);
    p4_log.used -= sent;
    p4_log.last = p4_log.last_length = 0;
    errno = saved;
}

__attribute__((noinline)) static void look_where_we_are(void) {
    unsigned changes = __atomic_load_n(&cwd_changes, __ATOMIC_ACQUIRE);
    char *here = raw;
    int saved = errno;
    long n = syscall(SYS_getcwd, here, P4_MAX_PATH - 1);
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

/* Sends what is old. The clock costs as much as the rest: not every name looks at it. */
static void send_if_old(void) {
    if (p4_log.used >= LITTLE && ++p4_log.noted % 32) return;
    int64_t now_ns = p4_now_ns();
    if (now_ns - p4_log.oldest_ns > OLD_NS || now_ns - p4_log.tried_ns > OLD_NS) send_buffer(0, 0);
}

/* Puts a name after those that are there; there is room. Its length, or 0 when it must be looked at: it has
 * "/." or "//" or a newline in it. Eight bytes at a time; may err towards looking. */
static unsigned put(char *out, const char *name, uint64_t before) {
    const uint64_t ones = 0x0101010101010101, high = ones << 7;
    for (unsigned at = 0; at < P4_MAX_CACHED;) {
        if (!P4_READS_WORDS || ((uintptr_t)(name + at) & 4095) > 4088) { /* the next page may not be the path's */
            char c = out[at] = name[at];
            if (!c) return at;
            if (c == '\n' || (before == '/' && (c | 1) == '/')) return 0;
            before = (unsigned char)c;
            at++;
            continue;
        }
        uint64_t word = *(const p4_word *)(name + at);
        *(p4_word *)(out + at) = word;
        uint64_t end = (word - ones) & ~word & high;
        uint64_t line = word ^ ones * '\n';
        uint64_t slash = (word << 8 | before) ^ ones * '/', dot = (word | ones) ^ ones * '/'; /* '.' | 1 */
        uint64_t odd = ((line - ones) & ~line) | ((slash - ones) & ~slash & (dot - ones) & ~dot);
        odd &= high;
        if (end) { /* what follows it does not count */
            odd &= (end & -end) - 1;
            return odd ? 0 : at + (unsigned)__builtin_ctzll(end) / 8;
        }
        if (odd) return 0;
        before = word >> 56;
        at += 8;
    }
    return 0;
}

/* The same for a name that has to be looked at. */
__attribute__((noinline)) static unsigned put_odd(char *out, const char *prefix, const char *name) {
    int n = snprintf(raw, sizeof raw, "%s/%s%s", p4_depot.real, prefix, name);
    struct p4_desk *desk = p4_take_desk();
    if (!desk) return 0;
    size_t length = n > 0 && n < (int)sizeof raw ? p4_relative(desk, AT_FDCWD, raw) : 0;
    memcpy(out, desk->relative, length);
    p4_leave_desk(desk);
    return (unsigned)length;
}

static void note(const char *prefix, unsigned prefix_length, const char *name) {
    if (p4_log.used + 2 * P4_MAX_CACHED + 16 > P4_LOG_BYTES) send_buffer(1, 0);
    if (prefix_length > P4_MAX_CACHED) return;
    char *out = p4_log.buffer + p4_log.used;
    memcpy(out, prefix, prefix_length);
    unsigned length = put(out + prefix_length, name, '/');
    length = length ? prefix_length + length : put_odd(out, prefix, name);
    if (!length || length > P4_MAX_CACHED) return;
    if (p4_log.used && length == p4_log.last_length && !memcmp(out, p4_log.buffer + p4_log.last, length))
        return;
    if (!p4_log.used) p4_log.oldest_ns = p4_now_ns();
    out[length] = '\n';
    p4_log.last = p4_log.used;
    p4_log.last_length = length;
    p4_log.used += length + 1;
    send_if_old();
}

void p4_note_path(const char *path, unsigned part) {
    if (p4_quiet) return;
    if (!try_lock()) return drop(1);
    if (part) {
        note("", 0, path + part);
    } else {
        if (cwd_seen != __atomic_load_n(&cwd_changes, __ATOMIC_ACQUIRE)) look_where_we_are();
        if (cwd_inside) note(cwd, (unsigned)cwd_length, path);
    }
    unlock();
}

void p4_flush_accesses(void) {
    if (!p4_depot.active || p4_quiet || !try_lock()) return;
    send_buffer(0, END_WAIT_MS);
    unlock();
}

/* A child begins with nothing noted: its parent sends what it noted. */
static void in_child(void) {
    p4_log.used = p4_log.last = p4_log.dropped = 0;
    unlock();
}

__attribute__((constructor(200))) static void prepare(void) {
    if (getenv("P4CACHE_DEPOT")) pthread_atfork(NULL, NULL, in_child);
}

__attribute__((destructor)) static void at_exit(void) { p4_flush_accesses(); }

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
