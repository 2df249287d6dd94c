/* client: asks the daemon for a file over shim.sock.
 *
 * A desk's connection is kept for the next question. Before each use it is compared with what it was
 * when it was made: a program that forks or closes all descriptors can never make us talk on somebody
 * else's. While the daemon is away, restarting, or dies in the middle, the question is asked again until
 * the time is over (P4). A program without a free descriptor is told at once, as by open.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "shim.h"

enum { FIRST_PAUSE_MS = 2, LONGEST_PAUSE_MS = 200 };

/* A daemon that so often hangs up on a word of ours is an older one, which does not know it. */
enum { MOST_LOST = 3 };

/* Kept connections have high numbers: programs count on the low ones. */
enum { FIRST_KEPT_FD = 256 };

static int64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t p4_deadline_ns(void) { return clock_ns() + p4_depot.timeout_ns; }

/* Waits for the event; 0 when the deadline passed. */
static int wait_until(int fd, short events, int64_t deadline_ns) {
    for (;;) {
        int64_t left_ms = (deadline_ns - clock_ns()) / 1000000;
        if (left_ms <= 0) return 0;
        struct pollfd p = {.fd = fd, .events = events};
        int n = p4_poll(&p, 1, left_ms > 60000 ? 60000 : (int)left_ms);
        if (n > 0) return 1;
        if (n < 0 && errno != EINTR && errno != EAGAIN) return 0;
    }
}

/* The descriptor; -1 when the daemon is not there, -2 when this process can never reach it. */
static int connect_to_daemon(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, p4_depot.shim_socket, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return errno == ENOBUFS || errno == ENOMEM || errno == ENFILE ? -1 : -2;
    if (!connect(fd, (struct sockaddr *)&address, sizeof address)) return fd;
    syscall(SYS_close, fd);
    return -1;
}

/* Sends the whole request; 0 when the connection broke or the time is over. */
static int send_all(int fd, const char *bytes, size_t length, int64_t deadline_ns) {
    while (length) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        } else if (errno == EAGAIN) {
            if (!wait_until(fd, POLLOUT, deadline_ns)) return 0;
        } else if (errno != EINTR) {
            return 0;
        }
    }
    return 1;
}

size_t p4_receive(int fd, char *out, size_t cap, int64_t deadline_ns) {
    for (;;) {
        ssize_t n = recv(fd, out, cap, 0);
        if (n >= 0) return (size_t)n;
        if (errno == EAGAIN) {
            if (!wait_until(fd, POLLIN, deadline_ns)) return 0;
        } else if (errno != EINTR) {
            return 0;
        }
    }
}

/* Reads the answer's line; its length, or 0 when there is none. Of a long explanation only the beginning,
 * which says what it is. */
static size_t receive_line(int fd, char *line, size_t cap, int64_t deadline_ns) {
    for (size_t length = 0;;) {
        size_t n = p4_receive(fd, line + length, cap - 1 - length, deadline_ns);
        if (!n) return 0; /* the daemon went away before it had answered */
        length += n;
        line[length] = 0;
        if (length == cap - 1 || memchr(line, '\n', length)) return length;
    }
}

/* Makes the new connection the desk's; which descriptor it is from now on. */
static int keep(struct p4_desk *desk, int fd) {
    struct stat st;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_KEPT_FD);
    if (high < 0) return fd;
    syscall(SYS_close, fd);
    if (!syscall(SYS_fstat, high, &st)) {
        desk->device = st.st_dev;
        desk->inode = st.st_ino;
        desk->connection = high;
    }
    return high;
}

static void hang_up(struct p4_desk *desk) {
    if (p4_is_connected(desk)) syscall(SYS_close, desk->connection);
    desk->connection = 0;
}

/* How often a question was sent whole and got no answer is counted in `lost`. */
static int talk(struct p4_desk *desk, int fd, size_t length, int64_t deadline_ns, int *lost) {
    if (!send_all(fd, desk->request, length, deadline_ns)) return 0;
    if (receive_line(fd, desk->line, sizeof desk->line, deadline_ns)) return 1;
    ++*lost;
    return 0;
}

/* One attempt, on the kept connection or a new one: 1 when desk->line is the answer, -1 when there never
 * will be one. */
static int ask_once(struct p4_desk *desk, size_t length, int64_t deadline_ns, int *lost) {
    int owns = p4_owns_desks(), answered = 0;
    if (owns && p4_is_connected(desk))
        answered = talk(desk, desk->connection, length, deadline_ns, lost);
    if (!answered) {
        if (owns) hang_up(desk);
        int fd = connect_to_daemon();
        if (fd < 0) return fd == -2 ? -1 : 0;
        if (owns) fd = keep(desk, fd);
        answered = talk(desk, fd, length, deadline_ns, lost);
        if (!owns || !desk->connection) syscall(SYS_close, fd);
    }
    /* Without its end, the rest of the line would be taken for the next answer. */
    if (owns && (!answered || !strchr(desk->line, '\n'))) hang_up(desk);
    return answered;
}

int p4_pause(int attempt, int64_t deadline_ns) {
    int64_t left_ms = (deadline_ns - clock_ns()) / 1000000;
    int pause_ms = attempt < 7 ? FIRST_PAUSE_MS << attempt : LONGEST_PAUSE_MS;
    if (left_ms <= 0) return 0;
    p4_poll(NULL, 0, pause_ms < left_ms ? pause_ms : (int)left_ms);
    return 1;
}

static int says(const char *line, const char *word) { return !strncmp(line, word, strlen(word)); }

static enum p4_answer meaning(const char *line, int was_lost) {
    if (says(line, "OK")) return P4_THERE;
    /* The answer to an earlier attempt, which did it, got lost. */
    if (says(line, "NOTFOUND")) return was_lost ? P4_THERE : P4_ABSENT;
    if (says(line, "LOCAL")) return P4_LOCAL;
    if (says(line, "ERROR stale")) return P4_STALE;
    return says(line, "ERROR read-only") ? P4_READ_ONLY : P4_REFUSED;
}

static enum p4_answer ask(struct p4_desk *desk, const char *verb, size_t length, int waits) {
    size_t verb_length = strlen(verb);
    memcpy(desk->request, verb, verb_length);
    desk->request[verb_length] = ' ';
    memcpy(desk->request + verb_length + 1, desk->relative, length);
    length += verb_length + 2;
    desk->request[length - 1] = '\n';
    int64_t deadline_ns = p4_deadline_ns();
    int lost = 0;
    if (!p4_depot.shim_socket[0] || p4_is_confined(desk->base, sizeof desk->base)) return P4_FAILED;
    for (int attempt = 0;; attempt++) {
        int answered = ask_once(desk, length, deadline_ns, &lost);
        if (answered > 0) return meaning(desk->line, lost && *verb == 'U');
        if (lost == MOST_LOST && *verb != 'F') return P4_REFUSED;
        if (answered < 0 || !waits || !p4_pause(attempt, deadline_ns)) return P4_FAILED;
    }
}

static enum p4_answer ask_whole(struct p4_desk *desk, const char *verb, size_t length, int waits) {
    /* Not every call that asks is a cancellation point, and a thread that ended here would leave its desk
     * taken. */
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    enum p4_answer answer = ask(desk, verb, length, waits);
    pthread_setcancelstate(before, &before);
    return answer;
}

enum p4_answer p4_ask(struct p4_desk *desk, const char *verb, size_t length) {
    return ask_whole(desk, verb, length, 1);
}

enum p4_answer p4_ask_now(struct p4_desk *desk, const char *verb, size_t length) {
    return ask_whole(desk, verb, length, 0);
}

int p4_begin_asking(const char *request, size_t length, int64_t deadline_ns) {
    int fd = connect_to_daemon();
    if (fd < 0) return fd;
    if (send_all(fd, request, length, deadline_ns)) return fd;
    syscall(SYS_close, fd);
    return -1;
}
