/* compare: what a walk finds that the manifest does not know as it is.
 *
 * Only sorts out: files whose row says what is there are counted and passed over, all else is told. What
 * becomes of it is the caller's to say (transitions.ts). The rows' bytes are described in schema.ts.
 */
#ifndef P4_COMPARE_H
#define P4_COMPARE_H
#include "kv.h"
#include "walk.h"

/* One step of the walk, compared with the last committed rows in one read transaction. Packs records
 * as p4walk_next does, in the order of their paths. Returns their bytes, which may be 0.
 * Files that have neither row nor tombstone are packed apart, in `found`, as large as `out`: but only
 * those whose names no built-in rule excludes for certain (src/cache/exclusion.ts); others are told.
 * What a clean row says is believed only of a file of which nothing changed since `from_ns` (its ctime;
 * INT64_MAX: of any), or when the row was begun at or after `until_s`: src/cache/unseen_changes.ts.
 * counts[0]: files that are known; counts[1]: 1 when the walk is at its end; counts[2]: bytes in
 * `found`. */
P4_EXPORT int64_t p4compare_next(p4_walk *walk, p4_kv *kv, int32_t files, int32_t versions,
                                 int32_t tombstones, int64_t from_ns, int64_t until_s, uint8_t *out,
                                 uint8_t *found, uint64_t cap, uint64_t counts[3]);
#endif
