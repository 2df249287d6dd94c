/* walk: see walk.h. A stack of directories still to read, and the one being read. */
#include "walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD = 40, MAX_PATH = 4096 };
static const char STATE_DIR[] = ".p4cache";

struct p4_walk {
    int root, directories;
    dev_t device;
    char **waiting;
    size_t count, room;
    DIR *dir; /* being read, or NULL */
    char path[MAX_PATH]; /* of dir */
    size_t path_len;
    struct dirent *held; /* entry that found no room in the last buffer */
};

static int push(p4_walk *walk, const char *path) {
    if (walk->count == walk->room) {
        size_t room = walk->room ? walk->room * 2 : 64;
        char **larger = realloc(walk->waiting, room * sizeof *larger);
        if (!larger) return -ENOMEM;
        walk->waiting = larger;
        walk->room = room;
    }
    char *copy = strdup(path);
    if (!copy) return -ENOMEM;
    walk->waiting[walk->count++] = copy;
    return 0;
}

int32_t p4walk_open(int32_t root, const char *start, uint32_t directories, p4_walk **out) {
    struct stat st;
    if (fstat(root, &st)) return -errno;
    p4_walk *walk = calloc(1, sizeof *walk);
    if (!walk) return -ENOMEM;
    walk->root = root;
    walk->directories = directories != 0;
    walk->device = st.st_dev;
    if (strlen(start) >= MAX_PATH || push(walk, start)) {
        p4walk_close(walk);
        return -ENOMEM;
    }
    *out = walk;
    return 0;
}

/* Writes one record; 0 when it does not fit. */
static size_t record(uint8_t *out, uint64_t room, uint8_t kind, const char *path, size_t length,
                     const struct stat *st, int error) {
    uint32_t total = (uint32_t)((HEAD + length + 7) & ~(size_t)7);
    if (total > room) return 0;
    uint16_t path_len = (uint16_t)length;
    uint32_t mode = st ? st->st_mode : 0, nlink = st ? (uint32_t)st->st_nlink : 0;
    int64_t size = st ? st->st_size : error;
    int64_t mtime = st ? (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec : 0;
    int64_t ctime = st ? (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec : 0;
    memset(out, 0, HEAD);
    memcpy(out, &total, 4);
    out[4] = kind;
    memcpy(out + 6, &path_len, 2);
    memcpy(out + 8, &mode, 4);
    memcpy(out + 12, &nlink, 4);
    memcpy(out + 16, &size, 8);
    memcpy(out + 24, &mtime, 8);
    memcpy(out + 32, &ctime, 8);
    memcpy(out + HEAD, path, length);
    return total;
}

/* Opens the next waiting directory; 1 when one is open, 0 when none is left, -errno with its path in
 * walk->path when it cannot be read. */
static int next_dir(p4_walk *walk) {
    if (!walk->count) return 0;
    char *path = walk->waiting[--walk->count];
    walk->path_len = strlen(path);
    memcpy(walk->path, path, walk->path_len + 1);
    int fd = p4_open_beneath(walk->root, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    free(path);
    if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP) return next_dir(walk); /* gone meanwhile */
    if (fd < 0) return fd;
    struct stat st;
    if (fstat(fd, &st) || st.st_dev != walk->device) {
        close(fd);
        return next_dir(walk);
    }
    walk->dir = fdopendir(fd);
    if (walk->dir) return 1;
    int error = errno;
    close(fd);
    return -error;
}

static int take_directory(p4_walk *walk, const char *path, size_t length, uint8_t *out, uint64_t cap,
                          uint64_t *used) {
    if (walk->directories) {
        size_t n = record(out + *used, cap - *used, P4_WALK_DIRECTORY, path, length, NULL, 0);
        if (!n) return -ENOBUFS;
        *used += n;
    }
    return push(walk, path);
}

/* Handles one entry; -ENOBUFS when its record found no room. */
static int take(p4_walk *walk, struct dirent *entry, uint8_t *out, uint64_t cap, uint64_t *used) {
    const char *name = entry->d_name;
    if (!strcmp(name, ".") || !strcmp(name, "..")) return 0;
    if (!walk->path_len && !strcmp(name, STATE_DIR)) return 0;
    char path[MAX_PATH];
    size_t length = walk->path_len, name_len = strlen(name);
    if (length + 1 + name_len >= MAX_PATH) return 0; /* too long to be a depot path */
    memcpy(path, walk->path, length);
    if (length) path[length++] = '/';
    memcpy(path + length, name, name_len + 1);
    length += name_len;
    struct stat st;
    size_t n;
    if (walk->directories && entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN) return 0;
    if (entry->d_type == DT_DIR) return take_directory(walk, path, length, out, cap, used);
    if (fstatat(dirfd(walk->dir), name, &st, AT_SYMLINK_NOFOLLOW)) {
        if (errno == ENOENT) return 0;
        n = record(out + *used, cap - *used, P4_WALK_PROBLEM, path, length, NULL, errno);
    } else if (S_ISDIR(st.st_mode)) {
        return take_directory(walk, path, length, out, cap, used);
    } else if (walk->directories) {
        return 0;
    } else {
        n = record(out + *used, cap - *used, S_ISREG(st.st_mode) ? P4_WALK_FILE : P4_WALK_OTHER, path,
                   length, &st, 0);
    }
    *used += n;
    return n ? 0 : -ENOBUFS;
}

int64_t p4walk_next(p4_walk *walk, uint8_t *out, uint64_t cap) {
    uint64_t used = 0;
    for (;;) {
        if (!walk->dir) {
            int opened = next_dir(walk);
            if (!opened) return (int64_t)used;
            if (opened < 0) {
                size_t n = record(out + used, cap - used, P4_WALK_PROBLEM, walk->path, walk->path_len,
                                  NULL, -opened);
                if (!n && push(walk, walk->path)) return -ENOMEM;
                if (!n) return (int64_t)used;
                used += n;
                continue;
            }
        }
        struct dirent *entry = walk->held ? walk->held : (errno = 0, readdir(walk->dir));
        walk->held = NULL;
        if (!entry) {
            closedir(walk->dir);
            walk->dir = NULL;
            continue;
        }
        int rc = take(walk, entry, out, cap, &used);
        if (rc == -ENOBUFS) {
            walk->held = entry; /* stays valid until the next readdir */
            return used ? (int64_t)used : rc;
        }
        if (rc) return rc;
    }
}

void p4walk_close(p4_walk *walk) {
    while (walk->count) free(walk->waiting[--walk->count]);
    free(walk->waiting);
    if (walk->dir) closedir(walk->dir);
    free(walk);
}
