/* negative: remembers for a short time that the daemon said a file is absent, so that a program that
 * asks again and again costs nothing. Forgotten when the daemon was restarted (its socket is another).
 *
 * A table of words, written and read whole: no lock, and a race costs at most one question more.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

enum { ENTRIES = 1024 };

/* How long a look at the daemon's socket is good for. */
static const int64_t LOOK_NS = 100 * 1000000ll;

typedef struct {
    uint64_t path;  /* hash of the path */
    int64_t until_ns;
} entry;

static entry table[ENTRIES];
static uint64_t daemon_is;   /* identity of the daemon's socket */
static int64_t next_look_ns;

uint64_t p4_negative_key(const char *text, size_t length) {
    uint64_t h = 0x9e3779b97f4a7c15ull ^ length;
    for (; length >= 8; text += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, text, 8);
        h = (h ^ word) * 0xff51afd7ed558ccdull;
        h ^= h >> 32;
    }
    for (; length; text++, length--) h = (h ^ (uint8_t)*text) * 0xff51afd7ed558ccdull;
    return h ^ h >> 29;
}

/* What is remembered of another daemon counts for nothing. */
static uint64_t of_this_daemon(uint64_t key) { return key ^ __atomic_load_n(&daemon_is, __ATOMIC_RELAXED); }

static void look_at_daemon(int64_t now_ns) {
    if (now_ns < __atomic_load_n(&next_look_ns, __ATOMIC_RELAXED)) return;
    struct stat st;
    uint64_t is = 1;
    if (!syscall(SYS_newfstatat, AT_FDCWD, p4_depot.shim_socket, &st, 0))
        is = (uint64_t)st.st_ino * 31 + (uint64_t)st.st_ctim.tv_sec * 1000000007 +
             (uint64_t)st.st_ctim.tv_nsec;
    __atomic_store_n(&daemon_is, is, __ATOMIC_RELAXED);
    __atomic_store_n(&next_look_ns, now_ns + LOOK_NS, __ATOMIC_RELAXED);
}

int p4_negative_has(uint64_t key) {
    int64_t now_ns = p4_now_ns();
    look_at_daemon(now_ns);
    uint64_t h = of_this_daemon(key);
    const entry *e = &table[h % ENTRIES];
    return __atomic_load_n(&e->path, __ATOMIC_ACQUIRE) == h &&
           __atomic_load_n(&e->until_ns, __ATOMIC_RELAXED) > now_ns;
}

void p4_negative_add(uint64_t key) {
    int64_t now_ns = p4_now_ns();
    look_at_daemon(now_ns);
    uint64_t h = of_this_daemon(key);
    entry *e = &table[h % ENTRIES];
    __atomic_store_n(&e->path, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&e->until_ns, now_ns + p4_depot.negative_ttl_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&e->path, h, __ATOMIC_RELEASE);
}

void p4_negative_remove(uint64_t key) {
    uint64_t h = of_this_daemon(key);
    entry *e = &table[h % ENTRIES];
    if (__atomic_load_n(&e->path, __ATOMIC_ACQUIRE) == h)
        __atomic_store_n(&e->until_ns, 0, __ATOMIC_RELAXED);
}
