/* access_log: tells the daemon which files were opened, many at a time, so that files in use stay in
 * the cache. Noting one costs no system call; what is noted is sent when it is the first for a while,
 * when there is much of it, when it is old, and at the end of the process. The daemon is not waited for,
 * but for a moment at the end; what it misses is counted, and told to it when it is there again.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "quick.h"
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

/* Where relative names start, as far as known. In the depot: the working directory below it, with a slash
 * at its end. Above the depot, as p4d's root often is: what is left of the depot's two names, NULL where
 * that is not so. Valid while `cwd_seen` is the number of changes of directory. */
static unsigned cwd_changes = 1, cwd_seen;
static int cwd_inside;
static char cwd[P4_MAX_PATH];
static size_t cwd_length;
static const char *below_cwd[2];

P4_WARM struct p4_log p4_log;
static char buffer[P4_LOG_BYTES];

/* Room for names that have to be looked at; used under the lock, as stacks may be tiny. */
static char raw[2 * P4_MAX_PATH];

/* In the only thread a plain store will do: an atomic exchange waits for all stores before it. */
static inline int try_lock(void) {
    if (P4_LIKELY(*__atomic_load_n(&p4_alone, __ATOMIC_RELAXED))) {
        if (P4_UNLIKELY(p4_log.locked)) return 0; /* this is a handler that interrupted the other */
        __atomic_store_n(&p4_log.locked, 1, __ATOMIC_RELAXED);
        __atomic_signal_fence(__ATOMIC_ACQUIRE);
        return 1;
    }
    for (int i = 0; i < SPINS; i++)
        if (!__atomic_exchange_n(&p4_log.locked, 1, __ATOMIC_ACQUIRE)) return 1;
    return 0;
}
/* Changed under the lock, read by who waits without it. */
static void set_used(unsigned used) { __atomic_store_n(&p4_log.used, used, __ATOMIC_RELAXED); }
static void set_oldest(int64_t ns) { __atomic_store_n(&p4_log.oldest_ns, ns, __ATOMIC_RELAXED); }
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
        const char *from = buffer + sent;
        unsigned length = p4_log.used - sent;
        if (length > DATAGRAM) length = (unsigned)((char *)memrchr(from, '\n', DATAGRAM) - from) + 1;
        if (send(fd, from, length, MSG_NOSIGNAL) >= 0) {
            sent += length;
            continue;
        }
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        if (errno != EAGAIN || !wait_ms || p4_poll(&writable, 1, wait_ms) <= 0) break;
    }
    return sent;
}

/* Sends what there is. What cannot be sent stays, unless it must go. */
__attribute__((noinline)) static void send_buffer(int must_go, int wait_ms) {
    if (!p4_log.used) return;
    int saved = errno, cancelled;
    /* A thread that ended here would leave the log locked. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelled);
    int fd = connect_to_log();
    unsigned sent = fd < 0 ? 0 : send_pieces(fd, wait_ms);
    if (fd >= 0) syscall(SYS_close, fd);
    p4_log.tried_ns = p4_now_ns();
    set_oldest(p4_log.tried_ns);
    if (sent && __atomic_load_n(&p4_log.dropped, __ATOMIC_RELAXED)) report_dropped();
    if (must_go && sent < p4_log.used) {
        unsigned lost = 0;
        for (unsigned at = sent; at < p4_log.used; at++) lost += buffer[at] == '\n';
        drop(lost);
        sent = p4_log.used;
    }
    memmove(buffer, buffer + sent, p4_log.used - sent);
    set_used(p4_log.used - sent);
    p4_log.last_size = 0; /* a file that is in use all the time is noted once in each lot */
    pthread_setcancelstate(cancelled, &cancelled);
    errno = saved;
}

static void may_be_here(void) { __atomic_store_n(&p4_depot.here, 1, __ATOMIC_SEQ_CST); }

__attribute__((noinline)) static void look_where_we_are(void) {
    unsigned changes = __atomic_load_n(&cwd_changes, __ATOMIC_ACQUIRE);
    char *here = raw;
    int saved = errno;
    long n = syscall(SYS_getcwd, here, P4_MAX_PATH - 1);
    errno = saved;
    if (n > 1 && here[n - 2] != '/') memcpy(here + n - 1, "/", 2);
    const char *below = n > 1 ? p4_below_depot(here) : NULL;
    cwd_inside = below != NULL;
    if (below) {
        cwd_length = strlen(below);
        memcpy(cwd, below, cwd_length + 1);
    }
    size_t length = n > 1 ? strlen(here) : 0;
    const char *names[2] = {p4_depot.given, p4_depot.real};
    for (int i = 0; i < 2; i++) {
        int is_other = !i || names[1] != names[0]; /* mostly there is one name: looked at once */
        below_cwd[i] = length && is_other && !strncmp(names[i], here, length) ? names[i] + length : NULL;
    }
    cwd_seen = changes;
    __atomic_store_n(&p4_depot.here, cwd_inside || below_cwd[0] || below_cwd[1], __ATOMIC_SEQ_CST);
    if (changes != __atomic_load_n(&cwd_changes, __ATOMIC_SEQ_CST)) may_be_here();
}

int64_t p4_keeps_accesses_for(void) {
    int64_t old_ns = p4_now_ns() - __atomic_load_n(&p4_log.oldest_ns, __ATOMIC_RELAXED);
    return old_ns < OLD_NS ? OLD_NS - old_ns : 0;
}

/* Sends what is old. The clock costs as much as the rest: not every name looks at it. */
static void send_if_old(void) {
    if (p4_log.used >= LITTLE && ++p4_log.noted % 32) return;
    int64_t now_ns = p4_now_ns();
    if (now_ns - p4_log.oldest_ns > OLD_NS || now_ns - p4_log.tried_ns > OLD_NS) send_buffer(0, 0);
}

/* Puts a name that has to be looked at after those that are there. Its length, or 0. */
__attribute__((noinline)) static unsigned put_odd(char *out, const char *prefix, const char *name) {
    int n = snprintf(raw, sizeof raw, "%s/%s%s", p4_depot.real, prefix, name);
    struct p4_desk *desk = p4_take_desk();
    if (!desk) return 0;
    size_t length = n > 0 && n < (int)sizeof raw ? p4_relative(desk, AT_FDCWD, raw) : 0;
    memcpy(out, desk->relative, length);
    p4_leave_desk(desk);
    return (unsigned)length;
}

/* A copy of the name without a call: most are short. Both have room for words, if P4_READS_WORDS. */
static inline void copy_short(char *to, const char *from, unsigned length) {
    if (!P4_READS_WORDS || length > 128 || ((uintptr_t)from & (P4_PAGE - 1)) + length + 7 > P4_PAGE)
        memcpy(to, from, length);
    else
        for (unsigned at = 0; at < length; at += 8) *(p4_word *)(to + at) = p4_word_at(from + at);
}

static void note(const char *prefix, unsigned prefix_length, const char *path, unsigned part) {
    if (p4_log.used + 2 * P4_MAX_CACHED + 16 > P4_LOG_BYTES) send_buffer(1, 0);
    if (prefix_length > P4_MAX_CACHED) return;
    char *out = buffer + p4_log.used;
    unsigned rest = p4_plain_length(path + part), length = prefix_length + rest;
    if (rest) {
        if (length > P4_MAX_CACHED) return;
        if (prefix_length) memcpy(out, prefix, prefix_length);
        copy_short(out + prefix_length, path + part, rest);
    } else {
        length = put_odd(out, prefix, path + part);
        if (!length) return;
    }
    if (!p4_log.used) set_oldest(p4_now_ns());
    out[length] = '\n';
    set_used(p4_log.used + length + 1);
    send_if_old();
    if (!p4_log.used) return;
    p4_log.last_size = rest && part + rest < P4_LAST_BYTES ? part + rest + 1 : 0;
    copy_short(p4_log.last, path, p4_log.last_size);
}

static void note_relative(const char *path) {
    if (cwd_seen != __atomic_load_n(&cwd_changes, __ATOMIC_ACQUIRE)) look_where_we_are();
    if (cwd_inside) return note(cwd, (unsigned)cwd_length, path, 0);
    for (int i = 0; i < 2; i++) {
        size_t length = below_cwd[i] ? strlen(below_cwd[i]) : 0;
        if (length && !strncmp(path, below_cwd[i], length) && path[length] == '/')
            return note("", 0, path, (unsigned)length + 1);
    }
}

int p4_note_access(int fd, int dirfd, const char *path) {
    unsigned part = 0;
    if (!p4_depot.active || p4_quiet) return fd;
    if (*path == '/' ? !(part = p4_depot_part(path)) : dirfd != AT_FDCWD) return fd;
    if (!try_lock()) {
        drop(1);
        return fd;
    }
    if (p4_is_last(path)) {
        send_if_old();
    } else if (part) {
        note("", 0, path, part);
    } else {
        note_relative(path);
    }
    unlock();
    return fd;
}

static void send_accesses(int wait_ms) {
    if (!p4_depot.active || p4_quiet || !try_lock()) return;
    send_buffer(0, wait_ms);
    unlock();
}
void p4_send_accesses(void) { send_accesses(0); }
void p4_flush_accesses(void) { send_accesses(END_WAIT_MS); }

void p4_forget_accesses(void) {
    set_used(0);
    p4_log.last_size = p4_log.dropped = 0;
    unlock();
}

__attribute__((destructor)) static void at_exit(void) { p4_flush_accesses(); }

/* ---- changes of the working directory ---- */

static void moved(void) {
    __atomic_add_fetch(&cwd_changes, 1, __ATOMIC_SEQ_CST);
    may_be_here();
    if (!p4_depot.active || !try_lock()) return;
    p4_log.last_size = 0;
    unlock();
}

P4_API int chdir(const char *path) {
    int rc = P4_REAL("chdir", int (*)(const char *))(path);
    moved();
    return rc;
}
P4_API int fchdir(int fd) {
    int rc = P4_REAL("fchdir", int (*)(int))(fd);
    moved();
    return rc;
}
