/* access_log: tells the daemon which files were opened, many at a time, so that files in use stay in
 * the cache. Noting one costs no system call; what is noted is sent when there is much of it, when it
 * is old, and at the end of the process. It is never waited for: a daemon that is away misses it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim.h"

enum { BUFFER = 8192 };
static const int64_t OLD_NS = 1000000000;

static char buffer[BUFFER];
static size_t used, last; /* last: where the newest path begins */
static int64_t oldest_ns;
static char locked;

static int try_lock(void) { return !__atomic_test_and_set(&locked, __ATOMIC_ACQUIRE); }
static void unlock(void) { __atomic_clear(&locked, __ATOMIC_RELEASE); }

static void send_buffer(void) {
    if (!used) return;
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

void p4_note_access(const char *relative) {
    size_t length = strlen(relative);
    if (length + 1 > BUFFER || !strncmp(relative, ".p4cache/", 9)) return;
    if (!try_lock()) return; /* another thread is noting: one of many is lost, not time */
    int repeated = used == last + length + 1 && !memcmp(buffer + last, relative, length);
    if (!repeated) {
        int64_t now_ns = p4_now_ns();
        if (used + length + 1 > BUFFER || (used && now_ns - oldest_ns > OLD_NS)) send_buffer();
        if (!used) oldest_ns = now_ns;
        last = used;
        memcpy(buffer + used, relative, length);
        buffer[used + length] = '\n';
        used += length + 1;
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

P4_API __attribute__((noreturn)) void _exit(int status) {
    p4_flush_accesses();
    P4_REAL("_exit", void (*)(int))(status);
    __builtin_unreachable();
}

P4_API __attribute__((noreturn)) void _Exit(int status) { _exit(status); }
