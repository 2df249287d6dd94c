/* notify: see notify.h for what it owns and its rules. */
#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int32_t p4notify_send(const char *name, uint32_t name_length, const uint8_t *message,
                      uint32_t length) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (name_length == 0 || name_length >= sizeof to.sun_path) return -ENAMETOOLONG;
    memcpy(to.sun_path, name, name_length);
    /* An abstract name begins with NUL and has no NUL at its end: unix(7). */
    if (name[0] == '@') to.sun_path[0] = '\0';
    const socklen_t to_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name_length);
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    const ssize_t sent = sendto(fd, message, length, MSG_DONTWAIT | MSG_NOSIGNAL,
                                (const struct sockaddr *)&to, to_length);
    const int32_t result = sent < 0 ? -errno : 0;
    close(fd);
    return result;
}

int64_t p4notify_monotonic_us(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now)) return -errno;
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
