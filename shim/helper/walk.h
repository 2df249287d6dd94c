/* walk: lists the regular files, or the directories, below a directory of the depot.
 *
 * Never follows a symbolic link, never enters the state directory or another filesystem. What cannot
 * be read is reported and passed over.
 *
 * Several threads may call p4walk_next at the same time: they divide the directories among them, and each
 * entry is told to one of them. A call waits while another may find a directory for it, never for one that
 * has returned.
 */
#ifndef P4_WALK_H
#define P4_WALK_H
#include "files.h"

typedef struct p4_walk p4_walk;

enum { P4_WALK_FILE = 1, P4_WALK_PROBLEM = 2, P4_WALK_OTHER = 3, P4_WALK_DIRECTORY = 4 };

/* Begins at `start`, relative to the depot ("" for all of it). With `directories` only those are told,
 * each before what is below it as long as no two calls run at once. */
P4_EXPORT int32_t p4walk_open(int32_t root, const char *start, uint32_t directories, p4_walk **out);

/* Packs records: u32 length of all, u8 kind, u8 0, u16 path length, u32 mode, u32 nlink, i64 size
 * (errno of a problem), i64 mtime ns, i64 ctime ns, path; padded to 8. Returns the bytes, 0 when all is
 * told; others may hold the last of it. */
P4_EXPORT int64_t p4walk_next(p4_walk *walk, uint8_t *out, uint64_t cap);
P4_EXPORT void p4walk_close(p4_walk *walk);
#endif
