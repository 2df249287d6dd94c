/* idle: a program that waits opens nothing, and would keep for as long what was noted of its last opens. So
 * while something is noted, the calls by which programs wait do it in two parts: what is left of its second
 * and, when that was sent, the rest. It costs other waits one comparison.
 */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include "shim.h"

static const int64_t SECOND_NS = 1000000000, MS_NS = 1000000, ENDLESS = INT64_MAX;

static inline int is_noted(void) { return P4_UNLIKELY(__atomic_load_n(&p4_log.used, __ATOMIC_RELAXED)); }

/* The first part of a wait, ns, or -1 when it ends before. */
static int64_t first_part(int64_t wait_ns) {
    int64_t part_ns = p4_keeps_accesses_for();
    return wait_ns > part_ns ? part_ns : -1;
}

/* ---- milliseconds ---- */

static int first_part_ms(int timeout) {
    int64_t part_ns = first_part(timeout < 0 ? ENDLESS : timeout * MS_NS);
    return part_ns < 0 ? -1 : (int)(part_ns / MS_NS);
}
static int rest_ms(int timeout, int part) { return timeout < 0 ? timeout : timeout - part; }

int p4_poll(struct pollfd *fds, nfds_t count, int timeout) {
    return P4_REAL("poll", int (*)(struct pollfd *, nfds_t, int))(fds, count, timeout);
}
P4_API int poll(struct pollfd *fds, nfds_t count, int timeout) {
    int part = is_noted() ? first_part_ms(timeout) : -1;
    if (part < 0) return p4_poll(fds, count, timeout);
    int ready = p4_poll(fds, count, part);
    if (ready) return ready;
    p4_send_accesses();
    return p4_poll(fds, count, rest_ms(timeout, part));
}

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room);
P4_API int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room) {
    typedef int (*call)(struct pollfd *, nfds_t, int, size_t);
    if (room / sizeof *fds < count) return P4_REAL("__poll_chk", call)(fds, count, timeout, room);
    return poll(fds, count, timeout);
}

/* epoll_wait is this without a mask. */
P4_API int epoll_pwait(int fd, struct epoll_event *events, int count, int timeout, const sigset_t *mask) {
    typedef int (*epoll_call)(int, struct epoll_event *, int, int, const sigset_t *);
    epoll_call call = P4_REAL("epoll_pwait", epoll_call);
    int part = is_noted() ? first_part_ms(timeout) : -1;
    if (part < 0) return call(fd, events, count, timeout, mask);
    int ready = call(fd, events, count, part, mask);
    if (ready) return ready;
    p4_send_accesses();
    return call(fd, events, count, rest_ms(timeout, part), mask);
}
P4_API int epoll_wait(int fd, struct epoll_event *events, int count, int timeout) {
    return epoll_pwait(fd, events, count, timeout, NULL);
}

/* ---- times ---- */

static int64_t in_ns(const struct timespec *t) { return t->tv_sec * SECOND_NS + t->tv_nsec; }
static struct timespec from_ns(int64_t ns) { return (struct timespec){ns / SECOND_NS, ns % SECOND_NS}; }

typedef int (*ppoll_call)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
P4_API int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
    ppoll_call call = P4_REAL("ppoll", ppoll_call);
    int64_t part_ns = is_noted() ? first_part(timeout ? in_ns(timeout) : ENDLESS) : -1;
    if (part_ns < 0) return call(fds, count, timeout, mask);
    struct timespec part = from_ns(part_ns);
    int ready = call(fds, count, &part, mask);
    if (ready) return ready;
    p4_send_accesses();
    if (!timeout) return call(fds, count, NULL, mask);
    struct timespec rest = from_ns(in_ns(timeout) - part_ns);
    return call(fds, count, &rest, mask);
}

int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask,
                size_t room);
P4_API int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                       const sigset_t *mask, size_t room) {
    typedef int (*call)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);
    if (room / sizeof *fds < count)
        return P4_REAL("__ppoll_chk", call)(fds, count, timeout, mask, room);
    return ppoll(fds, count, timeout, mask);
}

/* The sets of select are changed by a wait. With more than these descriptors it is not parted. */
enum { MOST = 1024 };
struct sets {
    fd_set *from[3];
    char copy[3][MOST / 8];
};

static size_t bytes_of(int count) { return ((size_t)count + 63) / 64 * 8; }

static int save(struct sets *sets, int count, fd_set *read, fd_set *write, fd_set *except) {
    if (count < 0 || count > MOST) return 0;
    sets->from[0] = read;
    sets->from[1] = write;
    sets->from[2] = except;
    for (int i = 0; i < 3; i++) {
        const char *set = (char *)sets->from[i];
        if (!set || !count) continue;
        /* EFAULT is the kernel's to say. */
        if (!p4_is_mapped(set) || !p4_is_mapped(set + bytes_of(count) - 1)) return 0;
        memcpy(sets->copy[i], set, bytes_of(count));
    }
    return 1;
}
static void put_back(const struct sets *sets, int count) {
    for (int i = 0; i < 3; i++)
        if (sets->from[i]) memcpy(sets->from[i], sets->copy[i], bytes_of(count));
}

P4_API int pselect(int count, fd_set *read, fd_set *write, fd_set *except, const struct timespec *timeout,
                   const sigset_t *mask) {
    typedef int (*pselect_call)(int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *);
    pselect_call call = P4_REAL("pselect", pselect_call);
    struct sets sets;
    int64_t part_ns = is_noted() ? first_part(timeout ? in_ns(timeout) : ENDLESS) : -1;
    if (part_ns < 0 || !save(&sets, count, read, write, except))
        return call(count, read, write, except, timeout, mask);
    struct timespec part = from_ns(part_ns);
    int ready = call(count, read, write, except, &part, mask);
    if (ready) return ready;
    put_back(&sets, count);
    p4_send_accesses();
    if (!timeout) return call(count, read, write, except, NULL, mask);
    struct timespec rest = from_ns(in_ns(timeout) - part_ns);
    return call(count, read, write, except, &rest, mask);
}

static int64_t timeval_ns(const struct timeval *t) { return t->tv_sec * SECOND_NS + t->tv_usec * 1000; }
static struct timeval timeval_of(int64_t ns) {
    return (struct timeval){ns / SECOND_NS, ns % SECOND_NS / 1000};
}

/* In Linux the timeout is what is left of it. */
P4_API int select(int count, fd_set *read, fd_set *write, fd_set *except, struct timeval *timeout) {
    typedef int (*select_call)(int, fd_set *, fd_set *, fd_set *, struct timeval *);
    select_call call = P4_REAL("select", select_call);
    struct sets sets;
    int64_t part_ns = is_noted() ? first_part(timeout ? timeval_ns(timeout) : ENDLESS) : -1;
    if (part_ns < 0 || !save(&sets, count, read, write, except))
        return call(count, read, write, except, timeout);
    struct timeval part = timeval_of(part_ns);
    int64_t rest_ns = timeout ? timeval_ns(timeout) - timeval_ns(&part) : 0;
    int ready = call(count, read, write, except, &part);
    if (timeout) *timeout = timeval_of(rest_ns + timeval_ns(&part));
    if (ready) return ready;
    put_back(&sets, count);
    p4_send_accesses();
    return call(count, read, write, except, timeout);
}

/* ---- sleeps: before them ---- */

static void before_sleep(int64_t sleep_ns) {
    if (first_part(sleep_ns) >= 0) p4_send_accesses();
}

P4_API unsigned sleep(unsigned seconds) {
    if (is_noted()) before_sleep(seconds * SECOND_NS);
    return P4_REAL("sleep", unsigned (*)(unsigned))(seconds);
}
P4_API int nanosleep(const struct timespec *time, struct timespec *rest) {
    typedef int (*call)(const struct timespec *, struct timespec *);
    if (is_noted() && p4_is_mapped((const char *)time)) before_sleep(in_ns(time));
    return P4_REAL("nanosleep", call)(time, rest);
}
P4_API int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *rest) {
    typedef int (*call)(clockid_t, int, const struct timespec *, struct timespec *);
    if (is_noted() && p4_is_mapped((const char *)time)) {
        struct timespec now = {0};
        if (flags & TIMER_ABSTIME) clock_gettime(clock, &now);
        before_sleep(in_ns(time) - in_ns(&now));
    }
    return P4_REAL("clock_nanosleep", call)(clock, flags, time, rest);
}
