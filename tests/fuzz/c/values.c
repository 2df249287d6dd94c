/* values: rows and versions of a manifest that another program wrote, as the comparison with the depot
 * reads them, for libFuzzer: any bytes, and never an access outside them. In place of LMDB and of the walk
 * stand what the input has: a file, its row, its version.
 */
#include "../../../shim/helper/compare.c"

enum { FILE_FIELDS = 24, RECORD_BYTES = RECORD_HEAD + 8 }; /* its path is one letter */

static uint8_t file[RECORD_BYTES];
static int is_walked;
static MDB_val values[3]; /* row, version, tombstone; NULL: none */

int64_t p4walk_next(p4_walk *walk, uint8_t *out, uint64_t cap) {
    (void)walk;
    if (is_walked++ || cap < RECORD_BYTES) return 0;
    memcpy(out, file, RECORD_BYTES);
    return RECORD_BYTES;
}

int32_t p4_kv_read(p4_kv *kv, int (*work)(MDB_txn *, const MDB_dbi *, void *), void *argument) {
    static const MDB_dbi databases[] = {0, 1, 2};
    (void)kv;
    return work(NULL, databases, argument);
}

int mdb_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor) {
    (void)txn;
    *cursor = (MDB_cursor *)&values[dbi];
    return 0;
}

void mdb_cursor_close(MDB_cursor *cursor) { (void)cursor; }

int mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *data, MDB_cursor_op op) {
    (void)key, (void)op;
    *data = *(MDB_val *)cursor;
    return data->mv_data ? 0 : MDB_NOTFOUND;
}

/* A value of its own, so that any read beyond it is seen. */
static MDB_val value(const uint8_t *data, size_t size) {
    MDB_val made = {size, malloc(size ? size : 1)};
    if (!made.mv_data) abort();
    memcpy(made.mv_data, data, size);
    return made;
}

/* u8 length of the row, u8 whether there is a version, fields of the file, row, version. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t out[RECORD_BYTES], found[RECORD_BYTES];
    uint64_t counts[3];
    if (size < 2 + FILE_FIELDS) return 0;
    const uint32_t length = RECORD_BYTES;
    const uint16_t path_length = 1;
    memcpy(file, &length, 4);
    file[4] = P4_WALK_FILE;
    memcpy(file + 6, &path_length, 2);
    memcpy(file + 8, data + 2, FILE_FIELDS);
    file[RECORD_HEAD] = 'f';
    size_t rest = size - 2 - FILE_FIELDS, row = data[0] < rest ? data[0] : rest;
    values[0] = value(data + 2 + FILE_FIELDS, row);
    if (data[1] & 1) values[1] = value(data + 2 + FILE_FIELDS + row, rest - row);
    is_walked = 0;
    /* Half of all inputs in doubt. */
    int64_t from_ns = data[1] & 2 ? 0 : INT64_MAX;
    int64_t told = p4compare_next(NULL, NULL, 0, 1, 2, from_ns, INT64_MAX, out, found, sizeof out, counts);
    /* A file is known, or told of as it was found: its row is there. */
    if (counts[2]) abort();
    if (told != (counts[0] ? 0 : RECORD_BYTES) || (told && memcmp(out, file, RECORD_BYTES))) abort();
    for (int i = 0; i < 2; i++) {
        free(values[i].mv_data);
        values[i] = (MDB_val){0};
    }
    return 0;
}
