/* found: see found.h. */
#include "found.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "walk.h"

enum { RECORD_HEAD = 40, RECORD_SIZE = 16, ROW_HEAD = 25, DIRTY = 0, TIME_BYTES = 8 };

typedef struct {
    MDB_cursor *files, *queue;
    const uint8_t *prefix;
    size_t prefix_len;
    uint64_t seconds;
} found;

/* Writes a row: size, last access, created at, state, storage key. */
static int put_row(const found *work, const uint8_t *record, MDB_val path) {
    MDB_val row = {ROW_HEAD + work->prefix_len + path.mv_size, NULL};
    int rc = mdb_cursor_put(work->files, &path, &row, MDB_RESERVE);
    if (rc) return rc;
    uint8_t *out = row.mv_data;
    memcpy(out, record + RECORD_SIZE, 8);
    memcpy(out + 8, &work->seconds, 8);
    memcpy(out + 16, &work->seconds, 8);
    out[24] = DIRTY;
    memcpy(out + ROW_HEAD, work->prefix, work->prefix_len);
    memcpy(out + ROW_HEAD + work->prefix_len, path.mv_data, path.mv_size);
    return 0;
}

static int put_entry(const found *work, MDB_val path) {
    uint8_t key[TIME_BYTES + UINT16_MAX];
    uint64_t big_endian = htobe64(work->seconds);
    memcpy(key, &big_endian, TIME_BYTES);
    memcpy(key + TIME_BYTES, path.mv_data, path.mv_size);
    MDB_val entry = {TIME_BYTES + path.mv_size, key}, nothing = {0, key};
    return mdb_cursor_put(work->queue, &entry, &nothing, 0);
}

static int put_all(const found *work, const uint8_t *at, const uint8_t *end) {
    uint32_t total;
    for (; at < end; at += total) {
        uint16_t path_len;
        if (end - at < RECORD_HEAD) return EINVAL;
        memcpy(&total, at, 4);
        memcpy(&path_len, at + 6, 2);
        if (total > (size_t)(end - at) || total < RECORD_HEAD + (size_t)path_len) return EINVAL;
        if (at[4] != P4_WALK_FILE) return EINVAL;
        MDB_val path = {path_len, (void *)(at + RECORD_HEAD)};
        int rc = put_row(work, at, path);
        if (!rc) rc = put_entry(work, path);
        if (rc) return rc;
    }
    return 0;
}

int p4_found_put(MDB_txn *txn, MDB_dbi files, MDB_dbi queue, const uint8_t *prefix, size_t prefix_len,
                 const uint8_t *at, size_t length) {
    found work = {NULL, NULL, prefix, prefix_len, 0};
    if (length < sizeof work.seconds) return EINVAL;
    memcpy(&work.seconds, at, sizeof work.seconds);
    int rc = mdb_cursor_open(txn, files, &work.files);
    if (!rc) rc = mdb_cursor_open(txn, queue, &work.queue);
    if (!rc) rc = put_all(&work, at + sizeof work.seconds, at + length);
    if (work.queue) mdb_cursor_close(work.queue);
    if (work.files) mdb_cursor_close(work.files);
    return rc;
}
