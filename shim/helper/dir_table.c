/* dir_table: see dir_table.h. A hash table with chains; nodes keep their address. */
#include "dir_table.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"

enum { MAX_HANDLE = 128, MAX_PATH = 4096 };
static const char STATE_DIR[] = ".p4cache";

struct p4_dir {
    p4_dir *chain;  /* next in the same bucket */
    p4_dir *parent; /* NULL: the root, or without a place */
    char *name;     /* NULL: the root, or without a place */
    size_t children; /* nodes whose parent this is: they keep it alive */
    uint32_t handle_len;
    uint8_t handle[]; /* type and bytes */
};

struct p4_dirs {
    int root;
    dev_t device;
    p4_dir *root_dir;
    p4_dir **buckets;
    size_t size, count;
};

static uint32_t key_of(const struct file_handle *handle, uint8_t key[4 + MAX_HANDLE]) {
    uint32_t length = handle->handle_bytes;
    if (length > MAX_HANDLE) length = MAX_HANDLE;
    int32_t type = handle->handle_type;
    memcpy(key, &type, 4);
    memcpy(key + 4, handle->f_handle, length);
    return 4 + length;
}

static size_t hash(const uint8_t *key, uint32_t length) {
    uint64_t h = 1469598103934665603ull; /* FNV-1a */
    for (uint32_t i = 0; i < length; i++) h = (h ^ key[i]) * 1099511628211ull;
    return (size_t)(h ^ (h >> 29));
}

p4_dirs *p4dirs_new(int root) {
    p4_dirs *dirs = calloc(1, sizeof *dirs);
    if (!dirs) return NULL;
    dirs->root = root;
    dirs->size = 1024;
    dirs->buckets = calloc(dirs->size, sizeof *dirs->buckets);
    if (!dirs->buckets) {
        free(dirs);
        return NULL;
    }
    return dirs;
}

static void forget_all(p4_dirs *dirs) {
    for (size_t i = 0; i < dirs->size; i++) {
        for (p4_dir *dir = dirs->buckets[i], *next; dir; dir = next) {
            next = dir->chain;
            free(dir->name);
            free(dir);
        }
        dirs->buckets[i] = NULL;
    }
    dirs->count = 0;
    dirs->root_dir = NULL;
}

void p4dirs_free(p4_dirs *dirs) {
    forget_all(dirs);
    free(dirs->buckets);
    free(dirs);
}

p4_dir *p4dirs_find(p4_dirs *dirs, const struct file_handle *handle) {
    uint8_t key[4 + MAX_HANDLE];
    uint32_t length = key_of(handle, key);
    p4_dir *dir = dirs->buckets[hash(key, length) & (dirs->size - 1)];
    while (dir && (dir->handle_len != length || memcmp(dir->handle, key, length))) dir = dir->chain;
    return dir;
}

static int grow(p4_dirs *dirs) {
    size_t size = dirs->size * 2;
    p4_dir **buckets = calloc(size, sizeof *buckets);
    if (!buckets) return -ENOMEM;
    for (size_t i = 0; i < dirs->size; i++) {
        for (p4_dir *dir = dirs->buckets[i], *next; dir; dir = next) {
            next = dir->chain;
            size_t at = hash(dir->handle, dir->handle_len) & (size - 1);
            dir->chain = buckets[at];
            buckets[at] = dir;
        }
    }
    free(dirs->buckets);
    dirs->buckets = buckets;
    dirs->size = size;
    return 0;
}

static p4_dir *find_or_add(p4_dirs *dirs, const struct file_handle *handle) {
    p4_dir *dir = p4dirs_find(dirs, handle);
    if (dir) return dir;
    if (dirs->count >= dirs->size && grow(dirs)) return NULL;
    uint8_t key[4 + MAX_HANDLE];
    uint32_t length = key_of(handle, key);
    dir = calloc(1, sizeof *dir + length);
    if (!dir) return NULL;
    dir->handle_len = length;
    memcpy(dir->handle, key, length);
    size_t at = hash(key, length) & (dirs->size - 1);
    dir->chain = dirs->buckets[at];
    dirs->buckets[at] = dir;
    dirs->count++;
    return dir;
}

/* Whether `above` is `dir` or above it: such a place would make a loop. */
static int is_below(const p4_dir *above, const p4_dir *dir) {
    for (; dir; dir = dir->parent)
        if (dir == above) return 1;
    return 0;
}

static void take_place(p4_dir *dir) {
    if (dir->parent) dir->parent->children--;
    free(dir->name);
    dir->name = NULL;
    dir->parent = NULL;
}

static int give_place(p4_dir *dir, p4_dir *parent, const char *name) {
    char *copy = strdup(name);
    if (!copy) return -ENOMEM;
    take_place(dir);
    dir->name = copy;
    if (is_below(dir, parent)) return 0;
    dir->parent = parent;
    parent->children++;
    return 0;
}

/* Frees a deleted directory's node once nothing refers to it. */
static void drop_if_unused(p4_dirs *dirs, p4_dir *dir) {
    if (dir == dirs->root_dir || dir->parent || dir->children) return;
    p4_dir **at = &dirs->buckets[hash(dir->handle, dir->handle_len) & (dirs->size - 1)];
    while (*at != dir) at = &(*at)->chain;
    *at = dir->chain;
    dirs->count--;
    free(dir->name);
    free(dir);
}

static int handle_at(int at, const char *path, struct file_handle *handle) {
    int mount;
    handle->handle_bytes = MAX_HANDLE;
    return name_to_handle_at(at, path, handle, &mount, 0) ? -errno : 0;
}

/* Learns the directories below the open directory, which it closes. */
static int learn_below(p4_dirs *dirs, p4_dir *parent, int fd) {
    DIR *stream = fdopendir(fd);
    if (!stream) {
        int error = errno;
        close(fd);
        return -error;
    }
    union {
        struct file_handle head;
        uint8_t room[sizeof(struct file_handle) + MAX_HANDLE];
    } handle;
    int rc = 0;
    for (struct dirent *entry; !rc && (entry = readdir(stream));) {
        const char *name = entry->d_name;
        if (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN) continue;
        if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
        if (parent == dirs->root_dir && !strcmp(name, STATE_DIR)) continue;
        int child = openat(dirfd(stream), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (child < 0) continue; /* not a directory, gone, or not ours to read */
        struct stat st;
        if (fstat(child, &st) || st.st_dev != dirs->device ||
            handle_at(dirfd(stream), name, &handle.head)) {
            close(child);
            continue;
        }
        p4_dir *dir = find_or_add(dirs, &handle.head);
        if (!dir || give_place(dir, parent, name)) {
            close(child);
            rc = -ENOMEM;
        } else {
            rc = learn_below(dirs, dir, child);
            if (rc != -ENOMEM) rc = 0;
        }
    }
    closedir(stream);
    return rc;
}

int p4dirs_learn_all(p4_dirs *dirs) {
    union {
        struct file_handle head;
        uint8_t room[sizeof(struct file_handle) + MAX_HANDLE];
    } handle;
    struct stat st;
    if (fstat(dirs->root, &st)) return -errno;
    dirs->device = st.st_dev;
    int rc = handle_at(dirs->root, ".", &handle.head);
    if (rc) return rc;
    forget_all(dirs);
    dirs->root_dir = find_or_add(dirs, &handle.head);
    if (!dirs->root_dir) return -ENOMEM;
    int fd = openat(dirs->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : learn_below(dirs, dirs->root_dir, fd);
}

int p4dirs_path(p4_dirs *dirs, p4_dir *dir, const char *name, char *path, size_t cap) {
    size_t at = cap;
    const char *part = name;
    for (;;) {
        size_t length = strlen(part);
        if (length + 1 > at) return -ENAMETOOLONG;
        at -= length + 1;
        memcpy(path + at, part, length);
        path[at + length] = '/';
        if (dir == dirs->root_dir) break;
        if (!dir->parent) return -ENOENT;
        part = dir->name;
        dir = dir->parent;
    }
    size_t length = cap - at - 1;
    memmove(path, path + at, length);
    path[length] = 0;
    return (int)length;
}

int p4dirs_update(p4_dirs *dirs, p4_dir *parent, const char *name, const char *path,
                  const struct file_handle *handle, int deep) {
    union {
        struct file_handle head;
        uint8_t room[sizeof(struct file_handle) + MAX_HANDLE];
    } now;
    p4_dir *old = p4dirs_find(dirs, handle);
    if (old && old->parent == parent && old->name && !strcmp(old->name, name)) {
        take_place(old);
        drop_if_unused(dirs, old);
    }
    int fd = p4_open_beneath(dirs->root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd < 0) return fd == -ENOMEM || fd == -EMFILE || fd == -ENFILE ? fd : 0;
    struct stat st;
    int rc = fstat(fd, &st) ? -errno : st.st_dev != dirs->device ? -EXDEV : handle_at(fd, ".", &now.head);
    if (rc) {
        close(fd);
        return 0;
    }
    p4_dir *dir = find_or_add(dirs, &now.head);
    if (!dir || give_place(dir, parent, name)) {
        close(fd);
        return -ENOMEM;
    }
    if (!deep) {
        close(fd);
        return 1;
    }
    rc = learn_below(dirs, dir, fd);
    return rc == -ENOMEM ? rc : 1;
}
