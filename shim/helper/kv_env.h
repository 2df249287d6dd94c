/* kv_env: an LMDB environment that can be closed and opened again under its owner's calls, and what the
 * files of kv share. Its functions return what LMDB does; p4_kv_code makes that an error of kv.h.
 */
#ifndef P4_KV_ENV_H
#define P4_KV_ENV_H
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "kv.h"

enum { P4_KV_MAX_DATABASES = 32 };

struct p4_kv {
    MDB_env *env; /* NULL after a reopen that failed */
    MDB_txn *reader; /* reset between gets, renewed for each */
    MDB_dbi dbi[P4_KV_MAX_DATABASES];
    char *names[P4_KV_MAX_DATABASES];
    int32_t count;
    uint32_t options;
    char *dir;
    atomic_uint stale_readers;
    pthread_rwlock_t in_use; /* written by reopen, read by everything else */
};

/* LMDB returns 0, a positive errno, or a negative code of its own. */
static inline int32_t p4_kv_code(int rc) { return rc > 0 ? -rc : rc; }

static inline int p4_kv_is_read_only(const p4_kv *kv) { return (kv->options & P4KV_READ_ONLY) != 0; }

/* Keeps the environment open until p4_kv_end_use; MDB_PANIC, and nothing to end, where it is closed. */
int p4_kv_begin_use(p4_kv *kv);
void p4_kv_end_use(p4_kv *kv);

/* Readers of a process that died leave slots behind that would pin old pages. */
int p4_kv_forget_dead_readers(p4_kv *kv);
#endif
