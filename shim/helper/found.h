/* found: rows of new files that a walk found, many in one operation of a transaction (kv.h).
 *
 * Each becomes dirty: a row in `files` and an entry in the queue, in the bytes of schema.ts. The records
 * are those of walk.h, in the order of their paths, so that neighbours are written one after another.
 */
#ifndef P4_FOUND_H
#define P4_FOUND_H
#include <lmdb.h>
#include <stddef.h>
#include <stdint.h>

/* `at`: u64 seconds since the epoch, when they were found; records. A row's storage key is `prefix` and the
 * path. None of them may have a row or an entry yet. Returns an LMDB code; EINVAL where the bytes are none
 * of ours. */
int p4_found_put(MDB_txn *txn, MDB_dbi files, MDB_dbi queue, const uint8_t *prefix, size_t prefix_len,
                 const uint8_t *at, size_t length);
#endif
