/* Waits by every call that programs wait by, each in a process of its own, after it opened DIR/CALL.0, .1 and .2.
 *
 *   idle noted DIR   for ever; "ok" if all of them still do when standard input ends
 *   idle ends DIR    for 1.5 seconds, while nothing happens: "ok" if each waits as long, and says so
 *   idle ready DIR   until standard input ends: "ok" if each says that it did */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int __poll_chk(struct pollfd *, nfds_t, int, size_t);
int __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);

static const char *const CALLS[] = {"poll", "__poll_chk", "ppoll", "__ppoll_chk", "select", "pselect",
                                    "epoll_wait", "epoll_pwait", "sleep", "nanosleep", "clock_nanosleep"};
enum { COUNT = sizeof CALLS / sizeof *CALLS, SLEEPS = 8 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* Waits for standard input's end, or so many milliseconds (-1: for ever): how many are ready, or -1. */
static int wait_by(const char *call, int ms) {
    struct pollfd fd = {.fd = 0, .events = POLLIN};
    struct timespec time = {ms / 1000, ms % 1000 * 1000000L}, *timeout = ms < 0 ? NULL : &time;
    struct timespec longest = {ms < 0 ? 1000 : ms / 1000, ms < 0 ? 0 : time.tv_nsec}, at;
    if (!strcmp(call, "poll")) return poll(&fd, 1, ms);
    if (!strcmp(call, "__poll_chk")) return __poll_chk(&fd, 1, ms, sizeof fd);
    if (!strcmp(call, "ppoll")) return ppoll(&fd, 1, timeout, NULL);
    if (!strcmp(call, "__ppoll_chk")) return __ppoll_chk(&fd, 1, timeout, NULL, sizeof fd);
    if (!strcmp(call, "sleep")) return sleep(ms < 0 ? 1000 : 2), 0;
    if (!strcmp(call, "nanosleep")) return nanosleep(&longest, NULL);
    if (!strcmp(call, "clock_nanosleep")) {
        clock_gettime(CLOCK_REALTIME, &at);
        at.tv_sec += longest.tv_sec;
        at.tv_nsec += longest.tv_nsec;
        if (at.tv_nsec >= 1000000000) at.tv_sec++, at.tv_nsec -= 1000000000;
        return clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &at, NULL);
    }
    if (!strncmp(call, "epoll", 5)) {
        struct epoll_event event = {.events = EPOLLIN};
        int epoll = epoll_create1(0);
        epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
        return call[6] == 'w' ? epoll_wait(epoll, &event, 1, ms) : epoll_pwait(epoll, &event, 1, ms, NULL);
    }
    /* A set as large as it has to be, in front of what is not its. */
    struct {
        unsigned long set, after;
    } read = {1, 0x5a5a};
    struct timeval tv = {time.tv_sec, time.tv_nsec / 1000};
    int ready = *call == 's' ? select(1, (fd_set *)&read, NULL, NULL, ms < 0 ? NULL : &tv)
                             : pselect(1, (fd_set *)&read, NULL, NULL, timeout, NULL);
    if (read.set != (unsigned long)ready || read.after != 0x5a5a) return -1;
    if (*call == 's' && ms >= 0 && (tv.tv_sec || tv.tv_usec)) return -1;
    return ready;
}

/* What is only sent at the end comes too late. */
static void too_late(int signal) { _exit(3); }

static void open_three(const char *dir, const char *call) {
    char path[4096];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s.%d", dir, call, i);
        int fd = open(path, O_RDONLY);
        if (fd < 0) exit(2);
        close(fd);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int notes = !strcmp(argv[1], "noted"), ends = !strcmp(argv[1], "ends"), wrong = 0;
    pid_t children[COUNT];
    int count = notes || ends ? COUNT : SLEEPS, silent[2];
    pipe(silent);
    for (int i = 0; i < count; i++) {
        if ((children[i] = fork())) continue;
        if (notes || ends) dup2(silent[0], 0);
        signal(SIGALRM, too_late);
        alarm(20);
        open_three(argv[2], CALLS[i]);
        double begun = now();
        int ready = wait_by(CALLS[i], ends ? 1500 : -1);
        _exit(ends ? ready != 0 || now() - begun < 1.5 : ready != 1);
    }
    char byte;
    while (!ends && read(0, &byte, 1) > 0) {
    }
    for (int i = 0; i < count; i++) {
        int status;
        if (notes) kill(children[i], SIGKILL);
        waitpid(children[i], &status, 0);
        if (notes ? WTERMSIG(status) != SIGKILL : status != 0) {
            printf("%s: %x\n", CALLS[i], status);
            wrong = 1;
        }
    }
    if (!wrong) puts("ok");
    return wrong;
}
