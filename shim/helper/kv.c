/* kv: see kv.h for what it owns and its rules. */
#include "kv.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_DATABASES = 32 };

struct p4_kv {
    MDB_env *env; /* NULL after a reopen that failed */
    MDB_txn *reader; /* reset between gets, renewed for each */
    MDB_dbi dbi[MAX_DATABASES];
    char *names[MAX_DATABASES];
    int32_t count;
    uint32_t options;
    char *dir;
    atomic_uint stale_readers;
    pthread_rwlock_t in_use; /* written by reopen, read by everything else */
};

/* LMDB returns 0, a positive errno, or a negative code of its own. */
static int32_t code(int rc) { return rc > 0 ? -rc : rc; }

/* A data file that was cut short would end us with SIGBUS at some later read. LMDB leaves a page or
 * two at the end unwritten when a transaction allocated and freed them: that much is made up for with
 * zeros, which LMDB recognises; more is refused. */
static int check_length(MDB_env *env, int read_only) {
    MDB_envinfo info;
    MDB_stat stat;
    struct stat file;
    mdb_filehandle_t fd;
    int rc = mdb_env_info(env, &info);
    if (!rc) rc = mdb_env_stat(env, &stat);
    if (!rc) rc = mdb_env_get_fd(env, &fd);
    if (rc) return rc;
    if (fstat(fd, &file)) return errno;
    uint64_t pages = (uint64_t)file.st_size / stat.ms_psize, needed = info.me_last_pgno + 1;
    if (pages >= needed) return 0;
    if (needed - pages > 16 || needed - pages > needed / 10) return MDB_CORRUPTED;
    if (read_only) return 0;
    return ftruncate(fd, (off_t)(needed * stat.ms_psize)) ? errno : 0;
}

/* Readers of a process that died leave slots behind that would pin old pages. */
static int forget_dead_readers(p4_kv *kv) {
    int dead = 0, rc = mdb_reader_check(kv->env, &dead);
    if (!rc) atomic_fetch_add(&kv->stale_readers, (unsigned)dead);
    return rc;
}

static int is_read_only(const p4_kv *kv) { return (kv->options & P4KV_READ_ONLY) != 0; }

static void close_env(p4_kv *kv) {
    if (kv->reader) mdb_txn_abort(kv->reader);
    kv->reader = NULL;
    if (kv->env) mdb_env_close(kv->env);
    kv->env = NULL;
}

static int open_env(p4_kv *kv, uint64_t map_bytes) {
    int rc = mdb_env_create(&kv->env);
    if (rc) {
        kv->env = NULL;
        return rc;
    }
    if (!rc) rc = mdb_env_set_maxdbs(kv->env, MAX_DATABASES);
    if (!rc) rc = mdb_env_set_mapsize(kv->env, map_bytes);
    int read_only = is_read_only(kv);
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (read_only ? MDB_RDONLY : 0) |
                     (kv->options & P4KV_RELAXED ? MDB_NOMETASYNC : 0);
    if (!rc) rc = mdb_env_open(kv->env, kv->dir, flags, 0644);
    if (!rc) rc = check_length(kv->env, read_only);
    if (!rc && !read_only) rc = forget_dead_readers(kv);
    if (rc) close_env(kv);
    return rc;
}

static int open_in(MDB_txn *txn, const p4_kv *kv, const char *name, MDB_dbi *dbi) {
    return mdb_dbi_open(txn, *name ? name : NULL, is_read_only(kv) ? 0 : MDB_CREATE, dbi);
}

static int open_database(p4_kv *kv, const char *name, MDB_dbi *dbi) {
    MDB_txn *txn;
    int rc = mdb_txn_begin(kv->env, NULL, is_read_only(kv) ? MDB_RDONLY : 0, &txn);
    if (rc) return rc;
    rc = open_in(txn, kv, name, dbi);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

static int begin_use(p4_kv *kv) {
    pthread_rwlock_rdlock(&kv->in_use);
    if (kv->env) return 0;
    pthread_rwlock_unlock(&kv->in_use);
    return MDB_PANIC;
}

static void end_use(p4_kv *kv) { pthread_rwlock_unlock(&kv->in_use); }

static void free_kv(p4_kv *kv) {
    for (int32_t i = 0; i < kv->count; i++) free(kv->names[i]);
    pthread_rwlock_destroy(&kv->in_use);
    free(kv->dir);
    free(kv);
}

int32_t p4kv_open(const char *dir, uint64_t map_bytes, uint32_t options, p4_kv **out) {
    p4_kv *kv = calloc(1, sizeof *kv);
    if (!kv) return -ENOMEM;
    kv->options = options;
    pthread_rwlock_init(&kv->in_use, NULL);
    kv->dir = strdup(dir);
    int rc = kv->dir ? open_env(kv, map_bytes) : ENOMEM;
    if (rc) {
        free_kv(kv);
        return code(rc);
    }
    *out = kv;
    return 0;
}

int32_t p4kv_reopen(p4_kv *kv, uint64_t map_bytes) {
    pthread_rwlock_wrlock(&kv->in_use);
    close_env(kv);
    int rc = open_env(kv, map_bytes);
    for (int32_t i = 0; !rc && i < kv->count; i++) {
        rc = open_database(kv, kv->names[i], &kv->dbi[i]);
        if (rc) close_env(kv);
    }
    pthread_rwlock_unlock(&kv->in_use);
    return code(rc);
}

static int prepare(p4_kv *kv, const char *name, const char *end) {
    MDB_txn *txn;
    MDB_dbi dbi;
    int rc = mdb_txn_begin(kv->env, NULL, 0, &txn);
    if (rc) return rc;
    for (; !rc && name < end; name += strlen(name) + 1) rc = open_in(txn, kv, name, &dbi);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

int32_t p4kv_prepare(p4_kv *kv, const char *names, uint64_t names_len) {
    int rc = begin_use(kv);
    if (rc) return rc;
    rc = prepare(kv, names, names + names_len);
    end_use(kv);
    return code(rc);
}

int32_t p4kv_database(p4_kv *kv, const char *name) {
    for (int32_t i = 0; i < kv->count; i++)
        if (!strcmp(kv->names[i], name)) return i;
    if (kv->count == MAX_DATABASES) return -ENFILE;
    int rc = begin_use(kv);
    if (rc) return rc;
    char *copy = strdup(name);
    rc = copy ? open_database(kv, name, &kv->dbi[kv->count]) : ENOMEM;
    end_use(kv);
    if (rc) {
        free(copy);
        return code(rc);
    }
    kv->names[kv->count] = copy;
    return kv->count++;
}

static int64_t get(p4_kv *kv, int32_t db, const uint8_t *key, uint32_t key_len, uint8_t *out,
                   uint32_t cap) {
    int rc = kv->reader ? mdb_txn_renew(kv->reader)
                        : mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &kv->reader);
    if (rc) return code(rc);
    MDB_val k = {key_len, (void *)key}, v;
    rc = mdb_get(kv->reader, kv->dbi[db], &k, &v);
    int64_t result = rc == MDB_NOTFOUND ? -ENOENT : code(rc);
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
    int64_t result = begin_use(kv);
    if (result) return result;
    result = get(kv, db, key, key_len, out, cap);
    end_use(kv);
    return result;
}

int32_t p4_kv_read(p4_kv *kv, int (*read)(MDB_txn *txn, const MDB_dbi *databases, void *argument),
                   void *argument) {
    MDB_txn *txn;
    int rc = begin_use(kv);
    if (rc) return rc;
    rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);
    if (!rc) {
        rc = read(txn, kv->dbi, argument);
        mdb_txn_abort(txn);
    }
    end_use(kv);
    return code(rc);
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
    int rc = begin_use(kv);
    if (rc) return rc;
    rc = apply(kv, ops, ops_len, txn_id);
    end_use(kv);
    return code(rc);
}

int32_t p4kv_sync(p4_kv *kv) {
    int rc = begin_use(kv);
    if (rc) return rc;
    rc = forget_dead_readers(kv);
    if (!rc) rc = mdb_env_sync(kv->env, 1);
    end_use(kv);
    return code(rc);
}

static int64_t scan(p4_kv *kv, int32_t db, const uint8_t *start, uint32_t start_len,
                    uint32_t inclusive, uint8_t *out, uint64_t cap) {
    MDB_txn *txn;
    MDB_cursor *cursor;
    int rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);
    if (rc) return code(rc);
    rc = mdb_cursor_open(txn, kv->dbi[db], &cursor);
    if (rc) {
        mdb_txn_abort(txn);
        return code(rc);
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
    if (rc && rc != MDB_NOTFOUND) return code(rc);
    return (int64_t)used;
}

int64_t p4kv_scan(p4_kv *kv, int32_t db, const uint8_t *start, uint32_t start_len,
                  uint32_t inclusive, uint8_t *out, uint64_t cap) {
    if (db < 0 || db >= kv->count) return -EINVAL;
    int64_t result = begin_use(kv);
    if (result) return result;
    result = scan(kv, db, start, start_len, inclusive, out, cap);
    end_use(kv);
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
    int rc = begin_use(kv);
    if (rc) return rc;
    rc = trim(kv, db);
    end_use(kv);
    return code(rc);
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
    int rc = begin_use(kv);
    if (rc) return rc;
    rc = get_info(kv, db, info);
    if (!rc && !is_read_only(kv)) rc = forget_dead_readers(kv);
    info[4] = atomic_load(&kv->stale_readers);
    end_use(kv);
    return code(rc);
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
    int rc = begin_use(kv);
    if (rc) return rc;
    rc = copy(kv, path, options);
    end_use(kv);
    return code(rc);
}

int32_t p4kv_describe(int32_t c, uint8_t *out, uint32_t cap) {
    const char *text = mdb_strerror(c > -30000 && c < 0 ? -c : c);
    size_t length = strlen(text);
    if (length > cap) length = cap;
    memcpy(out, text, length);
    return (int32_t)length;
}

void p4kv_close(p4_kv *kv) {
    close_env(kv);
    free_kv(kv);
}
