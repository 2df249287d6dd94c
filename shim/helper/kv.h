/* kv: a key-value store on LMDB (data format 1) for one owner.
 *
 * Rules
 * 1. Writes come only through p4kv_apply: one call, one transaction, durable when it returns 0
 *    (unless opened relaxed). The owner calls it from one place at a time (any thread; begin and commit are in the call).
 * 2. Reads see the last committed transaction. p4kv_get is for the owner's thread only (it keeps
 *    one renewed read transaction); p4kv_scan may run on any thread.
 * 3. p4kv_reopen may be called at any time from the owner's place; it waits for calls in progress.
 * 4. Errors are -errno, or LMDB's own codes (MDB_*, all below -30000).
 */
#ifndef P4_KV_H
#define P4_KV_H
#include <stddef.h>
#include <stdint.h>

typedef struct p4_kv p4_kv;

#define P4_EXPORT __attribute__((visibility("default")))

/* Options of p4kv_open. Relaxed: after a crash of the machine the last transactions before the latest
 * p4kv_sync may be undone, in order; the environment is whole all the same. */
enum { P4KV_READ_ONLY = 1, P4KV_RELAXED = 2 };

/* Opens (creates) the environment in directory `dir` with room for `map_bytes`; 0 for a reader means
 * what the writer said. */
P4_EXPORT int32_t p4kv_open(const char *dir, uint64_t map_bytes, uint32_t options, p4_kv **out);

/* Closes the environment and opens it again, with another size: after MDB_MAP_FULL, and after
 * MDB_PANIC, when LMDB takes no more writes because one of its own failed. Database numbers stay.
 * On failure it is closed: every call fails with MDB_PANIC until this succeeds. */
P4_EXPORT int32_t p4kv_reopen(p4_kv *kv, uint64_t map_bytes);

/* Creates these databases, each name with its NUL, in one transaction: one sync of the disk, not one for
 * each. p4kv_database opens them. */
P4_EXPORT int32_t p4kv_prepare(p4_kv *kv, const char *names, uint64_t names_len);

/* Opens (creates) a named database; "" is the unnamed one. Returns its number, the same for the same
 * name, or an error. */
P4_EXPORT int32_t p4kv_database(p4_kv *kv, const char *name);

/* Copies the value of `key` into `out`. Returns its length, which may be more than `cap` (then
 * nothing is copied); -ENOENT when there is none. */
P4_EXPORT int64_t p4kv_get(p4_kv *kv, int32_t db, const uint8_t *key, uint32_t key_len,
                           uint8_t *out, uint32_t cap);

/* Applies packed operations in one durable transaction. Each: u8 op (1 put, 2 delete, 3 drop all
 * entries of the database, 4 found files), u8 db, u16 key length, u32 value length, key, value.
 * Of found files db is that of the rows, the key the prefix of their storage keys, and the value begins
 * with the u8 db of the queue; found.h has the rest.
 * *txn_id receives the transaction's number. */
P4_EXPORT int32_t p4kv_apply(p4_kv *kv, const uint8_t *ops, uint64_t ops_len, uint64_t *txn_id);

/* Makes every transaction so far durable, and forgets readers of processes that died: they would keep
 * old pages from being used again. */
P4_EXPORT int32_t p4kv_sync(p4_kv *kv);

/* Packs entries with key > start (>= when `inclusive`) into out: u32 key length, u32 value length,
 * key, value. Returns the bytes packed, 0 at the end of the database. */
P4_EXPORT int64_t p4kv_scan(p4_kv *kv, int32_t db, const uint8_t *start, uint32_t start_len,
                            uint32_t inclusive, uint8_t *out, uint64_t cap);

/* Takes the pages that were read out of this process's memory; they stay in the system's cache. For
 * walks over everything, which would else make the process look as large as the file. */
P4_EXPORT int32_t p4kv_trim(p4_kv *kv, int32_t db);

/* info[0] entries of db, info[1] last transaction, info[2] map bytes, info[3] used bytes, info[4]
 * readers of processes that died, forgotten since p4kv_open. */
P4_EXPORT int32_t p4kv_info(p4_kv *kv, int32_t db, uint64_t info[5]);

enum { P4KV_COMPACT = 1 };

/* Writes a copy of the environment as of now to a new file, which may not exist; readers and writers go
 * on meanwhile. Compact: without the unused pages, which takes longer. May run on any thread; removes
 * what it wrote when it fails. */
P4_EXPORT int32_t p4kv_copy(p4_kv *kv, const char *path, uint32_t options);

/* One line for an error code of this file. */
P4_EXPORT int32_t p4kv_describe(int32_t code, uint8_t *out, uint32_t cap);

P4_EXPORT void p4kv_close(p4_kv *kv);

/* For the other files of the helper: calls `read` with a read transaction and all databases, on any
 * thread. Returns what it returned, as an error code. */
struct MDB_txn;
int32_t p4_kv_read(p4_kv *kv, int (*read)(struct MDB_txn *txn, const unsigned *databases, void *argument),
                   void *argument);
#endif
