/* recover: what to do when a depot file is not there. See shim.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

/* 1 there now, 0 absent, -1 nobody can say. What was absent a moment ago is good enough for who looks,
 * not for who would create an empty file over it: `remembered` says whether it may be used. */
__attribute__((noinline)) static int find(int dirfd, const char *path, int remembered) {
    char relative[P4_MAX_PATH];
    if (!p4_relative(dirfd, path, relative)) return 0;
    size_t length = p4_physical(dirfd, path, relative);
    if (!length || p4_is_temporary(relative)) return 0;
    if (remembered && p4_negative_has(relative, length)) return 0;
    switch (p4_ask(relative, length)) {
    case P4_THERE:
        return 1;
    case P4_ABSENT:
        p4_negative_add(relative, length);
        return 0;
    default:
        return -1;
    }
}

int p4_recover(int dirfd, const char *path, int tries) {
    if (tries >= P4_TRIES) {
        errno = p4_exists(dirfd, path) ? ENOENT : EIO;
        return 0;
    }
    /* It was put there: gone once more, or something else is missing, such as a rename's target. */
    if (tries && p4_exists(dirfd, path)) return 1;
    int found = find(dirfd, path, 1);
    errno = found < 0 ? EIO : ENOENT;
    return found == 1;
}

int p4_recover_before_create(int dirfd, const char *path) {
    int found = find(dirfd, path, 0);
    errno = found < 0 ? EIO : ENOENT;
    return found;
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
