/* kv_env: see kv_env.h. Here: opening and closing, of the environment and its databases. */
#include "kv_env.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

int p4_kv_forget_dead_readers(p4_kv *kv) {
    int dead = 0, rc = mdb_reader_check(kv->env, &dead);
    if (!rc) atomic_fetch_add(&kv->stale_readers, (unsigned)dead);
    return rc;
}

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
    if (!rc) rc = mdb_env_set_maxdbs(kv->env, P4_KV_MAX_DATABASES);
    if (!rc) rc = mdb_env_set_mapsize(kv->env, map_bytes);
    int read_only = p4_kv_is_read_only(kv);
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (read_only ? MDB_RDONLY : 0) |
                     (kv->options & P4KV_RELAXED ? MDB_NOMETASYNC : 0);
    if (!rc) rc = mdb_env_open(kv->env, kv->dir, flags, 0644);
    if (!rc) rc = check_length(kv->env, read_only);
    if (!rc && !read_only) rc = p4_kv_forget_dead_readers(kv);
    if (rc) close_env(kv);
    return rc;
}

static int open_in(MDB_txn *txn, const p4_kv *kv, const char *name, MDB_dbi *dbi) {
    return mdb_dbi_open(txn, *name ? name : NULL, p4_kv_is_read_only(kv) ? 0 : MDB_CREATE, dbi);
}

static int open_database(p4_kv *kv, const char *name, MDB_dbi *dbi) {
    MDB_txn *txn;
    int rc = mdb_txn_begin(kv->env, NULL, p4_kv_is_read_only(kv) ? MDB_RDONLY : 0, &txn);
    if (rc) return rc;
    rc = open_in(txn, kv, name, dbi);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

int p4_kv_begin_use(p4_kv *kv) {
    pthread_rwlock_rdlock(&kv->in_use);
    if (kv->env) return 0;
    pthread_rwlock_unlock(&kv->in_use);
    return MDB_PANIC;
}

void p4_kv_end_use(p4_kv *kv) { pthread_rwlock_unlock(&kv->in_use); }

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
        return p4_kv_code(rc);
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
    return p4_kv_code(rc);
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
    int rc = p4_kv_begin_use(kv);
    if (rc) return rc;
    rc = prepare(kv, names, names + names_len);
    p4_kv_end_use(kv);
    return p4_kv_code(rc);
}

int32_t p4kv_database(p4_kv *kv, const char *name) {
    for (int32_t i = 0; i < kv->count; i++)
        if (!strcmp(kv->names[i], name)) return i;
    if (kv->count == P4_KV_MAX_DATABASES) return -ENFILE;
    int rc = p4_kv_begin_use(kv);
    if (rc) return rc;
    char *copy = strdup(name);
    rc = copy ? open_database(kv, name, &kv->dbi[kv->count]) : ENOMEM;
    p4_kv_end_use(kv);
    if (rc) {
        free(copy);
        return p4_kv_code(rc);
    }
    kv->names[kv->count] = copy;
    return kv->count++;
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
