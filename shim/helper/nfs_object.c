/* nfs_object: see nfs_object.h for what it owns and its rules. */
#include "nfs_object.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DIGEST_ATTRIBUTE "user.p4cache.digest"

static int64_t nanoseconds(struct timespec t) {
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void from_stat(const struct stat *st, p4nfs_info *out) {
    memset(out, 0, sizeof *out);
    out->size = st->st_size;
    out->mtime_ns = nanoseconds(st->st_mtim);
    out->ctime_ns = nanoseconds(st->st_ctim);
    out->inode = st->st_ino;
    out->mode = st->st_mode;
}

/* Describes an open regular file. */
static int describe(int fd, p4nfs_info *out) {
    struct stat st;
    if (fstat(fd, &st)) return -errno;
    if (!S_ISREG(st.st_mode)) return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    from_stat(&st, out);
    ssize_t n = fgetxattr(fd, DIGEST_ATTRIBUTE, out->digest, sizeof out->digest);
    if (n >= 0)
        out->digest_length = (uint32_t)n;
    else if (errno == EIO || errno == ESTALE)
        return -errno;
    return 0;
}

int32_t p4nfs_check_root(int32_t root, const char *dir) {
    struct stat opened, named;
    if (fstat(root, &opened)) return -errno;
    if (stat(dir, &named)) return -errno;
    if (opened.st_nlink == 0) return -ENOENT;
    return opened.st_dev != named.st_dev || opened.st_ino != named.st_ino;
}

int32_t p4nfs_has_marker(int32_t root) {
    int fd = p4_open_beneath(root, P4NFS_TEMP_DIR, O_PATH | O_DIRECTORY);
    if (fd < 0) return fd;
    close(fd);
    return 0;
}

static int sync_and_close(int fd) {
    int error = fsync(fd) ? -errno : 0;
    close(fd);
    return error;
}

/* Opens the directory `name` of `parent`, making it where missing. A directory just made is only
 * durable once its parent is synced. */
static int open_or_make_child(int parent, const char *name) {
    const int flags = O_RDONLY | O_DIRECTORY;
    int fd = p4_open_beneath(parent, name, flags);
    if (fd != -ENOENT) return fd;
    if (mkdirat(parent, name, 0755) && errno != EEXIST) return -errno;
    if (fsync(parent)) return -errno;
    return p4_open_beneath(parent, name, flags);
}

/* Opens the directory that `path` is in, making it and those above it where missing; points at the
 * last name of `path`. */
static int open_or_make_parent(int root, const char *path, const char **name) {
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    if (!slash) return p4_open_beneath(root, ".", O_RDONLY | O_DIRECTORY);
    char dir[4096];
    size_t length = (size_t)(slash - path);
    if (length >= sizeof dir) return -ENAMETOOLONG;
    memcpy(dir, path, length);
    dir[length] = 0;
    int fd = p4_open_beneath(root, dir, O_RDONLY | O_DIRECTORY);
    if (fd != -ENOENT) return fd;
    fd = p4_open_beneath(root, ".", O_RDONLY | O_DIRECTORY);
    char *rest = dir;
    for (char *component; fd >= 0 && (component = strsep(&rest, "/"));) {
        int child = open_or_make_child(fd, component);
        close(fd);
        fd = child;
    }
    return fd;
}

int32_t p4nfs_create(int32_t root, const char *temp) {
    int dir = open_or_make_child(root, P4NFS_TEMP_DIR);
    if (dir < 0) return dir;
    int fd = openat(dir, temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int error = errno;
    close(dir);
    return fd < 0 ? -error : fd;
}

int32_t p4nfs_discard(int32_t root, const char *temp) {
    int dir = p4_open_beneath(root, P4NFS_TEMP_DIR, O_PATH | O_DIRECTORY);
    if (dir < 0) return dir;
    int error = unlinkat(dir, temp, 0) ? -errno : 0;
    close(dir);
    return error;
}

static int set_attributes(int fd, const p4nfs_attributes *attributes) {
    if (attributes->digest_length > sizeof attributes->digest) return -EINVAL;
    if (attributes->digest_length &&
        fsetxattr(fd, DIGEST_ATTRIBUTE, attributes->digest, attributes->digest_length, 0) &&
        errno != EOPNOTSUPP && errno != EPERM && errno != EACCES)
        return -errno;
    if (fchmod(fd, attributes->mode & 07777)) return -errno;
    int64_t seconds = attributes->mtime_ns / 1000000000, rest = attributes->mtime_ns % 1000000000;
    if (rest < 0) {
        seconds--;
        rest += 1000000000;
    }
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = seconds, .tv_nsec = rest}};
    return futimens(fd, times) ? -errno : 0;
}

/* link(2) is what refuses a taken name on every file system, NFS too; RENAME_NOREPLACE is not. */
static int take_name(int temp_dir, const char *temp, int parent, const char *name, int exclusive) {
    if (!exclusive) return renameat(temp_dir, temp, parent, name) ? -errno : 0;
    if (linkat(temp_dir, temp, parent, name, 0)) return -errno;
    return unlinkat(temp_dir, temp, 0) ? -errno : 0;
}

static int publish(int root, int fd, const char *temp, const char *path, int exclusive,
                   const p4nfs_attributes *attributes, p4nfs_info *out) {
    int error = set_attributes(fd, attributes);
    if (error) return error;
    if (fsync(fd)) return -errno;
    const char *name;
    int parent = open_or_make_parent(root, path, &name);
    if (parent < 0) return parent;
    int temp_dir = p4_open_beneath(root, P4NFS_TEMP_DIR, O_PATH | O_DIRECTORY);
    error = temp_dir < 0 ? temp_dir : 0;
    if (!error) error = take_name(temp_dir, temp, parent, name, exclusive);
    if (temp_dir >= 0) close(temp_dir);
    int sync_error = sync_and_close(parent);
    if (!error) error = sync_error;
    return error ? error : describe(fd, out);
}

int32_t p4nfs_publish(int32_t root, int32_t fd, const char *temp, const char *path,
                      int32_t exclusive, const p4nfs_attributes *attributes, p4nfs_info *out) {
    int error = publish(root, fd, temp, path, exclusive, attributes, out);
    if (error) p4nfs_discard(root, temp);
    return error;
}

int32_t p4nfs_put_small(int32_t root, const char *temp, const char *path, int32_t exclusive,
                        const uint8_t *data, uint64_t length, const p4nfs_attributes *attributes,
                        p4nfs_info *out) {
    int fd = p4nfs_create(root, temp);
    if (fd < 0) return fd;
    int error = p4files_pwrite(fd, data, length, 0);
    if (error)
        p4nfs_discard(root, temp);
    else
        error = p4nfs_publish(root, fd, temp, path, exclusive, attributes, out);
    /* NFS reports a failed write-back at close(2) at the latest. */
    if (close(fd) && !error) error = -errno;
    return error;
}

int32_t p4nfs_open(int32_t root, const char *path, p4nfs_info *out) {
    /* O_NONBLOCK: a FIFO put at the path must not hang us. */
    int fd = p4_open_beneath(root, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return fd;
    int error = describe(fd, out);
    if (error) {
        close(fd);
        return error;
    }
    return fd;
}

int32_t p4nfs_stat(int32_t root, const char *dir, const char *path, p4nfs_info *out) {
    int fd = p4nfs_open(root, path, out);
    if (fd == -ENOENT) return p4nfs_check_root(root, dir) ? -ESTALE : -ENOENT;
    if (fd < 0) return fd;
    close(fd);
    return 0;
}

/* Whether the open object still is what `info` says; -EAGAIN when not. */
static int unchanged(int fd, const p4nfs_info *info) {
    struct stat now;
    if (fstat(fd, &now)) return -errno;
    return now.st_size == info->size && nanoseconds(now.st_mtim) == info->mtime_ns ? 0 : -EAGAIN;
}

int64_t p4nfs_read(int32_t root, const char *path, uint8_t *data, uint64_t length, int64_t offset,
                   p4nfs_info *out) {
    int fd = p4nfs_open(root, path, out);
    if (fd < 0) return fd;
    int64_t n = p4files_pread(fd, data, length, offset);
    int error = n < 0 ? (int)n : unchanged(fd, out);
    close(fd);
    return error ? error : n;
}

/* For file systems that cannot copy within themselves. */
static int64_t copy_through_memory(int from, int to, uint64_t length, int64_t offset) {
    uint8_t buffer[65536];
    uint64_t done = 0;
    while (done < length) {
        uint64_t want = length - done < sizeof buffer ? length - done : sizeof buffer;
        int64_t n = p4files_pread(from, buffer, want, offset + (int64_t)done);
        if (n <= 0) return n < 0 ? n : (int64_t)done;
        int error = p4files_pwrite(to, buffer, (uint64_t)n, offset + (int64_t)done);
        if (error) return error;
        done += (uint64_t)n;
    }
    return (int64_t)done;
}

static int64_t copy_bytes(int from, int to, uint64_t length, int64_t offset) {
    uint64_t done = 0;
    while (done < length) {
        off64_t in = offset + (int64_t)done, out = in;
        ssize_t n = copy_file_range(from, &in, to, &out, length - done, 0);
        if (n == 0) break;
        if (n > 0)
            done += (uint64_t)n;
        else if (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP) {
            int64_t rest = copy_through_memory(from, to, length - done, offset + (int64_t)done);
            return rest < 0 ? rest : (int64_t)done + rest;
        } else if (errno != EINTR)
            return -errno;
    }
    return (int64_t)done;
}

int64_t p4nfs_copy_range(int32_t root, const char *from, int32_t fd, uint64_t length,
                         int64_t offset, p4nfs_info *out) {
    int source = p4nfs_open(root, from, out);
    if (source < 0) return source;
    int64_t n = copy_bytes(source, fd, length, offset);
    int error = n < 0 ? (int)n : unchanged(source, out);
    close(source);
    return error ? error : n;
}

int32_t p4nfs_remove(int32_t root, const char *path) {
    const char *name;
    int parent = p4_open_parent(root, path, &name);
    if (parent < 0) return parent;
    int error = unlinkat(parent, name, 0) ? -errno : 0;
    /* p4_open_parent gives an O_PATH descriptor, which fsync(2) refuses. */
    int dir = error ? -1 : openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!error && dir < 0) error = -errno;
    close(parent);
    if (dir < 0) return error;
    return sync_and_close(dir);
}

int32_t p4nfs_open_dir(int32_t root, const char *path) {
    return p4_open_beneath(root, path, O_RDONLY | O_DIRECTORY);
}

struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t record_length;
    uint8_t type;
    char name[];
};

enum { RECORD_HEAD = 1 + 2 + 8 * 4 };

/* Appends one entry's record to `out`; 0 when there is nothing to tell about it. */
static int64_t pack(int dir, const char *name, uint8_t *out) {
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW)) return errno == ENOENT ? 0 : -errno;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) return 0;
    uint16_t length = (uint16_t)strlen(name);
    int64_t numbers[4] = {st.st_size, nanoseconds(st.st_mtim), nanoseconds(st.st_ctim),
                          (int64_t)st.st_ino};
    out[0] = S_ISDIR(st.st_mode);
    memcpy(out + 1, &length, 2);
    memcpy(out + 3, numbers, sizeof numbers);
    memcpy(out + RECORD_HEAD, name, length);
    return RECORD_HEAD + length;
}

int64_t p4nfs_list(int32_t dir, uint8_t *out, uint64_t cap) {
    /* A directory entry takes at least 24 bytes, its record at most 35 more: what 16 KiB of
     * entries give always fits in 64 KiB. */
    char buffer[16384] __attribute__((aligned(8)));
    if (cap < 4 * sizeof buffer) return -EINVAL;
    for (;;) {
        long n = syscall(SYS_getdents64, dir, buffer, sizeof buffer);
        if (n <= 0) return n < 0 ? -errno : 0;
        int64_t used = 0;
        for (long at = 0; at < n;) {
            const struct entry *entry = (const struct entry *)(buffer + at);
            at += entry->record_length;
            if (!strcmp(entry->name, ".") || !strcmp(entry->name, "..")) continue;
            int64_t length = pack(dir, entry->name, out + used);
            if (length < 0) return length;
            used += length;
        }
        if (used) return used;
    }
}
