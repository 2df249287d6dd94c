/* walk: see walk.h. The directories still to read are shared: each call takes one after another. What is
 * left of one when a buffer is full goes back to them, so that no call waits for one that has returned. */
#include "walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD = 40, MAX_PATH = 4096 };
static const char STATE_DIR[] = ".p4cache";

typedef struct directory {
    struct directory *next;
    DIR *dir; /* NULL: not opened yet */
    struct dirent *held; /* entry that found no room in the last buffer; valid until the next readdir */
    size_t path_len;
    char path[];
} directory;

struct p4_walk {
    int root, directories;
    dev_t device;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    directory *waiting; /* the last that was found comes first */
    int readers; /* calls that read a directory, and may find more */
};

typedef struct {
    uint8_t *bytes;
    uint64_t room, used;
} buffer;

static int push(p4_walk *walk, const char *path, size_t length) {
    directory *found = malloc(sizeof *found + length + 1);
    if (!found) return -ENOMEM;
    found->dir = NULL;
    found->held = NULL;
    found->path_len = length;
    memcpy(found->path, path, length);
    found->path[length] = 0;
    pthread_mutex_lock(&walk->lock);
    found->next = walk->waiting;
    walk->waiting = found;
    pthread_cond_signal(&walk->changed);
    pthread_mutex_unlock(&walk->lock);
    return 0;
}

/* A directory to read, now the caller's; waits while there is none, but another call may find one. NULL when
 * all are read. */
static directory *take_directory(p4_walk *walk) {
    pthread_mutex_lock(&walk->lock);
    while (!walk->waiting && walk->readers) pthread_cond_wait(&walk->changed, &walk->lock);
    directory *taken = walk->waiting;
    if (taken) {
        walk->waiting = taken->next;
        walk->readers++;
    }
    pthread_mutex_unlock(&walk->lock);
    return taken;
}

/* The caller is through with it (NULL), or leaves the rest of it to others. */
static void give_back(p4_walk *walk, directory *rest) {
    pthread_mutex_lock(&walk->lock);
    if (rest) {
        rest->next = walk->waiting;
        walk->waiting = rest;
    }
    walk->readers--;
    pthread_cond_broadcast(&walk->changed);
    pthread_mutex_unlock(&walk->lock);
}

static void end(directory *at) {
    if (at->dir) closedir(at->dir);
    free(at);
}

int32_t p4walk_open(int32_t root, const char *start, uint32_t directories, p4_walk **out) {
    struct stat st;
    size_t length = strlen(start);
    if (length >= MAX_PATH) return -ENAMETOOLONG;
    if (fstat(root, &st)) return -errno;
    p4_walk *walk = calloc(1, sizeof *walk);
    if (!walk) return -ENOMEM;
    walk->root = root;
    walk->directories = directories != 0;
    walk->device = st.st_dev;
    pthread_mutex_init(&walk->lock, NULL);
    pthread_cond_init(&walk->changed, NULL);
    if (push(walk, start, length)) {
        p4walk_close(walk);
        return -ENOMEM;
    }
    *out = walk;
    return 0;
}

/* Writes one record; -ENOBUFS when it does not fit. */
static int record(buffer *to, uint8_t kind, const char *path, size_t length, const struct stat *st,
                  int error) {
    uint32_t total = (uint32_t)((HEAD + length + 7) & ~(size_t)7);
    if (total > to->room - to->used) return -ENOBUFS;
    uint8_t *out = to->bytes + to->used;
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
    to->used += total;
    return 0;
}

/* 1 when it is open, 0 when it is none of the walk's (any more), -errno when it cannot be read. */
static int open_directory(const p4_walk *walk, directory *at) {
    int fd = p4_open_beneath(walk->root, at->path_len ? at->path : ".",
                             O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP) return 0; /* gone meanwhile */
    if (fd < 0) return fd;
    struct stat st;
    if (fstat(fd, &st) || st.st_dev != walk->device) {
        close(fd);
        return 0;
    }
    at->dir = fdopendir(fd);
    if (at->dir) return 1;
    int error = errno;
    close(fd);
    return -error;
}

static int found_directory(p4_walk *walk, const char *path, size_t length, buffer *to) {
    int rc = walk->directories ? record(to, P4_WALK_DIRECTORY, path, length, NULL, 0) : 0;
    return rc ? rc : push(walk, path, length);
}

/* Handles one entry; -ENOBUFS when its record found no room. */
static int take_entry(p4_walk *walk, const directory *at, const struct dirent *entry, buffer *to) {
    const char *name = entry->d_name;
    if (!strcmp(name, ".") || !strcmp(name, "..")) return 0;
    if (!at->path_len && !strcmp(name, STATE_DIR)) return 0;
    char path[MAX_PATH];
    size_t length = at->path_len, name_len = strlen(name);
    if (length + 1 + name_len >= MAX_PATH) return 0; /* too long to be a depot path */
    memcpy(path, at->path, length);
    if (length) path[length++] = '/';
    memcpy(path + length, name, name_len + 1);
    length += name_len;
    struct stat st;
    if (walk->directories && entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN) return 0;
    if (entry->d_type == DT_DIR) return found_directory(walk, path, length, to);
    if (fstatat(dirfd(at->dir), name, &st, AT_SYMLINK_NOFOLLOW)) {
        if (errno == ENOENT) return 0;
        return record(to, P4_WALK_PROBLEM, path, length, NULL, errno);
    }
    if (S_ISDIR(st.st_mode)) return found_directory(walk, path, length, to);
    if (walk->directories) return 0;
    return record(to, S_ISREG(st.st_mode) ? P4_WALK_FILE : P4_WALK_OTHER, path, length, &st, 0);
}

/* Reads what is left of the directory; -ENOBUFS when the buffer is full before. */
static int read_directory(p4_walk *walk, directory *at, buffer *to) {
    int opened = at->dir ? 1 : open_directory(walk, at);
    if (opened < 0) return record(to, P4_WALK_PROBLEM, at->path, at->path_len, NULL, -opened);
    if (!opened) return 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = at->held ? at->held : readdir(at->dir);
        at->held = NULL;
        if (!entry && !errno) return 0;
        if (!entry) return record(to, P4_WALK_PROBLEM, at->path, at->path_len, NULL, errno);
        int rc = take_entry(walk, at, entry, to);
        if (!rc) continue;
        at->held = entry;
        return rc;
    }
}

int64_t p4walk_next(p4_walk *walk, uint8_t *out, uint64_t cap) {
    buffer to = {out, cap, 0};
    directory *at;
    while ((at = take_directory(walk))) {
        int rc = read_directory(walk, at, &to);
        give_back(walk, rc ? at : NULL);
        if (rc) return rc == -ENOBUFS && to.used ? (int64_t)to.used : rc;
        end(at);
    }
    return (int64_t)to.used;
}

void p4walk_close(p4_walk *walk) {
    for (directory *at; (at = walk->waiting); end(at)) walk->waiting = at->next;
    pthread_cond_destroy(&walk->changed);
    pthread_mutex_destroy(&walk->lock);
    free(walk);
}
