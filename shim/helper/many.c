/* many: see many.h. */
#include "many.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Takes the next "u16 length, path" off a packed list into a C string. */
static int next_path(const uint8_t **at, const uint8_t *end, char *path, size_t cap) {
    uint16_t length;
    if (end - *at < 2) return -EINVAL;
    memcpy(&length, *at, 2);
    if (end - *at - 2 < length || length >= cap) return -EINVAL;
    memcpy(path, *at + 2, length);
    path[length] = 0;
    *at += 2 + length;
    return 0;
}

/* A directory that stays open while the paths asked for are in it. */
typedef struct {
    int fd; /* -1: none */
    size_t path_len;
    char path[4096];
} open_parent;

/* Stats a path without following it, through its directory. */
static int stat_in(int root, open_parent *parent, const char *path, struct stat *st) {
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (parent->fd < 0 || parent->path_len != length || memcmp(parent->path, path, length)) {
        const char *name;
        if (parent->fd >= 0) close(parent->fd);
        parent->fd = p4_open_parent(root, path, &name);
        if (parent->fd < 0) return parent->fd;
        memcpy(parent->path, path, length);
        parent->path_len = length;
    }
    return fstatat(parent->fd, slash ? slash + 1 : path, st, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

/* Calls `take` with the state of each path: an errno, or 0 and what was found. */
static int32_t look_at_each(int32_t root, const uint8_t *in, uint64_t in_len, uint32_t cap,
                            void (*take)(void *out, int32_t i, int error, const struct stat *st),
                            void *out) {
    const uint8_t *end = in + in_len;
    open_parent parent = {.fd = -1};
    char path[4096];
    int32_t n = 0;
    for (; in < end; n++) {
        struct stat st;
        if ((uint32_t)n == cap || next_path(&in, end, path, sizeof path)) {
            n = -EINVAL;
            break;
        }
        take(out, n, stat_in(root, &parent, path, &st), &st);
    }
    if (parent.fd >= 0) close(parent.fd);
    return n;
}

static void take_stat(void *out, int32_t i, int error, const struct stat *st) {
    p4_stat *found = (p4_stat *)out + i;
    if (!error) p4_from_stat(st, found);
    if (!error && S_ISREG(st->st_mode)) return;
    found->nlink = 0;
    found->size = error;
}

int32_t p4many_stat(int32_t root, const uint8_t *in, uint64_t in_len, p4_stat *out,
                    uint32_t out_cap) {
    return look_at_each(root, in, in_len, out_cap, take_stat, out);
}

static void take_size(void *out, int32_t i, int error, const struct stat *st) {
    ((int64_t *)out)[i] = error ? error : S_ISREG(st->st_mode) ? st->st_size : -EINVAL;
}

int32_t p4many_sizes(int32_t root, const uint8_t *in, uint64_t in_len, int64_t *out,
                     uint32_t out_cap) {
    return look_at_each(root, in, in_len, out_cap, take_size, out);
}

static void read_one(int root, const char *path, uint64_t max_bytes, uint8_t *out, uint64_t room,
                     p4_read *result) {
    int fd = p4files_open(root, path, &result->stat);
    if (fd < 0) {
        result->status = fd;
        return;
    }
    uint64_t size = (uint64_t)result->stat.size;
    if (size > max_bytes || size > room) {
        result->status = P4_READ_LARGE;
    } else if (p4files_being_written(fd)) {
        result->status = P4_READ_WRITING;
    } else {
        int64_t n = p4files_pread(fd, out, size, 0);
        p4_stat after = {0};
        int error;
        p4_fill_stat(fd, &after, &error);
        if (n < 0 || error)
            result->status = n < 0 ? (int32_t)n : error;
        else if ((uint64_t)n != size || after.size != result->stat.size ||
                 after.mtime_ns != result->stat.mtime_ns)
            result->status = P4_READ_CHANGED;
        else
            result->status = P4_READ_OK;
    }
    close(fd);
}

int32_t p4many_read(int32_t root, const uint8_t *in, uint64_t in_len, uint64_t max_bytes,
                    uint8_t *out, uint64_t cap, p4_read *results, uint32_t results_cap) {
    const uint8_t *end = in + in_len;
    char path[4096];
    uint64_t used = 0;
    uint32_t n = 0;
    while (in < end) {
        if (n == results_cap || next_path(&in, end, path, sizeof path)) return -EINVAL;
        p4_read *result = &results[n++];
        memset(result, 0, sizeof *result);
        result->offset = used;
        read_one(root, path, max_bytes, out + used, cap - used, result);
        if (result->status == P4_READ_OK) used += (uint64_t)result->stat.size;
    }
    return (int32_t)n;
}
