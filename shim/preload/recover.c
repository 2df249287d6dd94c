/* recover: what to do when a depot file is not there. See shim.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "quick.h"
#include "shim.h"

enum { FAILED = -1, ABSENT, RESTORED, THERE };

/* Whether there is a file, not a link whose own target may be what is missing. */
static int is_there(int dirfd, const char *path) {
    struct stat st;
    return !syscall(SYS_newfstatat, dirfd, path, &st, AT_SYMLINK_NOFOLLOW) && !S_ISLNK(st.st_mode);
}

/* What was absent a moment ago is good enough for who looks, not for who would create an empty file
 * over it: `remembered` says whether it may be used. */
static int find_at(struct p4_desk *desk, int dirfd, const char *path, int remembered) {
    size_t length = p4_relative(desk, dirfd, path);
    if (!length) return ABSENT;
    uint64_t as_written = p4_negative_key(desk->relative, length);
    if (remembered && p4_negative_has(as_written)) return ABSENT;
    if (is_there(dirfd, path)) return THERE;
    ssize_t known = p4_physical(desk, dirfd, path);
    if (known < 0) return FAILED;
    if (!known || p4_is_temporary(desk->relative)) return ABSENT;
    switch (p4_ask(desk, "FETCH", (size_t)known)) {
    case P4_THERE:
        p4_look_for_table();
        return RESTORED;
    case P4_ABSENT:
        p4_negative_add(as_written);
        p4_negative_add(p4_negative_key(desk->relative, (size_t)known));
        return ABSENT;
    default:
        return FAILED;
    }
}

__attribute__((noinline)) static int find(int dirfd, const char *path, int remembered) {
    struct p4_desk *desk = p4_take_desk();
    if (!desk) return FAILED;
    int found = find_at(desk, dirfd, path, remembered);
    p4_leave_desk(desk);
    return found;
}

/* Whether it is worth another try; each takes longer than the one before. */
static int try_again(int tries) {
    if (tries >= P4_TRIES) return 0;
    if (tries > 4) p4_poll(NULL, 0, tries - 4);
    return 1;
}

/* Whether the daemon said a moment ago that there is none: for names that need no other look. */
static int is_known_absent(const char *path) {
    unsigned part = *path == '/' ? p4_depot_part(path) : 0, length = part ? p4_plain_length(path + part) : 0;
    return length && p4_negative_has(p4_negative_key(path + part, length));
}

int p4_recover(int dirfd, const char *path, int tries) {
    if (!tries && is_known_absent(path)) {
        errno = ENOENT;
        return 0;
    }
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

int p4_is_free(int dirfd, const char *path) {
    int found = p4_exists(dirfd, path) ? 1 : p4_recover_before_create(dirfd, path, 0);
    if (found) errno = found < 0 ? EIO : EEXIST;
    return !found;
}

static int unlink_at(struct p4_desk *desk, int dirfd, const char *path) {
    size_t length = p4_relative(desk, dirfd, path);
    if (!length) return P4_ABSENT;
    uint64_t as_written = p4_negative_key(desk->relative, length);
    if (p4_negative_has(as_written)) return P4_ABSENT;
    ssize_t known = p4_physical(desk, dirfd, path);
    if (known < 0) return P4_FAILED;
    if (!known || p4_is_temporary(desk->relative)) return P4_ABSENT;
    enum p4_answer answer = p4_ask(desk, "UNLINK", (size_t)known);
    /* An older daemon does not know the word: the file comes back, and goes the usual way. */
    if (answer == P4_REFUSED) {
        answer = p4_ask(desk, "FETCH", (size_t)known);
        if (answer == P4_THERE) return P4_LOCAL;
    }
    if (answer == P4_THERE || answer == P4_ABSENT) {
        p4_negative_add(as_written);
        p4_negative_add(p4_negative_key(desk->relative, (size_t)known));
    }
    return answer;
}

int p4_unlink_evicted(int dirfd, const char *path, int tries) {
    struct p4_desk *desk = try_again(tries) ? p4_take_desk() : NULL;
    int answer = P4_FAILED, before = errno;
    if (desk) {
        answer = unlink_at(desk, dirfd, path);
        p4_leave_desk(desk);
    }
    errno = answer == P4_ABSENT ? ENOENT : answer == P4_READ_ONLY ? EROFS : EIO;
    if (answer == P4_LOCAL || answer == P4_THERE) errno = before;
    return answer == P4_LOCAL ? 1 : answer == P4_THERE ? 0 : -1;
}

void p4_now_there(int dirfd, const char *path) {
    struct p4_desk *desk = p4_depot.active ? p4_take_desk() : NULL;
    if (!desk) return; /* without memory "absent" is believed until its time is over */
    int saved = errno;
    size_t length = p4_relative(desk, dirfd, path);
    if (length) p4_negative_remove(p4_negative_key(desk->relative, length));
    errno = saved;
    p4_leave_desk(desk);
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
