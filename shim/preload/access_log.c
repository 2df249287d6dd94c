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

enum { BUFFER = 8192 };
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

static char buffer[BUFFER];
static size_t used, last; /* last: where the newest path begins */
static int64_t oldest_ns, sent_ns;
static unsigned noted, records, dropped;
static char locked;

/* Room for names that have to be looked at; used under the lock, as stacks may be tiny. */
static char raw[2 * P4_MAX_PATH];

static int try_lock(void) {
    for (int i = 0; i < SPINS; i++)
        if (!__atomic_test_and_set(&locked, __ATOMIC_ACQUIRE)) return 1;
    return 0;
}
static void unlock(void) { __atomic_clear(&locked, __ATOMIC_RELEASE); }

static void drop(unsigned n) { __atomic_add_fetch(&dropped, n, __ATOMIC_RELAXED); }

/* Tells how many were dropped, and waits for no answer. */
static void report_dropped(void) {
    unsigned n = __atomic_exchange_n(&dropped, 0, __ATOMIC_RELAXED);
    char request[32];
    int length = n ? snprintf(request, sizeof request, "DROPPED %u\n", n) : 0;
    int fd = length ? p4_begin_asking(request, (size_t)length, 0) : -1;
    if (fd >= 0) syscall(SYS_close, fd);
}

/* One datagram; waits for room in the daemon's queue if told to. */
static int send_datagram(int wait_ms) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, p4_depot.access_socket, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return 0;
    int sent = 0;
    /* Connected, poll knows whose queue it is. */
    if (!connect(fd, (struct sockaddr *)&address, sizeof address)) {
        sent = send(fd, buffer, used, MSG_NOSIGNAL) >= 0;
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        if (!sent && errno == EAGAIN && wait_ms && poll(&writable, 1, wait_ms) > 0)
            sent = send(fd, buffer, used, MSG_NOSIGNAL) >= 0;
    }
    syscall(SYS_close, fd);
    return sent;
}

/* Sends what there is. What cannot be sent stays, unless it must go. */
__attribute__((noinline)) static void send_buffer(int must_go, int wait_ms) {
    if (!used) return;
    int saved = errno;
    int sent = p4_depot.access_socket[0] && send_datagram(wait_ms);
    oldest_ns = p4_now_ns();
    if (sent) {
        sent_ns = oldest_ns;
        if (__atomic_load_n(&dropped, __ATOMIC_RELAXED)) report_dropped();
    }
    if (sent || must_go) {
        if (!sent) drop(records);
        used = last = records = 0;
    }
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

static void append(const char *prefix, size_t prefix_length, const char *name, size_t name_length) {
    size_t length = prefix_length + name_length;
    /* The clock costs as much as the rest: not every name looks at it. */
    if (used + length + 1 > BUFFER) send_buffer(1, 0);
    if (!used) oldest_ns = p4_now_ns();
    last = used;
    memcpy(buffer + used, prefix, prefix_length);
    memcpy(buffer + used + prefix_length, name, name_length);
    buffer[used + length] = '\n';
    used += length + 1;
    records++;
    if (used < LITTLE || ++noted % 8 == 0) {
        int64_t now_ns = p4_now_ns();
        if (now_ns - oldest_ns > OLD_NS || now_ns - sent_ns > OLD_NS) send_buffer(0, 0);
    }
}

/* The same for a name with "." or ".." or "//" in it. */
__attribute__((noinline)) static void append_odd(const char *prefix, const char *name) {
    int n = snprintf(raw, sizeof raw, "%s/%s%s", p4_depot.real, prefix, name);
    struct p4_desk *desk = p4_take_desk();
    if (!desk) return drop(1);
    size_t length = n > 0 && n < (int)sizeof raw ? p4_relative(desk, AT_FDCWD, raw) : 0;
    if (length) append("", 0, desk->relative, length);
    p4_leave_desk(desk);
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
    if (p4_quiet) return;
    if (!try_lock()) return drop(1);
    if (below) {
        note("", 0, below);
    } else {
        if (cwd_seen != __atomic_load_n(&cwd_changes, __ATOMIC_ACQUIRE)) look_where_we_are();
        if (cwd_inside) note(cwd, cwd_length, path);
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
    used = last = records = dropped = 0;
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
