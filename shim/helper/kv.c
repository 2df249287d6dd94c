/* kv: see kv.h for what it owns and its rules. Here: reads and writes of an open environment; kv_env.c
 * opens and closes it. */
#include "kv_env.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "found.h"

static int64_t get(p4_kv *kv, int32_t db, const uint8_t *key, uint32_t key_len, uint8_t *out,
                   uint32_t cap) {
    int rc = kv->reader ? mdb_txn_renew(kv->reader)
                        : mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &kv->reader);
    if (rc) return p4_kv_code(rc);
    MDB_val k = {key_len, (void *)key}, v;
    rc = mdb_get(kv->reader, kv->dbi[db], &k, &v);
    int64_t result = rc == MDB_NOTFOUND ? -ENOENT : p4_kv_code(rc);
    if (!rc) {
        result = (int64_t)v.mv_size;
        if (v.mv_size <= cap) memcpy(out, v.mv_data, v.mv_size);
    }
    mdb_txn_reset(kv->reader);
    return result;
}

int64_t p4kv_get(p4_kv *kv, int32_t db, const uint8_t *key, uint32_t key_len, uint8_t *out,
                 uint32_t cap) {
    if (db < 0 || db >= kv->count) return -EINVAL;
    int64_t result = p4_kv_begin_use(kv);
    if (result) return result;
    result = get(kv, db, key, key_len, out, cap);
    p4_kv_end_use(kv);
    return result;
}

int32_t p4_kv_read(p4_kv *kv, int (*read)(MDB_txn *txn, const MDB_dbi *databases, void *argument),
                   void *argument) {
    MDB_txn *txn;
    int rc = p4_kv_begin_use(kv);
    if (rc) return rc;
    rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);
    if (!rc) {
        rc = read(txn, kv->dbi, argument);
        mdb_txn_abort(txn);
    }
    p4_kv_end_use(kv);
    return p4_kv_code(rc);
}

static int apply_one(MDB_txn *txn, p4_kv *kv, const uint8_t *head, const uint8_t *key) {
    uint16_t key_len;
    uint32_t value_len;
    memcpy(&key_len, head + 2, 2);
    memcpy(&value_len, head + 4, 4);
    MDB_val k = {key_len, (void *)key}, v = {value_len, (void *)(key + key_len)};
    if (head[1] >= kv->count) return EINVAL;
    MDB_dbi dbi = kv->dbi[head[1]];
    if (head[0] == 1) return mdb_put(txn, dbi, &k, &v, 0);
    if (head[0] == 3) return mdb_drop(txn, dbi, 0);
    if (head[0] == 4) {
        const uint8_t *value = v.mv_data;
        if (!value_len || value[0] >= kv->count) return EINVAL;
        return p4_found_put(txn, dbi, kv->dbi[value[0]], key, key_len, value + 1, value_len - 1);
    }
    if (head[0] != 2) return EINVAL;
    int rc = mdb_del(txn, dbi, &k, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int apply(p4_kv *kv, const uint8_t *ops, uint64_t ops_len, uint64_t *txn_id) {
    MDB_txn *txn;
    int rc = mdb_txn_begin(kv->env, NULL, 0, &txn);
    if (rc) return rc;
    *txn_id = mdb_txn_id(txn);
    for (uint64_t at = 0; !rc && at < ops_len;) {
        uint16_t key_len = 0;
        uint32_t value_len = 0;
        if (ops_len - at >= 8) {
            memcpy(&key_len, ops + at + 2, 2);
            memcpy(&value_len, ops + at + 4, 4);
        }
        uint64_t need = 8 + (uint64_t)key_len + value_len;
        if (ops_len - at < need) {
            rc = EINVAL;
            break;
        }
        rc = apply_one(txn, kv, ops + at, ops + at + 8);
        at += need;
    }
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

int32_t p4kv_apply(p4_kv *kv, const uint8_t *ops, uint64_t ops_len, uint64_t *txn_id) {
    int rc = p4_kv_begin_use(kv);
    if (rc) return rc;
    rc = apply(kv, ops, ops_len, txn_id);
    p4_kv_end_use(kv);
    return p4_kv_code(rc);
}

int32_t p4kv_sync(p4_kv *kv) {
    int rc = p4_kv_begin_use(kv);
    if (rc) return rc;
    rc = p4_kv_forget_dead_readers(kv);
    if (!rc) rc = mdb_env_sync(kv->env, 1);
    p4_kv_end_use(kv);
    return p4_kv_code(rc);
}

static int64_t scan(p4_kv *kv, int32_t db, const uint8_t *start, uint32_t start_len,
                    uint32_t inclusive, uint8_t *out, uint64_t cap) {
    MDB_txn *txn;
    MDB_cursor *cursor;
    int rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);
    if (rc) return p4_kv_code(rc);
    rc = mdb_cursor_open(txn, kv->dbi[db], &cursor);
    if (rc) {
        mdb_txn_abort(txn);
        return p4_kv_code(rc);
    }
    MDB_val k = {start_len, (void *)start}, v;
    rc = start_len ? mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE)
                   : mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
    if (!rc && start_len && !inclusive && k.mv_size == start_len &&
        memcmp(k.mv_data, start, start_len) == 0)
        rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    uint64_t used = 0;
    while (!rc) {
        uint64_t need = 8 + k.mv_size + v.mv_size;
        if (used + need > cap) {
            if (!used) rc = ENOBUFS; /* one entry alone does not fit */
            break;
        }
        uint32_t key_len = (uint32_t)k.mv_size, value_len = (uint32_t)v.mv_size;
        memcpy(out + used, &key_len, 4);
        memcpy(out + used + 4, &value_len, 4);
        memcpy(out + used + 8, k.mv_data, k.mv_size);
        memcpy(out + used + 8 + k.mv_size, v.mv_data, v.mv_size);
        used += need;
        rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    if (rc && rc != MDB_NOTFOUND) return p4_kv_code(rc);
    return (int64_t)used;
}

int64_t p4kv_scan(p4_kv *kv, int32_t db, const uint8_t *start, uint32_t start_len,
                  uint32_t inclusive, uint8_t *out, uint64_t cap) {
    if (db < 0 || db >= kv->count) return -EINVAL;
    int64_t result = p4_kv_begin_use(kv);
    if (result) return result;
    result = scan(kv, db, start, start_len, inclusive, out, cap);
    p4_kv_end_use(kv);
    return result;
}

/* Where the data file is mapped: LMDB does not tell, but every page begins with its number. */
static int find_map(MDB_txn *txn, MDB_dbi dbi, size_t page_size, char **map) {
    MDB_cursor *cursor;
    MDB_val k, v;
    int rc = mdb_cursor_open(txn, dbi, &cursor);
    if (rc) return rc;
    rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
    if (!rc) {
        char *page = (char *)((uintptr_t)k.mv_data / page_size * page_size);
        size_t number;
        memcpy(&number, page, sizeof number);
        *map = page - number * page_size;
    }
    mdb_cursor_close(cursor);
    return rc;
}

static int trim(p4_kv *kv, int32_t db) {
    MDB_txn *txn;
    MDB_envinfo env;
    MDB_stat stat;
    char *map = NULL;
    int rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);
    if (rc) return rc;
    rc = mdb_env_info(kv->env, &env);
    if (!rc) rc = mdb_env_stat(kv->env, &stat);
    if (!rc) rc = find_map(txn, kv->dbi[db], stat.ms_psize, &map);
    mdb_txn_abort(txn);
    if (rc == MDB_NOTFOUND) return 0;
    if (rc) return rc;
    size_t used = (size_t)(env.me_last_pgno + 1) * stat.ms_psize;
    return madvise(map, used, MADV_DONTNEED) ? errno : 0;
}

int32_t p4kv_trim(p4_kv *kv, int32_t db) {
    if (db < 0 || db >= kv->count) return -EINVAL;
    int rc = p4_kv_begin_use(kv);
    if (rc) return rc;
    rc = trim(kv, db);
    p4_kv_end_use(kv);
    return p4_kv_code(rc);
}

static int get_info(p4_kv *kv, int32_t db, uint64_t info[4]) {
    MDB_txn *txn;
    MDB_stat stat;
    MDB_envinfo env;
    int rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);
    if (rc) return rc;
    rc = mdb_stat(txn, kv->dbi[db], &stat);
    mdb_txn_abort(txn);
    if (!rc) rc = mdb_env_info(kv->env, &env);
    if (rc) return rc;
    info[0] = stat.ms_entries;
    info[1] = env.me_last_txnid;
    info[2] = env.me_mapsize;
    info[3] = (uint64_t)(env.me_last_pgno + 1) * stat.ms_psize;
    return 0;
}

int32_t p4kv_info(p4_kv *kv, int32_t db, uint64_t info[5]) {
    if (db < 0 || db >= kv->count) return -EINVAL;
    int rc = p4_kv_begin_use(kv);
    if (rc) return rc;
    rc = get_info(kv, db, info);
    if (!rc && !p4_kv_is_read_only(kv)) rc = p4_kv_forget_dead_readers(kv);
    info[4] = atomic_load(&kv->stale_readers);
    p4_kv_end_use(kv);
    return p4_kv_code(rc);
}

static int copy(p4_kv *kv, const char *path, uint32_t options) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return errno;
    int rc = mdb_env_copyfd2(kv->env, fd, options & P4KV_COMPACT ? MDB_CP_COMPACT : 0);
    if (!rc && fsync(fd)) rc = errno;
    if (close(fd) && !rc) rc = errno;
    if (rc) unlink(path);
    return rc;
}

int32_t p4kv_copy(p4_kv *kv, const char *path, uint32_t options) {
    int rc = p4_kv_begin_use(kv);
    if (rc) return rc;
    rc = copy(kv, path, options);
    p4_kv_end_use(kv);
    return p4_kv_code(rc);
}
