/* recover: what to do when a depot file is not there. See shim.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

enum { FAILED = -1, ABSENT, RESTORED, THERE };

/* Whether there is a file, not a link whose own target may be what is missing. */
static int is_there(int dirfd, const char *path) {
    struct stat st;
    return !syscall(SYS_newfstatat, dirfd, path, &st, AT_SYMLINK_NOFOLLOW) && !S_ISLNK(st.st_mode);
}

/* What was absent a moment ago is good enough for who looks, not for who would create an empty file
 * over it: `remembered` says whether it may be used. */
__attribute__((noinline)) static int find(int dirfd, const char *path, int remembered) {
    char relative[P4_MAX_PATH];
    if (!p4_relative(dirfd, path, relative)) return ABSENT;
    if (is_there(dirfd, path)) return THERE;
    ssize_t known = p4_physical(dirfd, path, relative);
    if (known < 0) return FAILED;
    size_t length = (size_t)known;
    if (!length || p4_is_temporary(relative)) return ABSENT;
    if (remembered && p4_negative_has(relative, length)) return ABSENT;
    switch (p4_ask(relative, length)) {
    case P4_THERE:
        return RESTORED;
    case P4_ABSENT:
        p4_negative_add(relative, length);
        return ABSENT;
    default:
        return FAILED;
    }
}

/* Whether it is worth another try; each takes longer than the one before. */
static int try_again(int tries) {
    if (tries >= P4_TRIES) return 0;
    if (tries > 4) poll(NULL, 0, tries - 4);
    return 1;
}

int p4_recover(int dirfd, const char *path, int tries) {
    int found = try_again(tries) ? find(dirfd, path, 1) : FAILED;
    errno = found == FAILED ? EIO : ENOENT;
    /* Put there by another in this moment; or something else is missing, such as a rename's target. */
    if (found == THERE) return tries < 3;
    return found == RESTORED;
}

int p4_recover_before_create(int dirfd, const char *path, int tries) {
    /* Evicted again and again: still never an empty file in its place. */
    int found = try_again(tries) ? find(dirfd, path, 0) : FAILED;
    errno = found == FAILED ? EIO : ENOENT;
    return found == FAILED ? -1 : found != ABSENT;
}

void p4_now_there(int dirfd, const char *path) {
    char relative[P4_MAX_PATH];
    int saved = errno;
    size_t length = p4_depot.active ? p4_relative(dirfd, path, relative) : 0;
    if (length) p4_negative_remove(relative, length);
    errno = saved;
}

int p4_was_replaced(int fd, int dirfd, const char *path) {
    struct stat opened, there;
    int saved = errno, replaced = 0;
    if (!syscall(SYS_fstat, fd, &opened) && S_ISREG(opened.st_mode)) {
        replaced = opened.st_nlink == 0;
        if (!replaced && !syscall(SYS_newfstatat, dirfd, path, &there, 0))
            replaced = there.st_ino != opened.st_ino || there.st_dev != opened.st_dev;
        else if (!replaced)
            replaced = errno == ENOENT;
    }
    errno = saved;
    return replaced;
}
