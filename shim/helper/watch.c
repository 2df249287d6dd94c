/* watch: see watch.h for what it promises. */
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dir_table.h"

#ifndef FAN_REPORT_TARGET_FID
#define FAN_REPORT_TARGET_FID 0x00001000
#endif
#ifndef FAN_RENAME
#define FAN_RENAME 0x10000000
#define FAN_EVENT_INFO_TYPE_OLD_DFID_NAME 10
#define FAN_EVENT_INFO_TYPE_NEW_DFID_NAME 12
#endif

enum {
    HEAD = 40,
    MAX_PATH = 4096,
    READ_BYTES = 256 * 1024,
    PROOF_MS = 2000, /* for the first event to arrive */
    GATHER_MS = 2,       /* time for repeats of one path to become one record */
    MAX_PENDING = 4096,  /* paths gathered at most */
    SLOTS = 2 * MAX_PENDING,
    MAX_BARRIERS = 64
};
static const char STATE_DIR[] = ".p4cache";

typedef struct {
    uint8_t kind;
    uint8_t removed;
    uint16_t length;
    char path[];
} pending;

struct p4_watch {
    int group, root, wake;
    int by_handle;
    pid_t self;
    char depot[MAX_PATH];
    size_t depot_len;
    p4_dirs *dirs;
    int learned;
    int lost; /* errno + 1 of a loss to report */
    pending *waiting[MAX_PENDING];
    size_t count, sent;
    uint16_t slots[SLOTS]; /* index into waiting + 1, by path: finds repeats */
    pthread_mutex_t lock;
    uint64_t barriers[MAX_BARRIERS];
    size_t barrier_count;
    int stopped;
    uint8_t events[READ_BYTES] __attribute__((aligned(8)));
};

/* ---- opening ---- */

static int open_group(p4_watch *watch, char *text, uint32_t cap) {
    const unsigned common = FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS;
    /* FAN_RENAME and FAN_REPORT_TARGET_FID came with the same kernel, Linux 5.17. */
    const uint64_t by_handle = FAN_CLOSE_WRITE | FAN_CREATE | FAN_DELETE | FAN_RENAME | FAN_ATTRIB |
                               FAN_ONDIR;
    watch->group = fanotify_init(
        common | FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_REPORT_FID | FAN_REPORT_TARGET_FID,
        O_RDONLY | O_LARGEFILE);
    if (watch->group < 0 && errno == EPERM) {
        snprintf(text, cap,
                 "fanotify_init failed (requires CAP_SYS_ADMIN): grant it with 'sudo setcap "
                 "cap_sys_admin+ep <p4-cache>' or, in the systemd unit, with "
                 "'AmbientCapabilities=CAP_SYS_ADMIN'");
        return -EPERM;
    }
    if (watch->group >= 0) {
        if (!fanotify_mark(watch->group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, by_handle, watch->root,
                           NULL)) {
            watch->by_handle = 1;
            snprintf(text, cap, "filesystem mark, by handle");
            return 0;
        }
        close(watch->group);
    }
    /* Older kernels, and filesystems without handles: closes only; the periodic comparison of depot
     * and manifest finds the rest. */
    watch->group = fanotify_init(common | FAN_CLASS_NOTIF, O_RDONLY | O_LARGEFILE);
    if (watch->group < 0) {
        int error = errno;
        snprintf(text, cap, "fanotify_init failed: %s", strerror(error));
        return -error;
    }
    if (!fanotify_mark(watch->group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_CLOSE_WRITE,
                       watch->root, NULL)) {
        snprintf(text, cap, "filesystem mark, by descriptor");
        return 0;
    }
    if (!fanotify_mark(watch->group, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_CLOSE_WRITE, watch->root,
                       NULL)) {
        snprintf(text, cap, "mount mark, by descriptor");
        return 0;
    }
    int error = errno;
    snprintf(text, cap, "Cannot watch %s with fanotify: %s", watch->depot, strerror(error));
    return -error;
}

/* Proves that events arrive, by one of our own: a kernel that accepts the mark and stays silent would
 * mean that nothing is ever uploaded. */
static int prove(p4_watch *watch, char *text, uint32_t cap) {
    int fd = openat(watch->root, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) {
        int error = errno;
        snprintf(text, cap, "Cannot write in %s: %s", watch->depot, strerror(error));
        return -error;
    }
    close(fd);
    struct pollfd events = {.fd = watch->group, .events = POLLIN};
    if (poll(&events, 1, PROOF_MS) == 1) return 0;
    snprintf(text, cap, "Cannot watch %s: the kernel reports no events for its filesystem",
             watch->depot);
    return -ENOTSUP;
}

int32_t p4watch_open(const char *depot, p4_watch **out, char *text, uint32_t text_cap) {
    p4_watch *watch = calloc(1, sizeof *watch);
    if (!watch) return -ENOMEM;
    watch->group = watch->root = watch->wake = -1;
    watch->self = getpid();
    pthread_mutex_init(&watch->lock, NULL);
    int rc = 0;
    watch->depot_len = strlen(depot);
    if (watch->depot_len >= MAX_PATH) rc = -ENAMETOOLONG;
    if (!rc) {
        memcpy(watch->depot, depot, watch->depot_len + 1);
        watch->root = open(depot, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        watch->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (watch->root < 0 || watch->wake < 0) rc = -errno;
    }
    if (rc) snprintf(text, text_cap, "Cannot watch %s: %s", depot, strerror(-rc));
    if (!rc) rc = open_group(watch, text, text_cap);
    if (!rc) rc = prove(watch, text, text_cap);
    if (!rc && !(watch->dirs = p4dirs_new(watch->root))) rc = -ENOMEM;
    if (rc) {
        p4watch_close(watch);
        return rc;
    }
    *out = watch;
    return 0;
}

/* ---- gathering ---- */

static size_t slot_of(const p4_watch *watch, uint8_t kind, const char *path, size_t length) {
    uint64_t h = 1469598103934665603ull ^ kind;
    for (size_t i = 0; i < length; i++) h = (h ^ (uint8_t)path[i]) * 1099511628211ull;
    size_t slot = (size_t)(h ^ (h >> 31)) % SLOTS;
    for (; watch->slots[slot]; slot = (slot + 1) % SLOTS) {
        const pending *p = watch->waiting[watch->slots[slot] - 1];
        if (p->kind == kind && p->length == length && !memcmp(p->path, path, length)) break;
    }
    return slot;
}

static int in_state_dir(const char *path, size_t length) {
    size_t state_len = sizeof STATE_DIR - 1;
    return length >= state_len && !memcmp(path, STATE_DIR, state_len) &&
           (length == state_len || path[state_len] == '/');
}

static int append(p4_watch *watch, uint8_t kind, const char *path, size_t length) {
    pending *p = malloc(sizeof *p + length + 1);
    if (!p || watch->count == MAX_PENDING) {
        free(p);
        watch->lost = ENOMEM + 1;
        return 0;
    }
    p->kind = kind;
    p->removed = 0;
    p->length = (uint16_t)length;
    memcpy(p->path, path, length);
    p->path[length] = 0;
    watch->waiting[watch->count++] = p;
    return 1;
}

/* Notes that something happened at the path. A repeat moves nothing: the record is made later and
 * tells the state then, and whether the last of the events was a removal. */
static void note(p4_watch *watch, uint8_t kind, const char *path, size_t length, int removed) {
    if (in_state_dir(path, length)) return;
    size_t slot = slot_of(watch, kind, path, length);
    if (!watch->slots[slot]) {
        if (!append(watch, kind, path, length)) return;
        watch->slots[slot] = (uint16_t)watch->count;
    }
    if (watch->slots[slot] > watch->sent) watch->waiting[watch->slots[slot] - 1]->removed = removed != 0;
}

static void lose(p4_watch *watch, int error) { watch->lost = error + 1; }

/* One event that names a directory entry: `dir_handle` + `name`, and the thing it names. */
static void take_entry(p4_watch *watch, uint64_t mask, int ours, const struct file_handle *dir_handle,
                       const char *name, const struct file_handle *target) {
    char path[MAX_PATH];
    p4_dir *dir = p4dirs_find(watch->dirs, dir_handle);
    if (!dir) return; /* outside the depot */
    int length = p4dirs_path(watch->dirs, dir, name, path, sizeof path);
    if (length <= 0) return; /* its directory left the depot; or longer than any depot path */
    if (!(mask & FAN_ONDIR)) {
        int removed = (mask & (FAN_DELETE | FAN_MOVED_FROM)) != 0;
        if (!ours) note(watch, P4_WATCH_CHANGED, path, (size_t)length, removed);
        return;
    }
    if (!(mask & (FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO)) || !target) return;
    int came = (mask & FAN_MOVED_TO) != 0;
    int there = p4dirs_update(watch->dirs, dir, name, path, target, came);
    if (there < 0) lose(watch, -there);
    if (ours) return;
    if (mask & (FAN_MOVED_FROM | FAN_DELETE)) note(watch, P4_WATCH_TREE_GONE, path, (size_t)length, 1);
    if (came && there == 1) note(watch, P4_WATCH_TREE, path, (size_t)length, 0);
}

/* The path of `name` in the directory; 0 when that is not in the depot. */
static size_t path_of(p4_watch *watch, const struct file_handle *dir_handle, const char *name,
                      char *path, size_t cap) {
    p4_dir *dir = dir_handle ? p4dirs_find(watch->dirs, dir_handle) : NULL;
    int length = dir ? p4dirs_path(watch->dirs, dir, name, path, cap) : 0;
    return length > 0 ? (size_t)length : 0;
}

/* A rename: what the two directories would be told, and for a directory that stays in the depot what
 * became of it. Every one counts: two renames to and fro are not the same as none. */
static void take_rename(p4_watch *watch, uint64_t mask, int ours, const struct file_handle *from_dir,
                        const char *from, const struct file_handle *to_dir, const char *to,
                        const struct file_handle *target) {
    char paths[2 * MAX_PATH];
    size_t from_len = 0, to_len = 0;
    if ((mask & FAN_ONDIR) && !ours) {
        from_len = path_of(watch, from_dir, from, paths, MAX_PATH);
        if (from_len) to_len = path_of(watch, to_dir, to, paths + from_len + 1, MAX_PATH);
        if (to_len && !in_state_dir(paths, from_len) && !in_state_dir(paths + from_len + 1, to_len))
            append(watch, P4_WATCH_RENAMED, paths, from_len + 1 + to_len);
    }
    uint64_t kind = mask & FAN_ONDIR;
    if (from_dir) take_entry(watch, kind | FAN_MOVED_FROM, ours, from_dir, from, target);
    if (to_dir) take_entry(watch, kind | FAN_MOVED_TO, ours, to_dir, to, target);
}

static const char *name_after(const struct file_handle *handle) {
    return (const char *)handle->f_handle + handle->handle_bytes;
}

/* Whether the record is as long as it says, with a whole handle and, where it has one, a whole name. */
static int is_whole(const struct fanotify_event_info_fid *info, const uint8_t *end) {
    const uint8_t *at = (const uint8_t *)info;
    size_t length = info->hdr.len, head = sizeof *info + sizeof(struct file_handle);
    if (length < sizeof info->hdr || length > (size_t)(end - at)) return 0;
    int type = info->hdr.info_type;
    int has_name = type == FAN_EVENT_INFO_TYPE_DFID_NAME ||
                   type == FAN_EVENT_INFO_TYPE_OLD_DFID_NAME ||
                   type == FAN_EVENT_INFO_TYPE_NEW_DFID_NAME;
    if (!has_name && type != FAN_EVENT_INFO_TYPE_FID) return 1;
    if (length < head) return 0;
    const struct file_handle *handle = (const void *)info->handle;
    if (handle->handle_bytes > length - head || handle->handle_bytes > MAX_HANDLE_SZ) return 0;
    size_t used = head + handle->handle_bytes;
    return !has_name || memchr(at + used, 0, length - used) != NULL;
}

static void take_by_handle(p4_watch *watch, const struct fanotify_event_metadata *event) {
    const struct file_handle *dir = NULL, *target = NULL, *from = NULL, *to = NULL;
    const char *name = NULL;
    int ours = event->pid == watch->self;
    const uint8_t *at = (const uint8_t *)event + event->metadata_len;
    const uint8_t *end = (const uint8_t *)event + event->event_len;
    while (at + sizeof(struct fanotify_event_info_header) <= end) {
        const struct fanotify_event_info_fid *info = (const void *)at;
        if (!is_whole(info, end)) return lose(watch, EBADMSG);
        const struct file_handle *handle = (const void *)info->handle;
        if (info->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME) {
            dir = handle;
            name = name_after(handle);
        } else if (info->hdr.info_type == FAN_EVENT_INFO_TYPE_OLD_DFID_NAME) {
            from = handle;
        } else if (info->hdr.info_type == FAN_EVENT_INFO_TYPE_NEW_DFID_NAME) {
            to = handle;
        } else if (info->hdr.info_type == FAN_EVENT_INFO_TYPE_FID) {
            target = handle;
        }
        at += info->hdr.len;
    }
    if (event->mask & FAN_RENAME)
        take_rename(watch, event->mask, ours, from, from ? name_after(from) : NULL, to,
                    to ? name_after(to) : NULL, target);
    /* "." is a directory's event on itself: its mode changed; no file did. */
    if (dir && name && strcmp(name, ".") != 0)
        take_entry(watch, event->mask, ours, dir, name, target);
}

static void take_by_descriptor(p4_watch *watch, const struct fanotify_event_metadata *event) {
    char self[40], path[MAX_PATH];
    if (event->fd < 0) return;
    snprintf(self, sizeof self, "/proc/self/fd/%d", event->fd);
    ssize_t length = readlink(self, path, sizeof path - 1);
    close(event->fd);
    size_t skip = watch->depot_len + 1;
    if (event->pid == watch->self || length <= (ssize_t)skip) return;
    path[length] = 0;
    if (memcmp(path, watch->depot, watch->depot_len) || path[watch->depot_len] != '/') return;
    note(watch, P4_WATCH_CHANGED, path + skip, (size_t)length - skip, 0);
}

/* Takes the events of one read; there is room for three records of each. */
static void take_events(p4_watch *watch, const void *events, ssize_t n) {
    const struct fanotify_event_metadata *event = events;
    for (; FAN_EVENT_OK(event, n); event = FAN_EVENT_NEXT(event, n)) {
        if (event->vers != FANOTIFY_METADATA_VERSION || (event->mask & FAN_Q_OVERFLOW))
            lose(watch, EOVERFLOW);
        else if (watch->by_handle)
            take_by_handle(watch, event);
        else
            take_by_descriptor(watch, event);
    }
}

/* Reads what is in the kernel's queue; stops when enough is gathered. Returns whether it may hold
 * more. */
static int drain(p4_watch *watch) {
    /* An event gives at most three records, and is at least its metadata long. */
    while (watch->count < MAX_PENDING / 2) {
        size_t most = (MAX_PENDING - watch->count) / 3 * sizeof(struct fanotify_event_metadata);
        ssize_t n = read(watch->group, watch->events, most < READ_BYTES ? most : READ_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            if (errno != EAGAIN) lose(watch, errno);
            return 0;
        }
        take_events(watch, watch->events, n);
    }
    return 1;
}

/* ---- packing ---- */

static size_t pack(uint8_t *out, uint64_t room, uint8_t kind, const char *path, size_t length,
                   const struct stat *st, int64_t size, uint64_t id) {
    uint32_t total = (uint32_t)((HEAD + length + 7) & ~(size_t)7);
    if (total > room) return 0;
    uint16_t path_len = (uint16_t)length;
    uint32_t mode = st ? st->st_mode : 0;
    int64_t mtime = st ? (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec : 0;
    if (st) size = st->st_size;
    memset(out, 0, HEAD);
    memcpy(out, &total, 4);
    out[4] = kind;
    memcpy(out + 6, &path_len, 2);
    memcpy(out + 8, &mode, 4);
    memcpy(out + 16, &size, 8);
    memcpy(out + 24, &mtime, 8);
    memcpy(out + 32, &id, 8);
    memcpy(out + HEAD, path, length);
    return total;
}

/* The record of one path, with what is there now. */
static size_t pack_pending(p4_watch *watch, const pending *p, uint8_t *out, uint64_t room) {
    struct stat st;
    if (p->kind != P4_WATCH_CHANGED) return pack(out, room, p->kind, p->path, p->length, NULL, 0, 0);
    int failed = fstatat(watch->root, p->path, &st, AT_SYMLINK_NOFOLLOW);
    /* A file that cannot be looked at is not gone: whoever reads it next finds out why. */
    if (failed && errno != ENOENT && errno != ENOTDIR)
        return pack(out, room, P4_WATCH_CHANGED, p->path, p->length, NULL, 0, 0);
    int there = !failed && S_ISREG(st.st_mode);
    return pack(out, room, there ? P4_WATCH_CHANGED : P4_WATCH_GONE, p->path, p->length,
                there ? &st : NULL, p->removed, 0);
}

static uint64_t pack_all(p4_watch *watch, uint8_t *out, uint64_t cap) {
    uint64_t used = 0;
    while (watch->sent < watch->count) {
        pending *p = watch->waiting[watch->sent];
        size_t n = pack_pending(watch, p, out + used, cap - used);
        if (!n) return used;
        used += n;
        free(p);
        watch->sent++;
    }
    watch->count = watch->sent = 0;
    memset(watch->slots, 0, sizeof watch->slots);
    return used;
}

static uint64_t pack_barriers(p4_watch *watch, size_t count, uint8_t *out, uint64_t cap) {
    uint64_t used = 0;
    pthread_mutex_lock(&watch->lock);
    size_t done = 0;
    for (; done < count; done++) {
        size_t n = pack(out + used, cap - used, P4_WATCH_BARRIER, "", 0, NULL, 0, watch->barriers[done]);
        if (!n) break;
        used += n;
    }
    watch->barrier_count -= done;
    memmove(watch->barriers, watch->barriers + done, watch->barrier_count * sizeof *watch->barriers);
    pthread_mutex_unlock(&watch->lock);
    return used;
}

/* ---- the reader's side ---- */

static size_t barriers_asked(p4_watch *watch) {
    pthread_mutex_lock(&watch->lock);
    size_t count = watch->barrier_count;
    pthread_mutex_unlock(&watch->lock);
    return count;
}

static int wait_for_events(p4_watch *watch, int timeout_ms) {
    struct pollfd fds[2] = {{.fd = watch->group, .events = POLLIN}, {.fd = watch->wake, .events = POLLIN}};
    int n = poll(fds, 2, timeout_ms);
    return n < 0 && errno != EINTR ? -errno : n;
}

int64_t p4watch_next(p4_watch *watch, uint8_t *out, uint64_t cap) {
    if (!watch->learned && watch->by_handle) {
        int rc = p4dirs_learn_all(watch->dirs);
        if (rc) return rc;
    }
    watch->learned = 1;
    for (;;) {
        if (__atomic_load_n(&watch->stopped, __ATOMIC_ACQUIRE)) return 0;
        if (watch->sent == watch->count) {
            /* A barrier that had to wait for more events is still asked for, though awake no more. */
            int rc = wait_for_events(watch, barriers_asked(watch) ? 0 : -1);
            if (rc < 0) return rc;
            uint64_t ignored;
            while (read(watch->wake, &ignored, sizeof ignored) > 0) {
            }
        }
        size_t barriers = 0;
        if (!watch->sent) { /* nothing left over from a buffer that was full */
            barriers = barriers_asked(watch);
            int more = drain(watch);
            if (!barriers && !more && watch->count) {
                struct timespec gather = {.tv_nsec = GATHER_MS * 1000000};
                nanosleep(&gather, NULL);
                more = drain(watch);
            }
            if (more) barriers = 0; /* events from before them may still be in the queue */
        }
        if (watch->lost) {
            int error = watch->lost - 1;
            /* Directories may have moved unseen too. */
            int rc = watch->by_handle ? p4dirs_learn_all(watch->dirs) : 0;
            if (rc) return rc;
            watch->lost = 0;
            return (int64_t)pack(out, cap, P4_WATCH_RECONCILE, "", 0, NULL, error, 0);
        }
        uint64_t used = pack_all(watch, out, cap);
        if (barriers && !watch->count) used += pack_barriers(watch, barriers, out + used, cap - used);
        if (used) return (int64_t)used;
    }
}

int32_t p4watch_barrier(p4_watch *watch, uint64_t id) {
    pthread_mutex_lock(&watch->lock);
    int full = watch->barrier_count == MAX_BARRIERS;
    if (!full) watch->barriers[watch->barrier_count++] = id;
    pthread_mutex_unlock(&watch->lock);
    if (full) return -EAGAIN;
    uint64_t one = 1;
    return write(watch->wake, &one, sizeof one) == sizeof one || errno == EAGAIN ? 0 : -errno;
}

void p4watch_stop(p4_watch *watch) {
    __atomic_store_n(&watch->stopped, 1, __ATOMIC_RELEASE);
    uint64_t one = 1;
    ssize_t ignored = write(watch->wake, &one, sizeof one);
    (void)ignored; /* EAGAIN: it is readable already */
}

void p4watch_close(p4_watch *watch) {
    for (size_t i = watch->sent; i < watch->count; i++) free(watch->waiting[i]);
    if (watch->dirs) p4dirs_free(watch->dirs);
    if (watch->group >= 0) close(watch->group);
    if (watch->root >= 0) close(watch->root);
    if (watch->wake >= 0) close(watch->wake);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}
