/* depot: which paths are the depot's; see shim.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "quick.h"
#include "shim.h"

/* Until the start: no path's bytes, masked, are these. */
P4_WARM struct p4_depot p4_depot = {.ends = {{.bytes = 1}, {.bytes = 1}}, .page_part = P4_PAGE, .here = 1};

/* Longest chain of links to links, as in the kernel (path_resolution(7)). */
enum { MAX_LINKS = 40 };

int p4_is_depot(int dirfd, const char *path) {
    struct stat st;
    return !syscall(SYS_newfstatat, dirfd, path, &st, 0) && st.st_dev == p4_depot.device &&
           st.st_ino == p4_depot.inode;
}

void p4_look_for_depot(void) {
    int saved = errno;
    if (p4_depot.active && !p4_is_depot(AT_FDCWD, p4_depot.given)) p4_depot.active = 0;
    errno = saved;
}

int p4_begins_slowly(const char *path, const char *text, unsigned size) {
    unsigned at = 0;
    while (at < size && path[at] == text[at]) at++;
    return at == size;
}

const char *p4_below_depot(const char *path) {
    unsigned length = p4_depot_part(path);
    return length ? path + length : NULL;
}

/* Sixteen bytes at once; a comparison gives 255 for true. */
typedef uint8_t bytes16 __attribute__((vector_size(16), aligned(1), may_alias));

unsigned p4_plain_length(const char *name) {
    unsigned at = 0;
    if (*name == '.') return 0;
    while (P4_READS_WORDS && ((uintptr_t)(name + at - 1) & (P4_PAGE - 1)) <= P4_PAGE - 17) {
        bytes16 now = *(const bytes16 *)(name + at), before = *(const bytes16 *)(name + at - 1);
        bytes16 stop = (bytes16)(now == 0) | (bytes16)(now == '\n') |
                       ((bytes16)(before == '/') & (bytes16)((now | 1) == '/')); /* '.' | 1 */
        uint64_t halves[2];
        memcpy(halves, &stop, sizeof halves);
        if (halves[0] | halves[1]) {
            at += (unsigned)(halves[0] ? __builtin_ctzll(halves[0]) : 64 + __builtin_ctzll(halves[1])) / 8;
            return name[at] ? 0 : at;
        }
        at += 16;
    }
    for (char before = at ? name[at - 1] : '/';; at++) {
        char c = name[at];
        if (!c) return at;
        if (c == '\n' || (before == '/' && (c | 1) == '/')) return 0;
        before = c;
    }
}

int p4_append_plain(char *out, size_t *length, const char *path) {
    while (*path) {
        while (*path == '/') path++;
        size_t n = 0;
        while (path[n] && path[n] != '/') n++;
        if (n == 2 && path[0] == '.' && path[1] == '.') {
            while (*length && out[--*length] != '/') {
            }
        } else if (n && !(n == 1 && path[0] == '.')) {
            if (*length + n + 2 > P4_MAX_PATH) return -1;
            out[(*length)++] = '/';
            memcpy(out + *length, path, n);
            *length += n;
        }
        path += n;
    }
    out[*length] = 0;
    return 0;
}

/* The absolute path of the directory that relative names start at; 0 when it cannot be told. */
static int base_dir(int dirfd, char out[P4_MAX_PATH]) {
    if (dirfd == AT_FDCWD) return syscall(SYS_getcwd, out, P4_MAX_PATH) > 0 && *out == '/';
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
    long n = syscall(SYS_readlinkat, AT_FDCWD, link, out, P4_MAX_PATH - 1);
    if (n <= 0 || *out != '/') return 0;
    out[n] = 0;
    return 1;
}

/* The depot's part of an absolute, plain path, if the daemon can be asked for it. */
static size_t askable(const char *plain, char out[P4_MAX_PATH]) {
    const char *below = p4_below_depot(plain);
    if (!below || !*below || strchr(below, '\n')) return 0;
    if (!strncmp(below, ".p4cache", 8) && (!below[8] || below[8] == '/')) return 0;
    size_t n = strlen(below);
    if (n > P4_MAX_CACHED) return 0;
    memcpy(out, below, n + 1);
    return n;
}

size_t p4_relative(struct p4_desk *desk, int dirfd, const char *path) {
    size_t length = 0;
    /* Most paths are quickly told apart. */
    if (*path == '/' && !p4_below_depot(path) && !strstr(path, "/.") && !strstr(path, "//")) return 0;
    if (!*path) return 0; /* an empty name is ENOENT to the kernel, whatever the directory */
    if (*path != '/' &&
        (!base_dir(dirfd, desk->base) || p4_append_plain(desk->plain, &length, desk->base)))
        return 0;
    return p4_append_plain(desk->plain, &length, path) ? 0 : askable(desk->plain, desk->relative);
}

/* The absolute path of the directory part of `path`, as far as it is there, in desk->base, and what
 * follows it. 1 when found, 0 when not, -1 when it may be found another time. */
static int existing_part(struct p4_desk *desk, int dirfd, const char *path, const char **rest) {
    size_t length = strlen(path);
    if (length >= sizeof desk->dir) return 0;
    for (;;) {
        while (length && path[length - 1] != '/') length--;
        *rest = path + length;
        if (!length) return base_dir(dirfd, desk->base);
        memcpy(desk->dir, path, length);
        desk->dir[length] = 0;
        int fd = (int)syscall(SYS_openat, dirfd, desk->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
            int known = base_dir(fd, desk->base);
            syscall(SYS_close, fd);
            return known;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) return -1;
        if (errno != ENOENT) return 0;
        while (length && path[length - 1] == '/') length--;
    }
}

ssize_t p4_physical(struct p4_desk *desk, int dirfd, const char *path) {
    char *plain = desk->plain, *link = desk->link;
    for (int links = 0; links < MAX_LINKS; links++) {
        const char *rest;
        size_t length = 0;
        int found = existing_part(desk, dirfd, path, &rest);
        if (found < 0) return -1;
        if (!found) return (ssize_t)p4_relative(desk, dirfd, path);
        if (p4_append_plain(plain, &length, desk->base) || p4_append_plain(plain, &length, rest)) break;
        long n = syscall(SYS_readlinkat, AT_FDCWD, plain, link, P4_MAX_PATH - 1);
        if (n < 0) return (ssize_t)askable(plain, desk->relative);
        link[n] = 0;
        /* A link to a file that is not there: the file's name counts. */
        if (*link != '/') {
            while (plain[length - 1] != '/') length--;
            if (length + (size_t)n + 1 > P4_MAX_PATH) break;
            memmove(link + length, link, (size_t)n + 1);
            memcpy(link, plain, length);
        }
        dirfd = AT_FDCWD;
        path = strcpy(desk->target, link);
    }
    return 0;
}

int p4_may_be_evicted(int dirfd, const char *path) {
    if (!p4_depot.active || !p4_is_readable(path)) return 0;
    struct p4_desk *desk = p4_take_desk();
    if (!desk) return 1; /* to be asked for, and to fail there */
    int saved = errno;
    int may = p4_relative(desk, dirfd, path) && !p4_is_temporary(desk->relative);
    errno = saved;
    p4_leave_desk(desk);
    return may;
}

int p4_exists(int dirfd, const char *path) {
    struct stat st;
    int saved = errno;
    int there = !syscall(SYS_newfstatat, dirfd, path, &st, AT_SYMLINK_NOFOLLOW);
    errno = saved;
    return there;
}

int p4_is_mapped(const char *address) {
    /* A word that does not cross a page, as the path may be short. */
    uintptr_t word = (uintptr_t)address & ~(uintptr_t)7;
    if (!word) return 0; /* to the kernel "no set", not a bad one */
    /* The set is copied before `how` is looked at (EINVAL): nothing is changed by this. */
    return !(syscall(SYS_rt_sigprocmask, ~0, (const void *)word, NULL, 8) < 0 && errno == EFAULT);
}

int p4_is_readable(const char *path) {
    int saved = errno, readable = 0;
    for (size_t seen = 0; seen < P4_MAX_PATH && p4_is_mapped(path + seen);) {
        size_t to_page_end = P4_PAGE - ((uintptr_t)(path + seen) & (P4_PAGE - 1));
        if ((readable = memchr(path + seen, 0, to_page_end) != NULL)) break;
        seen += to_page_end;
    }
    errno = saved;
    return readable;
}

int p4_is_temporary(const char *relative) {
    const char *slash = strrchr(relative, '/');
    const char *name = slash ? slash + 1 : relative;
    if (strncmp(name, "tmp.", 4)) return 0;
    int numbers = 0;
    for (const char *at = name + 3; *at == '.';) {
        size_t digits = strspn(at + 1, "0123456789");
        if (!digits) return 0;
        at += 1 + digits;
        numbers++;
        if (!*at) return numbers == 2 || numbers == 3;
    }
    return 0;
}
