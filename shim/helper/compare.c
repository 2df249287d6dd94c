/* compare: see compare.h. A step of the walk is sorted by path, so that neighbours in the manifest are
 * looked up, and later written, one after another. */
#include "compare.h"

#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECORD_HEAD = 40, RECORD_CTIME = 32, /* of a walk's record */
    ROW_BYTES = 25, ROW_CREATED = 16, ROW_STATE = 24, CLEAN = 2,
    VERSION_BYTES = 25, VERSION_FORMAT = 1, VERSION_SIZE = 1, VERSION_MTIME = 9, VERSION_MODE = 17
};

typedef struct {
    const uint8_t *bytes, *path;
    uint16_t path_len;
} record;

typedef struct {
    record *records;
    size_t count;
    uint8_t *out;
    int64_t used;
    uint64_t known;
    int32_t files, versions;
    int64_t from_ns, until_s;
} comparison;

static record record_at(const uint8_t *bytes) {
    record found = {bytes, bytes + RECORD_HEAD, 0};
    memcpy(&found.path_len, bytes + 6, 2);
    return found;
}

static int by_path(const void *left, const void *right) {
    const record *a = left, *b = right;
    int order = memcmp(a->path, b->path, a->path_len < b->path_len ? a->path_len : b->path_len);
    return order ? order : (int)a->path_len - (int)b->path_len;
}

/* Whether the row, and the version where it has one, are of the file as the record has it. */
static int is_known(const MDB_val *row, const MDB_val *version, const uint8_t *file) {
    const uint8_t *bytes = version ? version->mv_data : NULL;
    uint32_t mode, permissions;
    memcpy(&mode, file + 8, 4);
    mode &= 07777;
    if (!bytes) return !memcmp(row->mv_data, file + 16, 8);
    if (version->mv_size < VERSION_BYTES || bytes[0] != VERSION_FORMAT) return 0;
    memcpy(&permissions, bytes + VERSION_MODE, 4);
    return !memcmp(bytes + VERSION_SIZE, file + 16, 8) &&
           !memcmp(bytes + VERSION_MTIME, file + 24, 8) && permissions == mode;
}

/* Whether the file may have changed, unseen, since its clean row was begun. */
static int is_doubtful(const comparison *work, const uint8_t *row, const uint8_t *file) {
    int64_t ctime, created;
    memcpy(&ctime, file + RECORD_CTIME, 8);
    memcpy(&created, row + ROW_CREATED, 8);
    return ctime >= work->from_ns && created < work->until_s;
}

/* 1 when the file is known, 0 when it is not; an LMDB code otherwise. */
static int look_up(const comparison *work, MDB_cursor *files, MDB_cursor *versions,
                   const record *file) {
    MDB_val key = {file->path_len, (void *)file->path}, row, version;
    int rc = mdb_cursor_get(files, &key, &row, MDB_SET);
    if (rc == MDB_NOTFOUND) return 0;
    if (rc) return rc;
    if (row.mv_size < ROW_BYTES) return 0;
    int is_clean = ((const uint8_t *)row.mv_data)[ROW_STATE] == CLEAN;
    if (is_clean && is_doubtful(work, row.mv_data, file->bytes)) return 0;
    rc = is_clean ? mdb_cursor_get(versions, &key, &version, MDB_SET) : MDB_NOTFOUND;
    if (rc && rc != MDB_NOTFOUND) return rc;
    return is_known(&row, rc ? NULL : &version, file->bytes);
}

static void tell(comparison *work, const record *found) {
    uint32_t length;
    memcpy(&length, found->bytes, 4);
    memcpy(work->out + work->used, found->bytes, length);
    work->used += length;
}

static int compare_all(comparison *work, MDB_cursor *files, MDB_cursor *versions) {
    for (size_t i = 0; i < work->count; i++) {
        const record *found = &work->records[i];
        int known = found->bytes[4] == P4_WALK_FILE ? look_up(work, files, versions, found) : 0;
        if (known != 0 && known != 1) return known;
        if (known) work->known++;
        else tell(work, found);
    }
    return 0;
}

static int in_transaction(MDB_txn *txn, const MDB_dbi *databases, void *argument) {
    comparison *work = argument;
    MDB_cursor *files, *versions;
    int rc = mdb_cursor_open(txn, databases[work->files], &files);
    if (rc) return rc;
    rc = mdb_cursor_open(txn, databases[work->versions], &versions);
    if (!rc) {
        rc = compare_all(work, files, versions);
        mdb_cursor_close(versions);
    }
    mdb_cursor_close(files);
    return rc;
}

int64_t p4compare_next(p4_walk *walk, p4_kv *kv, int32_t files, int32_t versions,
                       int64_t from_ns, int64_t until_s, uint8_t *out, uint64_t cap,
                       uint64_t counts[2]) {
    uint8_t *found = malloc(cap);
    record *records = malloc(cap / RECORD_HEAD * sizeof *records);
    int64_t length = found && records ? p4walk_next(walk, found, cap) : -ENOMEM;
    if (length >= 0) {
        comparison work = {.records = records, .out = out, .files = files, .versions = versions,
                           .from_ns = from_ns, .until_s = until_s};
        for (int64_t at = 0; at < length;) {
            uint32_t size;
            records[work.count++] = record_at(found + at);
            memcpy(&size, found + at, 4);
            at += size;
        }
        qsort(records, work.count, sizeof *records, by_path);
        counts[1] = length == 0;
        int rc = p4_kv_read(kv, in_transaction, &work);
        counts[0] = work.known;
        length = rc ? rc : work.used;
    }
    free(records);
    free(found);
    return length;
}
