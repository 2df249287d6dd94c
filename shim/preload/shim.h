/* What the parts of the preload library share.
 *
 * The library sits in p4d between its calls and the C library. The real call always comes first; only
 * when it says ENOENT for a path in the depot is the daemon asked, which restores the file if it was
 * evicted. Nothing is changed for programs without P4CACHE_DEPOT, or for paths outside the depot.
 */
#ifndef P4_SHIM_H
#define P4_SHIM_H
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define P4_API __attribute__((visibility("default")))
#define P4_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Longest path of the depot that is cached, bytes: the daemon's limit. Longer ones are always local. */
enum { P4_MAX_PATH = 4096, P4_MAX_CACHED = 1960 };

/* ---- depot.c: which paths are the depot's ---- */

/* The depot as configured; set once, before any thread. */
extern struct p4_depot {
    int active;
    int two_names; /* whether the next two differ */
    char given[P4_MAX_PATH]; /* as in P4CACHE_DEPOT, made lexically plain */
    size_t given_len;
    char real[P4_MAX_PATH]; /* without symbolic links */
    size_t real_len;
    char shim_socket[108], access_socket[108]; /* sockaddr_un's limit; empty when longer */
    int64_t timeout_ns, negative_ttl_ns;
} p4_depot;

/* The part of an absolute path after the depot, or NULL; the path is taken as it is. No system call. */
const char *p4_below_depot(const char *path);

/* The depot-relative path of `path`, made lexically plain (no "." ".." "//"), resolved against dirfd
 * or the working directory when relative. Its length in `out`, 0 when it is outside the depot, in the
 * state directory, or cannot be asked for. */
size_t p4_relative(int dirfd, const char *path, char out[P4_MAX_PATH]);

/* The same with symbolic links followed, as the kernel would: the name the daemon knows a file by.
 * Directories that are not there are taken as they are written, and so is the whole path where /proc is
 * not mounted. -1 when it cannot be told for want of descriptors or memory. Makes system calls. */
ssize_t p4_physical(int dirfd, const char *path, char out[P4_MAX_PATH]);

/* Whether there is an entry at the path, be it a dangling link. Leaves errno alone. */
int p4_exists(int dirfd, const char *path);

/* Whether this is a path that can be read to its end: neither a bad pointer nor longer than a path may
 * be, which are the kernel's to refuse. Needed before reading a path that no call has succeeded on or
 * said ENOENT for yet. Leaves errno alone. */
int p4_is_readable(const char *path);

/* p4d's own temporaries tmp.PID.TID.SEQ are never evicted: no need to ask for them. */
int p4_is_temporary(const char *relative);

/* ---- client.c: asking the daemon ---- */

enum p4_answer { P4_THERE, P4_ABSENT, P4_FAILED };

/* Asks for the file and waits, at most the configured time, through restarts of the daemon. */
enum p4_answer p4_ask(const char *relative, size_t length);

/* ---- negative.c: what the daemon said is absent ---- */

int p4_negative_has(const char *relative, size_t length);
void p4_negative_add(const char *relative, size_t length);
void p4_negative_remove(const char *relative, size_t length);

/* ---- access_log.c: what was opened ---- */

/* Notes an opened file if it is the depot's; cheap. Names relative to a directory descriptor are not
 * noted: to know where they are would take a system call at every open. */
void p4_note_access(int dirfd, const char *path);
/* Sends what was noted. */
void p4_flush_accesses(void);

/* ---- recover.c: what to do after ENOENT ---- */

/* Called after a real call said ENOENT for the path, the `tries`-th time after a recovery. Returns 1 when
 * the file is there now and the call is to be made again; else 0 with errno ENOENT (absent) or EIO (nobody
 * can say). */
int p4_recover(int dirfd, const char *path, int tries);

/* The same for a path that the call is about to create: 1 when a file is there now, 0 when there is
 * none anywhere, -1 with errno EIO. */
int p4_recover_before_create(int dirfd, const char *path, int tries);

/* A file was made at the path: it is absent no more. Leaves errno alone. */
void p4_now_there(int dirfd, const char *path);

/* A file was opened for writing: 1 when the descriptor no longer is the file at its path (it was
 * evicted in that very moment) and the open must be made again. */
int p4_was_replaced(int fd, int dirfd, const char *path);

/* How often a call is made again at most: each time the file was evicted once more in between. */
enum { P4_TRIES = 32 };

/* Makes a call that returns `failed` and ENOENT for an evicted file, with recovery. As with the kernel,
 * a call that succeeds in the end leaves errno alone. */
#define P4_RECOVERING(type, failed, dirfd, path, call)                                             \
    do {                                                                                           \
        int before_ = errno;                                                                       \
        type result_ = (call);                                                                     \
        if (P4_UNLIKELY(result_ == (failed)) && errno == ENOENT && p4_depot.active) {              \
            for (int tries_ = 0; p4_recover(dirfd, path, tries_); tries_++) {                      \
                result_ = (call);                                                                  \
                if (result_ != (failed)) errno = before_;                                          \
                if (result_ != (failed) || errno != ENOENT) break;                                 \
            }                                                                                      \
        }                                                                                          \
        return result_;                                                                            \
    } while (0)

/* ---- real.c: the C library's own functions ---- */

/* The next definition of a symbol after ours; looked up once. Ends the program when there is none:
 * the symbol was called, so the C library has it. */
void *p4_real(void **slot, const char *name);

#define P4_REAL(name, type)                                                                        \
    ((type)({                                                                                      \
        static void *slot_;                                                                        \
        void *f_ = __atomic_load_n(&slot_, __ATOMIC_RELAXED);                                      \
        f_ ? f_ : p4_real(&slot_, name);                                                           \
    }))

int64_t p4_now_ns(void);
#endif
