/* watch: tells what happened to the depot's files, whoever wrote them and through whatever mount.
 *
 * One fanotify group on the depot's filesystem, events by directory handle and name. A reader calls
 * p4watch_next in a loop; between calls events wait in the kernel's unlimited queue.
 *
 * Rules
 * 1. Every change of a file in the depot by another process gives a record after the change, or a
 *    RECONCILE record says that events were lost (P1).
 * 2. A record tells what is at the path now, not what happened: many events become one record.
 * 3. Events of this process, and all below the state directory, are left out.
 * 4. A BARRIER record comes after the records of every event that happened before it was asked for.
 */
#ifndef P4_WATCH_H
#define P4_WATCH_H
#include "files.h"

typedef struct p4_watch p4_watch;

enum {
    P4_WATCH_CHANGED = 1,   /* a regular file is at the path: mode, size, mtime; id 1: one was renamed to it */
    P4_WATCH_GONE = 2,      /* no regular file is there; size 1: the last event was that one was removed or
                               renamed away, 0: a late close of one that had been replaced before, too */
    P4_WATCH_TREE = 3,      /* a directory came to the path with all below: walk it */
    P4_WATCH_TREE_GONE = 4, /* a directory left the path */
    P4_WATCH_RECONCILE = 5, /* events were lost: compare everything; errno in size */
    P4_WATCH_BARRIER = 6,   /* id */
    P4_WATCH_RENAMED = 7    /* a directory was renamed within the depot: old path, NUL, new path; comes
                               before the TREE_GONE and TREE of the same rename, one for each rename */
};

/* Starts watching. `depot` is absolute and canonical. On failure -errno, and one line in `text`; on
 * success `text` says how it watches. */
P4_EXPORT int32_t p4watch_open(const char *depot, p4_watch **out, char *text, uint32_t text_cap);

/* Blocks until something happened, gathers for a moment, and packs records: u32 length of all, u8 kind,
 * u8 0, u16 path length, u32 mode, u32 0, i64 size, i64 mtime ns, u64 id, path; padded to 8. Returns
 * the bytes, 0 after p4watch_stop, or -errno. */
P4_EXPORT int64_t p4watch_next(p4_watch *watch, uint8_t *out, uint64_t cap);

/* Asks for a BARRIER record; any thread. */
P4_EXPORT int32_t p4watch_barrier(p4_watch *watch, uint64_t id);
/* Whether a barrier is not needed: every event up to now has been told, and the reader is done with the
 * records, which it says by calling p4watch_next again. Never waits; any thread. */
P4_EXPORT int32_t p4watch_is_quiet(p4_watch *watch);
/* The latest time known, ns since the epoch, before which everything that happened has been told, and the
 * reader is done with it; 0 when there is none yet. Any thread. */
P4_EXPORT int64_t p4watch_told_until(p4_watch *watch);
/* Makes p4watch_next return 0; any thread. */
P4_EXPORT void p4watch_stop(p4_watch *watch);
/* p4watch_next is not running. */
P4_EXPORT void p4watch_close(p4_watch *watch);
#endif
