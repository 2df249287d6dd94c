/* fresh: on a replica the daemon's copies of archives go stale, since the primary's p4d writes those anew.
 * The daemon keeps a table of the files that it knows to be current (src/cluster/freshness.ts), which is
 * mapped here: the open of such a file asks nobody. For any other archive the daemon is asked, which looks
 * at the storage and puts a newer version in the copy's place.
 *
 * Without a daemon, or an answer, the copy that is here is good enough.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "quick.h"
#include "shim.h"

enum { MAGIC = 0x52463450, ENTRIES = 65536 };

/* How far the coarse clock may be behind the daemon's: a tick (clock_gettime(2)), generously. */
enum { LAG_MS = 100 };

static const struct table {
    uint32_t magic, period_ms, generation, unused;
    uint64_t followed_until_ms;
    _Alignas(64) struct entry {
        uint64_t tag, word; /* hash of the path; until when, ms << 16 | generation */
    } entries[ENTRIES];
} *table;

void p4_look_for_table(void) {
    static const char name[] = "/.p4cache/fresh";
    char path[108]; /* as long as that of the daemon's socket may be */
    size_t length = p4_depot.given_len;
    if (p4_depot.active != P4_ACTIVE || length + sizeof name > sizeof path) return;
    memcpy(path, p4_depot.given, length);
    memcpy(path + length, name, sizeof name);
    int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, saved = errno;
    long fd = p4_kernel(SYS_openat, AT_FDCWD, (long)path, flags, 0);
    if (fd < 0) return;
    struct stat st;
    if (!p4_kernel(SYS_fstat, fd, (long)&st, 0, 0) && S_ISREG(st.st_mode) && st.st_size >= (off_t)sizeof *table) {
        const struct table *found = mmap(NULL, sizeof *table, PROT_READ, MAP_SHARED, (int)fd, 0);
        if (found != MAP_FAILED && found->magic == MAGIC) {
            __atomic_store_n(&table, found, __ATOMIC_RELEASE);
            __atomic_store_n(&p4_depot.active, P4_REPLICA, __ATOMIC_SEQ_CST);
            p4_look_at_opens();
        } else if (found != MAP_FAILED) {
            munmap((void *)found, sizeof *table);
        }
    }
    p4_kernel(SYS_close, fd, 0, 0, 0);
    errno = saved;
}

static int is_fresh(const char *relative, size_t length) {
    if (!table->period_ms) return 0; /* however far behind the clock here is */
    uint64_t tag = p4_negative_key(relative, length);
    if (!tag) tag = 1;
    const struct entry *e = &table->entries[tag % ENTRIES];
    /* The same tag before and after: the word between them is its own. */
    if (__atomic_load_n(&e->tag, __ATOMIC_ACQUIRE) != tag) return 0;
    uint64_t word = __atomic_load_n(&e->word, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&e->tag, __ATOMIC_ACQUIRE) != tag) return 0;
    int64_t until_ms = (int64_t)(word >> 16);
    int64_t followed_ms = (int64_t)__atomic_load_n(&table->followed_until_ms, __ATOMIC_RELAXED);
    uint32_t generation = __atomic_load_n(&table->generation, __ATOMIC_RELAXED);
    uint32_t own = word & 0xffff;
    if (own && own != generation) return 0;
    if (own && followed_ms > until_ms) until_ms = followed_ms;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    int64_t left_ms = until_ms - ((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    /* More than a period: the clock was set back. */
    return left_ms > 0 && left_ms <= (int64_t)table->period_ms + LAG_MS;
}

/* Asks, unless the file is known to be current under its own name. */
static enum p4_answer ask(struct p4_desk *desk, int dirfd, const char *path) {
    size_t length = p4_relative(desk, dirfd, path);
    if (!length || is_fresh(desk->relative, length)) return P4_FAILED;
    ssize_t known = p4_physical(desk, dirfd, path);
    return known > 0 ? p4_ask_now(desk, "REVALIDATE", (size_t)known) : P4_FAILED;
}

int p4_went_stale(int fd, int dirfd, const char *path) {
    size_t length = strlen(path);
    if (length < 3 || path[length - 1] != 'v' || path[length - 2] != ',') return 0;
    if (table->magic != MAGIC) return 0; /* a primary by now */
    unsigned part = *path == '/' ? p4_depot_part(path) : 0, rest = part ? p4_plain_length(path + part) : 0;
    if (rest && is_fresh(path + part, rest)) return 0;
    if (*path == '/' && !part && !strstr(path, "/.") && !strstr(path, "//")) return 0;
    struct p4_desk *desk = p4_take_desk();
    if (!desk) return 0;
    int saved = errno;
    enum p4_answer answer = ask(desk, dirfd, path);
    p4_leave_desk(desk);
    errno = answer == P4_STALE ? EIO : saved;
    if (answer == P4_STALE) return -1;
    return answer != P4_FAILED && p4_was_replaced(fd, dirfd, path);
}
