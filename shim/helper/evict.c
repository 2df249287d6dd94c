/* evict: see evict.h for the protocol and why it loses nothing. */
#include "evict.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IN_HEAD = 40, MAX_IDENTITY = 256 };

typedef struct {
    int fd;     /* -1 when not taken */
    int parent; /* its directory, whatever that is called by now, or -errno */
    int opened; /* the same, where this is the first of a run of files in it, and closes it; else -1 */
    uint64_t id;
    p4_stat version;
    char *path;
} candidate;

/* A candidate as the caller gives it. */
typedef struct {
    uint64_t id;
    p4_stat version;
    int64_t doubted_ns;
    const char *path;
    const uint8_t *identity; /* of its directory */
    uint16_t path_len, dir_len, identity_len;
} wish;

struct p4_evict {
    int root, trash;
    uint32_t count;
    candidate *files;
};

static void id_name(uint64_t id, char name[24]) {
    snprintf(name, 24, "%llu", (unsigned long long)id);
}

static int same_version(const p4_stat *a, const p4_stat *b) {
    /* The mode too: of a chmod(2) that found the file before the rename, no event in the depot tells. */
    return a->size == b->size && a->mtime_ns == b->mtime_ns && (a->mode & 07777) == (b->mode & 07777);
}

static const char *last_name(const candidate *file) {
    const char *slash = strrchr(file->path, '/');
    return slash ? slash + 1 : file->path;
}

/* Renames trash/<id> back into its directory; the name may have been taken by a new file, or the
 * directory removed. */
static int32_t put_back(p4_evict *batch, candidate *file) {
    char name[24];
    id_name(file->id, name);
    if (!renameat2(batch->trash, name, file->parent, last_name(file), RENAME_NOREPLACE)) return 0;
    return errno == EEXIST || errno == ENOENT ? P4_EVICT_CONFLICT : -errno;
}

/* Opens the file's directory, if the one that is meant is there. */
static int open_directory(const p4_evict *batch, const candidate *file, const wish *wanted) {
    const char *last;
    int fd = p4_open_parent(batch->root, file->path, &last);
    if (fd < 0 || !wanted->identity_len) return fd;
    uint8_t found[MAX_IDENTITY];
    int length = p4_identity(fd, found, sizeof found);
    if (length == wanted->identity_len && !memcmp(found, wanted->identity, (size_t)length)) return fd;
    close(fd);
    return -ENOENT;
}

static int32_t take(p4_evict *batch, candidate *file, const wish *wanted) {
    p4_stat now;
    const char *last = last_name(file);
    int parent = file->parent;
    int fd = parent < 0 ? parent : p4files_open(parent, last, &now);
    if (fd < 0) return fd == -ENOENT || fd == -EINVAL || fd == -ELOOP ? P4_EVICT_GONE : fd;
    int32_t result = P4_EVICT_TAKEN;
    int error = 0;
    if (now.nlink != 1)
        result = P4_EVICT_LINKED;
    else if (fcntl(fd, F_SETLEASE, F_WRLCK))
        result = errno == EAGAIN ? P4_EVICT_IN_USE : errno == EACCES ? P4_EVICT_DENIED : -errno;
    if (result == P4_EVICT_TAKEN) { /* under the lease nobody can change it unseen */
        p4_fill_stat(fd, &file->version, &error);
        if (error)
            result = error;
        else if (!same_version(&file->version, &wanted->version))
            result = P4_EVICT_CHANGED;
        else if (file->version.ctime_ns >= wanted->doubted_ns) /* before our rename, which changes it */
            result = P4_EVICT_DOUBTFUL;
    }
    if (result == P4_EVICT_TAKEN) {
        char name[24];
        struct stat moved;
        id_name(file->id, name);
        if (renameat2(parent, last, batch->trash, name, RENAME_NOREPLACE))
            result = errno == ENOENT ? P4_EVICT_GONE : -errno;
        /* The name may have been given to another file since the open: then that one was moved. */
        if (result == P4_EVICT_TAKEN && (fstatat(batch->trash, name, &moved, AT_SYMLINK_NOFOLLOW) ||
                                         moved.st_ino != file->version.inode)) {
            int32_t back = put_back(batch, file);
            result = back ? back : P4_EVICT_CHANGED;
        }
    }
    if (result != P4_EVICT_TAKEN) {
        close(fd);
        return result;
    }
    file->fd = fd;
    return P4_EVICT_TAKEN;
}

static void release(p4_evict *batch) {
    for (uint32_t i = 0; i < batch->count; i++) {
        free(batch->files[i].path);
        if (batch->files[i].opened >= 0) close(batch->files[i].opened);
    }
    close(batch->trash);
    free(batch->files);
    free(batch);
}

/* Reads the candidate at `in`; its length, or 0 where there is no whole one. */
static size_t read_wish(const uint8_t *in, const uint8_t *end, wish *out) {
    if (end - in < IN_HEAD) return 0;
    out->version = (p4_stat){0};
    memcpy(&out->id, in, 8);
    memcpy(&out->version.size, in + 8, 8);
    memcpy(&out->version.mtime_ns, in + 16, 8);
    memcpy(&out->version.mode, in + 24, 4);
    memcpy(&out->doubted_ns, in + 28, 8);
    memcpy(&out->path_len, in + 36, 2);
    memcpy(&out->identity_len, in + 38, 2);
    size_t length = IN_HEAD + (size_t)out->path_len + out->identity_len;
    if ((size_t)(end - in) < length) return 0;
    out->path = (const char *)in + IN_HEAD;
    out->identity = in + IN_HEAD + out->path_len;
    const char *slash = memrchr(out->path, '/', out->path_len);
    out->dir_len = slash ? (uint16_t)(slash - out->path) : 0;
    return length;
}

static int same_directory(const wish *a, const wish *b) {
    return a->dir_len == b->dir_len && !memcmp(a->path, b->path, a->dir_len) &&
           a->identity_len == b->identity_len && !memcmp(a->identity, b->identity, a->identity_len);
}

int32_t p4evict_begin(int32_t root, const char *trash, const uint8_t *in, uint64_t in_len,
                      int32_t *results, uint32_t results_cap, p4_evict **out) {
    p4_evict *batch = calloc(1, sizeof *batch);
    if (!batch) return -ENOMEM;
    batch->root = root;
    batch->files = calloc(results_cap ? results_cap : 1, sizeof *batch->files);
    batch->trash = batch->files ? p4_open_beneath(root, trash, O_PATH | O_DIRECTORY) : -ENOMEM;
    if (batch->trash < 0) {
        int error = batch->trash;
        free(batch->files);
        free(batch);
        return error;
    }
    const uint8_t *end = in + in_len;
    wish wanted, before = {0};
    size_t length;
    while (batch->count < results_cap && (length = read_wish(in, end, &wanted))) {
        candidate *file = &batch->files[batch->count];
        file->fd = file->opened = -1;
        file->id = wanted.id;
        file->path = strndup(wanted.path, wanted.path_len);
        if (!file->path)
            file->parent = -ENOMEM;
        else if (batch->count && same_directory(&wanted, &before))
            file->parent = file[-1].parent;
        else
            file->parent = file->opened = open_directory(batch, file, &wanted);
        results[batch->count++] = file->path ? take(batch, file, &wanted) : -ENOMEM;
        before = wanted;
        in += length;
    }
    *out = batch;
    return (int32_t)batch->count;
}

int32_t p4evict_check(p4_evict *batch, int32_t *results) {
    for (uint32_t i = 0; i < batch->count; i++) {
        candidate *file = &batch->files[i];
        if (file->fd < 0) continue;
        p4_stat now;
        int error;
        p4_fill_stat(file->fd, &now, &error);
        if (fcntl(file->fd, F_GETLEASE) != F_WRLCK)
            results[i] = P4_EVICT_IN_USE;
        else if (error)
            results[i] = error;
        else if (!same_version(&now, &file->version))
            results[i] = P4_EVICT_CHANGED;
        else if (now.nlink != 1)
            results[i] = P4_EVICT_LINKED;
    }
    return 0;
}

int32_t p4evict_finish(p4_evict *batch, const uint8_t *let_go, int32_t *results) {
    for (uint32_t i = 0; i < batch->count; i++) {
        candidate *file = &batch->files[i];
        if (file->fd < 0) continue;
        /* The caller's commit took time too: one more look for an opener that came very late. */
        if (let_go[i] && fcntl(file->fd, F_GETLEASE) == F_WRLCK) {
            char name[24];
            id_name(file->id, name);
            results[i] = unlinkat(batch->trash, name, 0) ? -errno : P4_EVICT_TAKEN;
        } else {
            int32_t back = put_back(batch, file);
            results[i] = back ? back : results[i] ? results[i] : P4_EVICT_IN_USE;
        }
        close(file->fd); /* drops the lease: a waiting opener goes on */
    }
    release(batch);
    return 0;
}
