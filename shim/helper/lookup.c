/* lookup: see lookup.h. */
#include "lookup.h"

#include <errno.h>
#include <lmdb.h>
#include <string.h>

/* Takes the next key off the list: 1 when there is one, 0 at the end, else an errno. */
static int next_key(const uint8_t **at, const uint8_t *end, MDB_val *key) {
    uint16_t length;
    if (*at == end) return 0;
    if (end - *at < 2) return EINVAL;
    memcpy(&length, *at, 2);
    if (end - *at - 2 < length) return EINVAL;
    *key = (MDB_val){length, (void *)(*at + 2)};
    *at += 2 + length;
    return 1;
}

typedef struct {
    const uint8_t *databases;
    uint32_t database_count, out_cap;
    const uint8_t *in, *end;
    uint8_t *out;
    int32_t count;
} holding;

/* 1 when one of the databases has the key, 0 when none has; an LMDB code otherwise. */
static int is_held(const holding *asked, MDB_txn *txn, const MDB_dbi *databases, MDB_val *key) {
    MDB_val value;
    for (uint32_t i = 0; i < asked->database_count; i++) {
        int rc = mdb_get(txn, databases[asked->databases[i]], key, &value);
        if (rc != MDB_NOTFOUND) return rc ? rc : 1;
    }
    return 0;
}

static int all_held(MDB_txn *txn, const MDB_dbi *databases, void *argument) {
    holding *asked = argument;
    MDB_val key;
    int rc = 0;
    while ((rc = next_key(&asked->in, asked->end, &key)) == 1) {
        if ((uint32_t)asked->count == asked->out_cap) return EINVAL;
        rc = is_held(asked, txn, databases, &key);
        if (rc != 0 && rc != 1) return rc;
        asked->out[asked->count++] = (uint8_t)rc;
    }
    return rc;
}

int32_t p4lookup_holds(p4_kv *kv, const uint8_t *databases, uint32_t database_count,
                       const uint8_t *in, uint64_t in_len, uint8_t *out, uint32_t out_cap) {
    holding asked = {databases, database_count, out_cap, in, in + in_len, out, 0};
    int rc = p4_kv_read(kv, all_held, &asked);
    return rc ? rc : asked.count;
}

typedef struct {
    int32_t database;
    const uint8_t *in, *end;
    uint8_t *out;
    uint64_t used, out_cap;
} reading;

static int all_values(MDB_txn *txn, const MDB_dbi *databases, void *argument) {
    reading *asked = argument;
    MDB_val key, value;
    int rc = 0;
    while ((rc = next_key(&asked->in, asked->end, &key)) == 1) {
        rc = mdb_get(txn, databases[asked->database], &key, &value);
        if (rc && rc != MDB_NOTFOUND) return rc;
        uint32_t length = rc ? P4_LOOKUP_NONE : (uint32_t)value.mv_size;
        if (rc) value.mv_size = 0;
        if (asked->out_cap - asked->used < 4 + value.mv_size) return ENOBUFS;
        memcpy(asked->out + asked->used, &length, 4);
        if (!rc) memcpy(asked->out + asked->used + 4, value.mv_data, value.mv_size);
        asked->used += 4 + value.mv_size;
    }
    return rc;
}

int64_t p4lookup_values(p4_kv *kv, int32_t database, const uint8_t *in, uint64_t in_len, uint8_t *out,
                        uint64_t out_cap) {
    reading asked = {database, in, in + in_len, out, 0, out_cap};
    int rc = p4_kv_read(kv, all_values, &asked);
    return rc ? rc : (int64_t)asked.used;
}
