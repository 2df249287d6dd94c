/* files: see files.h for what it owns and its rules. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

void p4files_init(void) { signal(SIGIO, SIG_IGN); }

int32_t p4files_open_root(const char *dir) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int32_t p4files_close(int32_t fd) { return close(fd) ? -errno : 0; }

int32_t p4files_lock(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int p4_open_beneath(int root, const char *path, int flags) {
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    for (;;) {
        long fd = syscall(SYS_openat2, root, path, &how, sizeof how);
        if (fd >= 0) return (int)fd;
        /* EAGAIN: a rename somewhere made the kernel unsure (openat2(2)); it asks to try again. */
        if (errno != EAGAIN && errno != EINTR) return -errno;
    }
}

int p4_open_parent(int root, const char *path, const char **name) {
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    if (!slash) return p4_open_beneath(root, ".", O_PATH | O_DIRECTORY);
    char dir[4096];
    size_t length = (size_t)(slash - path);
    if (length >= sizeof dir) return -ENAMETOOLONG;
    memcpy(dir, path, length);
    dir[length] = 0;
    return p4_open_beneath(root, dir, O_PATH | O_DIRECTORY);
}

void p4_from_stat(const struct stat *st, p4_stat *out) {
    out->size = st->st_size;
    out->mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    out->mode = st->st_mode;
    out->nlink = (uint32_t)st->st_nlink;
    out->inode = st->st_ino;
    out->ctime_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
}

void p4_fill_stat(int fd, p4_stat *out, int *error) {
    struct stat st;
    *error = fstat(fd, &st) ? -errno : 0;
    if (!*error) p4_from_stat(&st, out);
}

int32_t p4files_fstat(int32_t fd, p4_stat *out) {
    int error;
    p4_fill_stat(fd, out, &error);
    return error;
}

int32_t p4files_stat(int32_t root, const char *path, p4_stat *out) {
    int fd = p4_open_beneath(root, path, O_PATH | O_NOFOLLOW);
    if (fd < 0) return fd;
    int error;
    p4_fill_stat(fd, out, &error);
    close(fd);
    return error;
}

int32_t p4files_open(int32_t root, const char *path, p4_stat *out) {
    /* O_NONBLOCK: a FIFO put at the path must not hang us. O_NOATIME is only allowed to owners. */
    int fd = p4_open_beneath(root, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME);
    if (fd == -EPERM) fd = p4_open_beneath(root, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return fd;
    int error;
    p4_fill_stat(fd, out, &error);
    if (!error && !S_ISREG(out->mode)) error = -EINVAL;
    if (error) {
        close(fd);
        return error;
    }
    return fd;
}

int64_t p4files_pread(int32_t fd, uint8_t *out, uint64_t length, int64_t offset) {
    uint64_t done = 0;
    while (done < length) {
        ssize_t n = pread(fd, out + done, length - done, offset + (int64_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        if (n == 0) break;
        done += (uint64_t)n;
    }
    return (int64_t)done;
}

void p4files_will_read(int32_t fd, uint64_t length, int64_t offset) {
    /* Only advice: an error means that it is not taken. */
    (void)posix_fadvise(fd, offset, (off_t)length, POSIX_FADV_WILLNEED);
}

int32_t p4files_being_written(int32_t fd) {
    if (fcntl(fd, F_SETLEASE, F_RDLCK)) return errno == EAGAIN;
    fcntl(fd, F_SETLEASE, F_UNLCK);
    return 0;
}

int32_t p4files_create_nameless(int32_t root, const char *dir) {
    int parent = p4_open_beneath(root, dir, O_PATH | O_DIRECTORY);
    if (parent < 0) return parent;
    int fd = openat(parent, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    int error = errno;
    close(parent);
    return fd < 0 ? -error : fd;
}

int32_t p4files_set_aside(int32_t fd, int64_t size) {
    struct stat st;
    struct statvfs fs;
    if (fstat(fd, &st) || fstatvfs(fd, &fs)) return -errno;
    uint64_t has = (uint64_t)st.st_blocks * 512, needs = (uint64_t)size > has ? (uint64_t)size - has : 0;
    /* ext4 gives what there is before it says that it is too little: others would have none meanwhile. */
    uint64_t free_blocks = geteuid() ? fs.f_bavail : fs.f_bfree;
    if (needs > free_blocks * fs.f_frsize) return -ENOSPC;
    return p4_allocate(fd, size);
}

int p4_allocate(int fd, int64_t size) {
    while (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, size))
        if (errno != EINTR) return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : -errno;
    return 0;
}

int32_t p4files_pwrite(int32_t fd, const uint8_t *data, uint64_t length, int64_t offset) {
    uint64_t done = 0;
    while (done < length) {
        ssize_t n = pwrite(fd, data + done, length - done, offset + (int64_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        done += (uint64_t)n;
    }
    return 0;
}

/* Makes one directory like its parent: same mode and, where we may, same owner. */
static int make_dir_like_parent(int parent, const char *name) {
    struct stat st;
    if (fstat(parent, &st)) return -errno;
    if (mkdirat(parent, name, 0700)) return errno == EEXIST ? 0 : -errno;
    if (geteuid() == 0 && fchownat(parent, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW))
        return -errno;
    if (fchmodat(parent, name, st.st_mode & 07777, 0)) return -errno;
    return 0;
}

/* The parent of `path`, made with its own parents where missing: down from the depot's directory. */
static int open_or_make_parent(int root, const char *path, const char **name) {
    int parent = p4_open_parent(root, path, name);
    if (parent != -ENOENT) return parent;
    char part[256];
    int dir = p4_open_beneath(root, ".", O_PATH | O_DIRECTORY);
    for (const char *slash; dir >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
        size_t length = (size_t)(slash - path);
        int below = length < sizeof part ? 0 : -ENAMETOOLONG;
        if (!below) {
            memcpy(part, path, length);
            part[length] = 0;
            below = p4_open_beneath(dir, part, O_PATH | O_DIRECTORY);
            if (below == -ENOENT) {
                int error = make_dir_like_parent(dir, part);
                below = error ? error : p4_open_beneath(dir, part, O_PATH | O_DIRECTORY);
            }
        }
        close(dir);
        dir = below;
    }
    return dir;
}

static int link_into(int parent, const char *name, int fd, uint32_t mode, int64_t mtime_ns,
                     p4_stat *out) {
    struct stat dir;
    if (geteuid() == 0) {
        if (fstat(parent, &dir)) return -errno;
        if (fchown(fd, dir.st_uid, dir.st_gid)) return -errno;
    }
    if (fchmod(fd, mode & 07777)) return -errno;
    int64_t seconds = mtime_ns / 1000000000, rest = mtime_ns % 1000000000;
    if (rest < 0) {
        seconds--;
        rest += 1000000000;
    }
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = seconds, .tv_nsec = rest}};
    if (futimens(fd, times)) return -errno;
    /* AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH; the /proc name is linkat(2)'s other way. */
    char self[40];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, self, parent, name, AT_SYMLINK_FOLLOW)) return -errno;
    int error;
    p4_fill_stat(fd, out, &error);
    return error;
}

int32_t p4files_open_parent(int32_t root, const char *path) {
    const char *name;
    return p4_open_parent(root, path, &name);
}

int32_t p4files_place(int32_t root, const char *path, int32_t fd, uint32_t mode, int64_t mtime_ns,
                      p4_stat *out) {
    const char *name;
    int parent = open_or_make_parent(root, path, &name);
    if (parent < 0) return parent;
    int error = link_into(parent, name, fd, mode, mtime_ns, out);
    close(parent);
    return error;
}

int32_t p4files_place_small(int32_t root, const char *path, const uint8_t *data, uint64_t length,
                            uint32_t mode, int64_t mtime_ns, p4_stat *out) {
    const char *name;
    int parent = open_or_make_parent(root, path, &name);
    if (parent < 0) return parent;
    int fd = openat(parent, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    int error = fd < 0 ? -errno : p4files_pwrite(fd, data, length, 0);
    if (!error) error = link_into(parent, name, fd, mode, mtime_ns, out);
    if (fd >= 0) close(fd);
    close(parent);
    return error;
}

int32_t p4files_make_dir(int32_t root, const char *path) {
    char below[4096];
    const char *name;
    int length = snprintf(below, sizeof below, "%s/.", path);
    if (length >= (int)sizeof below) return -ENAMETOOLONG;
    int dir = open_or_make_parent(root, below, &name);
    if (dir < 0) return dir;
    close(dir);
    return 0;
}

int32_t p4files_rename(int32_t root, const char *from, const char *to) {
    const char *from_name, *to_name;
    int from_dir = p4_open_parent(root, from, &from_name);
    if (from_dir < 0) return from_dir;
    int to_dir = open_or_make_parent(root, to, &to_name);
    int error = to_dir < 0 ? to_dir : 0;
    if (!error && renameat2(from_dir, from_name, to_dir, to_name, RENAME_NOREPLACE)) error = -errno;
    if (to_dir >= 0) close(to_dir);
    close(from_dir);
    return error;
}

int32_t p4files_exchange(int32_t root, const char *aside, const char *path) {
    const char *aside_name, *name;
    int aside_dir = p4_open_parent(root, aside, &aside_name);
    if (aside_dir < 0) return aside_dir;
    int dir = p4_open_parent(root, path, &name);
    int error = dir < 0 ? dir : 0;
    struct stat there;
    if (!error && fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW)) error = -errno;
    if (!error && geteuid() == 0 &&
        fchownat(aside_dir, aside_name, there.st_uid, there.st_gid, AT_SYMLINK_NOFOLLOW))
        error = -errno;
    if (!error && renameat2(aside_dir, aside_name, dir, name, RENAME_EXCHANGE)) error = -errno;
    if (dir >= 0) close(dir);
    close(aside_dir);
    return error;
}

int32_t p4files_unlink(int32_t root, const char *path) {
    const char *name;
    int parent = p4_open_parent(root, path, &name);
    if (parent < 0) return parent;
    int error = unlinkat(parent, name, 0) ? -errno : 0;
    close(parent);
    return error;
}

int p4_identity(int fd, uint8_t *out, uint32_t cap) {
    union {
        struct file_handle head;
        uint8_t room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } handle = {.head.handle_bytes = MAX_HANDLE_SZ};
    struct statfs fs;
    int mount;
    if (fstatfs(fd, &fs) || name_to_handle_at(fd, "", &handle.head, &mount, AT_EMPTY_PATH))
        return -errno;
    uint32_t length = handle.head.handle_bytes, total = sizeof fs.f_fsid + 4 + length;
    if (total > cap) return -ENOBUFS;
    memcpy(out, &fs.f_fsid, sizeof fs.f_fsid);
    memcpy(out + sizeof fs.f_fsid, &handle.head.handle_type, 4);
    memcpy(out + sizeof fs.f_fsid + 4, handle.head.f_handle, length);
    return (int)total;
}

int32_t p4files_identity(int32_t root, const char *path, uint8_t *out, uint32_t cap) {
    int fd = p4_open_beneath(root, path, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    if (fd < 0) return fd;
    int length = p4_identity(fd, out, cap);
    close(fd);
    return length;
}

int32_t p4files_sync(int32_t root) { return syncfs(root) ? -errno : 0; }

int32_t p4files_statfs(int32_t root, uint64_t out[4]) {
    struct statvfs st;
    if (fstatvfs(root, &st)) return -errno;
    out[0] = (uint64_t)st.f_blocks * st.f_frsize;
    out[1] = (uint64_t)st.f_bavail * st.f_frsize;
    out[2] = st.f_files;
    out[3] = st.f_favail;
    return 0;
}
