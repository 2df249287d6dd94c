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
    MAX_PATH_BYTES = 1960, /* depot_path.ts */
    VERSION_BYTES = 25, VERSION_FORMAT = 1, VERSION_SIZE = 1, VERSION_MTIME = 9, VERSION_MODE = 17
};

typedef struct {
    const uint8_t *bytes, *path;
    uint16_t path_len;
} record;

typedef struct {
    record *records;
    size_t count;
    uint8_t *out, *found;
    int64_t used;
    uint64_t known, found_used;
    int32_t files, versions, tombstones;
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

static int starts_with(const record *file, const char *text) {
    size_t length = strlen(text);
    return file->path_len >= length && !memcmp(file->path, text, length);
}

/* Whether no built-in rule excludes the path: false where that takes more than a look. */
static int is_plain(const record *file) {
    const uint8_t *slash = memrchr(file->path, '/', file->path_len);
    if (!slash || file->path_len > MAX_PATH_BYTES) return 0;
    size_t name_len = (size_t)(file->path + file->path_len - (slash + 1));
    if (name_len >= 4 && !memcmp(slash + 1, "tmp.", 4)) return 0;
    return !starts_with(file, ".p4cache") && !starts_with(file, "server.locks/");
}

enum { UNLIKE = 0, KNOWN = 1, NEW = 2 };

typedef struct {
    MDB_cursor *files, *versions, *tombstones;
} cursors;

/* UNLIKE, KNOWN or NEW; an LMDB code otherwise. */
static int look_up(const comparison *work, const cursors *at, const record *file) {
    MDB_val key = {file->path_len, (void *)file->path}, row, version;
    int rc = mdb_cursor_get(at->files, &key, &row, MDB_SET);
    if (rc == MDB_NOTFOUND) {
        if (!is_plain(file)) return UNLIKE;
        rc = mdb_cursor_get(at->tombstones, &key, &row, MDB_SET);
        return rc == MDB_NOTFOUND ? NEW : rc ? rc : UNLIKE;
    }
    if (rc) return rc;
    if (row.mv_size < ROW_BYTES) return UNLIKE;
    int is_clean = ((const uint8_t *)row.mv_data)[ROW_STATE] == CLEAN;
    if (is_clean && is_doubtful(work, row.mv_data, file->bytes)) return UNLIKE;
    rc = is_clean ? mdb_cursor_get(at->versions, &key, &version, MDB_SET) : MDB_NOTFOUND;
    if (rc && rc != MDB_NOTFOUND) return rc;
    return is_known(&row, rc ? NULL : &version, file->bytes) ? KNOWN : UNLIKE;
}

static uint32_t pack(uint8_t *at, const record *file) {
    uint32_t length;
    memcpy(&length, file->bytes, 4);
    memcpy(at, file->bytes, length);
    return length;
}

static int compare_all(comparison *work, const cursors *at) {
    for (size_t i = 0; i < work->count; i++) {
        const record *file = &work->records[i];
        int is = file->bytes[4] == P4_WALK_FILE ? look_up(work, at, file) : UNLIKE;
        if (is == KNOWN)
            work->known++;
        else if (is == NEW)
            work->found_used += pack(work->found + work->found_used, file);
        else if (is == UNLIKE)
            work->used += pack(work->out + work->used, file);
        else
            return is;
    }
    return 0;
}

static int in_transaction(MDB_txn *txn, const MDB_dbi *databases, void *argument) {
    comparison *work = argument;
    cursors at = {NULL, NULL, NULL};
    int rc = mdb_cursor_open(txn, databases[work->files], &at.files);
    if (!rc) rc = mdb_cursor_open(txn, databases[work->versions], &at.versions);
    if (!rc) rc = mdb_cursor_open(txn, databases[work->tombstones], &at.tombstones);
    if (!rc) rc = compare_all(work, &at);
    if (at.tombstones) mdb_cursor_close(at.tombstones);
    if (at.versions) mdb_cursor_close(at.versions);
    if (at.files) mdb_cursor_close(at.files);
    return rc;
}

int64_t p4compare_next(p4_walk *walk, p4_kv *kv, int32_t files, int32_t versions,
                       int32_t tombstones, int64_t from_ns, int64_t until_s, uint8_t *out,
                       uint8_t *found, uint64_t cap, uint64_t counts[3]) {
    uint8_t *step = malloc(cap);
    record *records = malloc(cap / RECORD_HEAD * sizeof *records);
    int64_t length = step && records ? p4walk_next(walk, step, cap) : -ENOMEM;
    if (length >= 0) {
        comparison work = {.records = records, .out = out, .found = found, .files = files,
                           .versions = versions, .tombstones = tombstones, .from_ns = from_ns,
                           .until_s = until_s};
        for (int64_t at = 0; at < length;) {
            uint32_t size;
            records[work.count++] = record_at(step + at);
            memcpy(&size, step + at, 4);
            at += size;
        }
        qsort(records, work.count, sizeof *records, by_path);
        counts[1] = length == 0;
        int rc = p4_kv_read(kv, in_transaction, &work);
        counts[0] = work.known;
        counts[2] = work.found_used;
        length = rc ? rc : work.used;
    }
    free(records);
    free(step);
    return length;
}
