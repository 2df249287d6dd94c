/* evict: takes cold files off the depot without ever losing a writer's bytes (P1;
 * docs/explanation/eviction.md). The caller decides which files, and commits the manifest between steps.
 *
 *   p4evict_begin   for each file: open, write lease, same version?, rename into the trash
 *   (caller)        waits until every event before now was seen: the grace
 *   p4evict_check   for each taken file: lease still whole, content still that version?
 *   (caller)        commits the manifest for those it lets go
 *   p4evict_finish  unlinks those, puts the others back, closes all
 *
 * Why nothing is lost
 * 1. F_SETLEASE(F_WRLCK) is refused while anyone else has the file open or mapped (fcntl(2)).
 * 2. Whoever opens it later breaks the lease and waits in open(2); F_GETLEASE then says so, and the
 *    file goes back to its name before the opener goes on.
 * 3. An opener that had found the inode but not yet reached the lease check is the only one left:
 *    the grace gives it time, and check sees its break.
 * 4. Nothing is ever placed over an existing name: a file that took the name meanwhile stays, and
 *    the evicted one remains in the trash for the caller to keep as a conflict.
 * 5. A file is taken from the directory that is meant, and goes back into that one, whatever either is
 *    called by then. Files of one directory in a row are taken through one descriptor of it.
 */
#ifndef P4_EVICT_H
#define P4_EVICT_H
#include "files.h"

typedef struct p4_evict p4_evict;

enum {
    P4_EVICT_TAKEN = 0,
    P4_EVICT_IN_USE = 1,
    P4_EVICT_CHANGED = 2,
    P4_EVICT_LINKED = 3,
    P4_EVICT_GONE = 4,
    P4_EVICT_DENIED = 5, /* not the owner and no CAP_LEASE */
    P4_EVICT_CONFLICT = 6, /* could not be put back: the name is taken; it stays in the trash */
    P4_EVICT_DOUBTFUL = 7  /* looks like the version, but changed when nobody may have seen it */
};

/* in: per file u64 trash id, i64 size, i64 mtime ns, u32 permission bits, i64 ns, u16 length of the path,
 * u16 of the identity, path, identity of its directory (p4files_identity; empty: any directory).
 * A file of which anything changed since those ns (its ctime) may be another version, whatever it looks
 * like (INT64_MAX: none is). results[i]: P4_EVICT_* or -errno. The trash is the directory `trash` of the
 * depot; ids are its file names, in decimal. */
P4_EXPORT int32_t p4evict_begin(int32_t root, const char *trash, const uint8_t *in, uint64_t in_len,
                                int32_t *results, uint32_t results_cap, p4_evict **out);
P4_EXPORT int32_t p4evict_check(p4_evict *batch, int32_t *results);
/* let_go[i] != 0: unlink unless its lease was broken since; else put back. results[i] is
 * P4_EVICT_TAKEN only for the unlinked. Frees the batch. */
P4_EXPORT int32_t p4evict_finish(p4_evict *batch, const uint8_t *let_go, int32_t *results);
#endif
