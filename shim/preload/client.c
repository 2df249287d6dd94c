/* client: asks the daemon for a file over shim.sock.
 *
 * One connection for each question: a program that forks or closes all descriptors can never make us
 * talk on somebody else's. While the daemon is away, restarting, or dies in the middle, the question is
 * asked again until the time is over. A program without a free descriptor is told at once, as by open.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "shim.h"

enum { FIRST_PAUSE_MS = 2, LONGEST_PAUSE_MS = 200 };

static int64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Waits for the event; 0 when the deadline passed. */
static int wait_until(int fd, short events, int64_t deadline_ns) {
    for (;;) {
        int64_t left_ms = (deadline_ns - clock_ns()) / 1000000;
        if (left_ms <= 0) return 0;
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, left_ms > 60000 ? 60000 : (int)left_ms);
        if (n > 0) return 1;
        if (n < 0 && errno != EINTR && errno != EAGAIN) return 0;
    }
}

static int connect_to_daemon(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, p4_depot.shim_socket, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if (!connect(fd, (struct sockaddr *)&address, sizeof address)) return fd;
    close(fd);
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

/* Reads the first line of the answer; its length, or 0 when there is none. */
static size_t receive_line(int fd, char *line, size_t cap, int64_t deadline_ns) {
    size_t length = 0;
    while (length < cap - 1) {
        ssize_t n = recv(fd, line + length, cap - 1 - length, 0);
        if (n > 0) {
            length += (size_t)n;
            line[length] = 0;
            if (memchr(line, '\n', length)) return length;
        } else if (n == 0) {
            return 0; /* the daemon went away before it had answered */
        } else if (errno == EAGAIN) {
            if (!wait_until(fd, POLLIN, deadline_ns)) return 0;
        } else if (errno != EINTR) {
            return 0;
        }
    }
    return length; /* a long explanation: its beginning says what it is */
}

/* One attempt: 1 when there is an answer. */
static int ask_once(const char *request, size_t length, int64_t deadline_ns, enum p4_answer *answer) {
    char line[512];
    int fd = connect_to_daemon();
    if (fd < 0) return 0;
    int answered = send_all(fd, request, length, deadline_ns) &&
                   receive_line(fd, line, sizeof line, deadline_ns);
    close(fd);
    if (!answered) return 0;
    *answer = !strncmp(line, "OK", 2) ? P4_THERE : !strncmp(line, "NOTFOUND", 8) ? P4_ABSENT : P4_FAILED;
    return 1;
}

static enum p4_answer ask(const char *relative, size_t length) {
    char request[P4_MAX_PATH + 8] = "FETCH ";
    memcpy(request + 6, relative, length);
    request[6 + length] = '\n';
    int64_t deadline_ns = clock_ns() + p4_depot.timeout_ns;
    enum p4_answer answer;
    if (!p4_depot.shim_socket[0]) return P4_FAILED;
    for (int64_t pause_ms = FIRST_PAUSE_MS;; pause_ms *= 2) {
        errno = 0;
        if (ask_once(request, length + 7, deadline_ns, &answer)) return answer;
        if (errno == EMFILE) return P4_FAILED;
        int64_t left_ms = (deadline_ns - clock_ns()) / 1000000;
        if (left_ms <= 0) return P4_FAILED;
        if (pause_ms > LONGEST_PAUSE_MS) pause_ms = LONGEST_PAUSE_MS;
        poll(NULL, 0, (int)(pause_ms < left_ms ? pause_ms : left_ms));
    }
}

enum p4_answer p4_ask(const char *relative, size_t length) {
    /* Not every call that asks is a cancellation point, and a thread that ended here would leave its
     * connection open. */
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    enum p4_answer answer = ask(relative, length);
    pthread_setcancelstate(before, &before);
    return answer;
}
