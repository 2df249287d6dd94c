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
#include <time.h>
#include <unistd.h>

#include "dir_table.h"
#include "gathered.h"
#include "watch_events.h"

#ifndef FAN_REPORT_TARGET_FID
#define FAN_REPORT_TARGET_FID 0x00001000
#endif
#ifndef FAN_RENAME
#define FAN_RENAME 0x10000000
#endif

enum {
    READ_BYTES = 256 * 1024,
    PROOF_MS = 2000, /* for the first event to arrive */
    GATHER_MS = 2,   /* time for repeats of one path to become one record */
    MAX_BARRIERS = 64
};

struct p4_watch {
    int group, root, wake;
    int learned;
    p4_event_reader reader;
    p4_gathered gathered;
    pthread_mutex_t lock;
    uint64_t barriers[MAX_BARRIERS];
    size_t barrier_count;
    int stopped;
    int64_t emptied_ns; /* before which nothing is in the kernel's queue; the reader's */
    int64_t told_ns;    /* the same of what the reader is done with; any thread's */
    int has_some; /* events were taken from the kernel whose records may not all be dealt with */
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
            watch->reader.by_handle = 1;
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
    snprintf(text, cap, "Cannot watch %s with fanotify: %s", watch->reader.depot, strerror(error));
    return -error;
}

/* Proves that events arrive, by one of our own: a kernel that accepts the mark and stays silent would
 * mean that nothing is ever uploaded. */
static int prove(p4_watch *watch, char *text, uint32_t cap) {
    int fd = openat(watch->root, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) {
        int error = errno;
        snprintf(text, cap, "Cannot write in %s: %s; the daemon's user must be allowed to",
                 watch->reader.depot, strerror(error));
        return -error;
    }
    close(fd);
    struct pollfd events = {.fd = watch->group, .events = POLLIN};
    if (poll(&events, 1, PROOF_MS) == 1) return 0;
    snprintf(text, cap, "Cannot watch %s: the kernel reports no events for its filesystem",
             watch->reader.depot);
    return -ENOTSUP;
}

int32_t p4watch_open(const char *depot, p4_watch **out, char *text, uint32_t text_cap) {
    p4_watch *watch = calloc(1, sizeof *watch);
    if (!watch) return -ENOMEM;
    watch->group = watch->root = watch->wake = -1;
    watch->reader.self = getpid();
    watch->has_some = 1; /* until the directories are known */
    watch->reader.gathered = &watch->gathered;
    pthread_mutex_init(&watch->lock, NULL);
    int rc = 0;
    watch->reader.depot_len = strlen(depot);
    if (watch->reader.depot_len >= P4_EVENTS_PATH) rc = -ENAMETOOLONG;
    if (!rc) {
        memcpy(watch->reader.depot, depot, watch->reader.depot_len + 1);
        watch->root = open(depot, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        watch->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (watch->root < 0 || watch->wake < 0) rc = -errno;
    }
    if (rc) snprintf(text, text_cap, "Cannot watch %s: %s", depot, strerror(-rc));
    if (!rc) rc = open_group(watch, text, text_cap);
    if (!rc) rc = prove(watch, text, text_cap);
    if (!rc && !(watch->reader.dirs = p4dirs_new(watch->root))) rc = -ENOMEM;
    watch->gathered.root = watch->root;
    if (rc) {
        p4watch_close(watch);
        return rc;
    }
    *out = watch;
    return 0;
}

/* ---- the reader's side ---- */

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Reads what is in the kernel's queue; stops when enough is gathered. Returns whether it may hold
 * more; *any says whether something was read, be it of our own doing. */
static int drain(p4_watch *watch, int *any) {
    p4_gathered *gathered = &watch->gathered;
    /* An event gives at most three records, and is at least its metadata long. */
    while (gathered->count < P4_GATHERED_MOST / 2) {
        size_t most = (P4_GATHERED_MOST - gathered->count) / 3 * sizeof(struct fanotify_event_metadata);
        int64_t before = now_ns();
        ssize_t n = read(watch->group, watch->events, most < READ_BYTES ? most : READ_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            if (errno == EAGAIN)
                watch->emptied_ns = before;
            else
                p4gathered_lose(gathered, errno);
            return 0;
        }
        *any = 1;
        p4events_take(&watch->reader, watch->events, n);
    }
    return 1;
}

static uint64_t pack_barriers(p4_watch *watch, size_t count, uint8_t *out, uint64_t cap) {
    uint64_t used = 0;
    pthread_mutex_lock(&watch->lock);
    size_t done = 0;
    for (; done < count; done++) {
        uint64_t id = watch->barriers[done];
        size_t n = p4gathered_pack_plain(P4_WATCH_BARRIER, 0, id, out + used, cap - used);
        if (!n) break;
        used += n;
    }
    watch->barrier_count -= done;
    memmove(watch->barriers, watch->barriers + done, watch->barrier_count * sizeof *watch->barriers);
    pthread_mutex_unlock(&watch->lock);
    return used;
}

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

/* Drains, and once more after a moment: also where all was our own doing, since the kernel would wake
 * us for each further file that we move. Whoever asks for a barrier ends the moment. Returns how many
 * barriers every event before which was read. */
static size_t gather(p4_watch *watch) {
    int any = 0;
    size_t barriers = barriers_asked(watch);
    int more = drain(watch, &any);
    if (any && !barriers && !more) {
        struct pollfd asked = {.fd = watch->wake, .events = POLLIN};
        poll(&asked, 1, GATHER_MS);
        barriers = barriers_asked(watch);
        more = drain(watch, &any);
    }
    return more ? 0 : barriers;
}

static int64_t tell_loss(p4_watch *watch, uint8_t *out, uint64_t cap) {
    int error = watch->gathered.lost - 1;
    /* Directories may have moved unseen too. */
    int rc = watch->reader.by_handle ? p4dirs_learn_all(watch->reader.dirs) : 0;
    if (rc) return rc;
    watch->gathered.lost = 0;
    return (int64_t)p4gathered_pack_plain(P4_WATCH_RECONCILE, error, 0, out, cap);
}

int64_t p4watch_next(p4_watch *watch, uint8_t *out, uint64_t cap) {
    p4_gathered *gathered = &watch->gathered;
    if (!watch->learned && watch->reader.by_handle) {
        int rc = p4dirs_learn_all(watch->reader.dirs);
        if (rc) return rc;
    }
    watch->learned = 1;
    for (;;) {
        if (gathered->sent == gathered->count && !gathered->lost)
            __atomic_store_n(&watch->told_ns, watch->emptied_ns, __ATOMIC_RELEASE);
        if (__atomic_load_n(&watch->stopped, __ATOMIC_ACQUIRE)) return 0;
        if (gathered->sent == gathered->count) {
            /* Who asks for more is done with what it got; a loss is still to be told. */
            if (!gathered->lost) __atomic_store_n(&watch->has_some, 0, __ATOMIC_SEQ_CST);
            /* A barrier that had to wait for more events is still asked for, though awake no more. */
            int rc = wait_for_events(watch, barriers_asked(watch) ? 0 : -1);
            if (rc < 0) return rc;
            __atomic_store_n(&watch->has_some, 1, __ATOMIC_SEQ_CST);
            uint64_t ignored;
            while (read(watch->wake, &ignored, sizeof ignored) > 0) {
            }
        }
        /* Unless something is left over from a buffer that was full. */
        size_t barriers = gathered->sent ? 0 : gather(watch);
        if (gathered->lost) return tell_loss(watch, out, cap);
        uint64_t used = p4gathered_pack(gathered, out, cap);
        if (barriers && !gathered->count) used += pack_barriers(watch, barriers, out + used, cap - used);
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

int32_t p4watch_is_quiet(p4_watch *watch) {
    struct pollfd events = {.fd = watch->group, .events = POLLIN};
    if (poll(&events, 1, 0) != 0) return 0;
    /* An event that is not in the queue any more was taken from it after this was set. */
    return !__atomic_load_n(&watch->has_some, __ATOMIC_SEQ_CST);
}

int64_t p4watch_told_until(p4_watch *watch) {
    int64_t now = now_ns();
    return p4watch_is_quiet(watch) ? now : __atomic_load_n(&watch->told_ns, __ATOMIC_ACQUIRE);
}

void p4watch_stop(p4_watch *watch) {
    __atomic_store_n(&watch->stopped, 1, __ATOMIC_RELEASE);
    uint64_t one = 1;
    ssize_t ignored = write(watch->wake, &one, sizeof one);
    (void)ignored; /* EAGAIN: it is readable already */
}

void p4watch_close(p4_watch *watch) {
    p4gathered_free(&watch->gathered);
    if (watch->reader.dirs) p4dirs_free(watch->reader.dirs);
    if (watch->group >= 0) close(watch->group);
    if (watch->root >= 0) close(watch->root);
    if (watch->wake >= 0) close(watch->wake);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}
