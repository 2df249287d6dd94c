/* watch_events: see watch_events.h for its rules. */
#include "watch_events.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include "watch.h"

#ifndef FAN_RENAME
#define FAN_RENAME 0x10000000
#define FAN_EVENT_INFO_TYPE_OLD_DFID_NAME 10
#define FAN_EVENT_INFO_TYPE_NEW_DFID_NAME 12
#endif

enum { MAX_PATH = P4_EVENTS_PATH };

/* One event that names a directory entry: `dir_handle` + `name`, and the thing it names. */
static void take_entry(const p4_event_reader *reader, uint64_t mask, int ours, const struct file_handle *dir_handle,
                       const char *name, const struct file_handle *target) {
    char path[MAX_PATH];
    p4_dir *dir = p4dirs_find(reader->dirs, dir_handle);
    if (!dir) return; /* outside the depot */
    int length = p4dirs_path(reader->dirs, dir, name, path, sizeof path);
    if (length <= 0) return; /* its directory left the depot; or longer than any depot path */
    if (!(mask & FAN_ONDIR)) {
        int became = mask & (FAN_DELETE | FAN_MOVED_FROM) ? P4_NAME_WENT
                     : mask & FAN_MOVED_TO                ? P4_NAME_CAME
                                                          : P4_NAME_STAYED;
        if (!ours) p4gathered_note(reader->gathered, P4_WATCH_CHANGED, path, (size_t)length, became);
        return;
    }
    if (!(mask & (FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO)) || !target) return;
    int came = (mask & FAN_MOVED_TO) != 0;
    int there = p4dirs_update(reader->dirs, dir, name, path, target, came);
    if (there < 0) p4gathered_lose(reader->gathered, -there);
    if (ours) return;
    if (mask & (FAN_MOVED_FROM | FAN_DELETE)) p4gathered_note(reader->gathered, P4_WATCH_TREE_GONE, path, (size_t)length, P4_NAME_WENT);
    if (came && there == 1) p4gathered_note(reader->gathered, P4_WATCH_TREE, path, (size_t)length, P4_NAME_CAME);
}

/* The path of `name` in the directory; 0 when that is not in the depot. */
static size_t path_of(const p4_event_reader *reader, const struct file_handle *dir_handle, const char *name,
                      char *path, size_t cap) {
    p4_dir *dir = dir_handle ? p4dirs_find(reader->dirs, dir_handle) : NULL;
    int length = dir ? p4dirs_path(reader->dirs, dir, name, path, cap) : 0;
    return length > 0 ? (size_t)length : 0;
}

/* A rename: what the two directories would be told, and for a directory that stays in the depot what
 * became of it. Every one counts: two renames to and fro are not the same as none. */
static void take_rename(const p4_event_reader *reader, uint64_t mask, int ours, const struct file_handle *from_dir,
                        const char *from, const struct file_handle *to_dir, const char *to,
                        const struct file_handle *target) {
    char paths[2 * MAX_PATH];
    size_t from_len = 0, to_len = 0;
    if ((mask & FAN_ONDIR) && !ours) {
        from_len = path_of(reader, from_dir, from, paths, MAX_PATH);
        if (from_len) to_len = path_of(reader, to_dir, to, paths + from_len + 1, MAX_PATH);
        if (to_len) p4gathered_renamed(reader->gathered, paths, from_len, to_len);
    }
    uint64_t kind = mask & FAN_ONDIR;
    if (from_dir) take_entry(reader, kind | FAN_MOVED_FROM, ours, from_dir, from, target);
    if (to_dir) take_entry(reader, kind | FAN_MOVED_TO, ours, to_dir, to, target);
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

static void take_by_handle(const p4_event_reader *reader, const struct fanotify_event_metadata *event) {
    const struct file_handle *dir = NULL, *target = NULL, *from = NULL, *to = NULL;
    const char *name = NULL;
    int ours = event->pid == reader->self;
    /* Of what we do with files ourselves nobody is told; an eviction is three events. */
    if (ours && !(event->mask & FAN_ONDIR)) return;
    const uint8_t *at = (const uint8_t *)event + event->metadata_len;
    const uint8_t *end = (const uint8_t *)event + event->event_len;
    while (at + sizeof(struct fanotify_event_info_header) <= end) {
        const struct fanotify_event_info_fid *info = (const void *)at;
        if (!is_whole(info, end)) return p4gathered_lose(reader->gathered, EBADMSG);
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
        take_rename(reader, event->mask, ours, from, from ? name_after(from) : NULL, to,
                    to ? name_after(to) : NULL, target);
    /* "." is a directory's event on itself: its mode changed; no file did. */
    if (dir && name && strcmp(name, ".") != 0)
        take_entry(reader, event->mask, ours, dir, name, target);
}

static void take_by_descriptor(const p4_event_reader *reader, const struct fanotify_event_metadata *event) {
    char self[40], path[MAX_PATH];
    if (event->fd < 0) return;
    snprintf(self, sizeof self, "/proc/self/fd/%d", event->fd);
    ssize_t length = readlink(self, path, sizeof path - 1);
    close(event->fd);
    size_t skip = reader->depot_len + 1;
    if (event->pid == reader->self || length <= (ssize_t)skip) return;
    path[length] = 0;
    if (memcmp(path, reader->depot, reader->depot_len) || path[reader->depot_len] != '/') return;
    p4gathered_note(reader->gathered, P4_WATCH_CHANGED, path + skip, (size_t)length - skip, P4_NAME_STAYED);
}

void p4events_take(const p4_event_reader *reader, const void *events, ssize_t bytes) {
    const struct fanotify_event_metadata *event = events;
    for (; FAN_EVENT_OK(event, bytes); event = FAN_EVENT_NEXT(event, bytes)) {
        if (event->vers != FANOTIFY_METADATA_VERSION || (event->mask & FAN_Q_OVERFLOW))
            p4gathered_lose(reader->gathered, EOVERFLOW);
        else if (reader->by_handle)
            take_by_handle(reader, event);
        else
            take_by_descriptor(reader, event);
    }
}
