/* What the parts of the preload library share.
 *
 * The library sits in p4d between its calls and the C library. The real call always comes first; only
 * when it says ENOENT for a path in the depot is the daemon asked, which restores the file if it was
 * evicted. Nothing is changed for programs without P4CACHE_DEPOT, or for paths outside the depot.
 */
#ifndef P4_SHIM_H
#define P4_SHIM_H
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define P4_API __attribute__((visibility("default")))
#define P4_LIKELY(x) __builtin_expect(!!(x), 1)
#define P4_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Longest path of the depot that is cached, bytes: the daemon's limit. Longer ones are always local. */
enum { P4_MAX_PATH = 4096, P4_MAX_CACHED = 1960 };

struct p4_desk;

/* ---- start.c: what is done when the program starts ---- */

/* What every process touches: beside the loader's own tables, in a page that is written anyway. */
#define P4_WARM __attribute__((section(".data")))

/* ---- depot.c: which paths are the depot's ---- */

/* The end of a name of the depot, with the slash after it: eight bytes, or all where there are fewer. */
struct p4_end {
    uint64_t bytes, mask;
    unsigned at;
};

/* p4_depot.active: P4_REPLICA where copies of archives go stale (fresh.c). */
enum { P4_INACTIVE, P4_ACTIVE, P4_REPLICA };

/* The depot as configured; set once, before any thread. What every open looks at is in one cache line. */
extern struct p4_depot {
    _Alignas(64) struct p4_end ends[2]; /* of `given` and of `real`; see quick.h */
    int page_part;                      /* a path that begins further on in its page is near the end */
    char active;
    char here;          /* whether relative names may be the depot's */
    char lists_evicted; /* P4CACHE_LIST */
    unsigned given_len, real_len;
    const char *given; /* as in P4CACHE_DEPOT, made lexically plain */
    const char *real;  /* without symbolic links; the same text if it is the same name */
    dev_t device;      /* of the depot's directory, to know it again */
    ino_t inode;
    int64_t timeout_ns, negative_ttl_ns;
    char shim_socket[108], access_socket[108]; /* sockaddr_un's limit; empty when longer */
} p4_depot;

/* Appends `path` to the absolute path in `out` (P4_MAX_PATH), resolving "." and ".."; -1 when it does not
 * fit. */
int p4_append_plain(char *out, size_t *length, const char *path);

/* The part of an absolute path after the depot, or NULL; the path is taken as it is. No system call. */
const char *p4_below_depot(const char *path);

/* Length of a name below a directory, if it is lexically plain and has no newline; 0 when it must be looked
 * at. */
unsigned p4_plain_length(const char *name);

/* The depot-relative path of `path`, made lexically plain (no "." ".." "//"), resolved against dirfd
 * or the working directory when relative. In desk->relative; its length, 0 when it is outside the depot,
 * in the state directory, or cannot be asked for. */
size_t p4_relative(struct p4_desk *desk, int dirfd, const char *path);

/* The same with symbolic links followed, as the kernel would: the name the daemon knows a file by.
 * Directories that are not there are taken as they are written, and so is the whole path where /proc is
 * not mounted. -1 when it cannot be told for want of descriptors or memory. Makes system calls. */
ssize_t p4_physical(struct p4_desk *desk, int dirfd, const char *path);

/* Whether the path is one of the depot's that may be evicted: a call that would make something there has
 * to ask first. Any address is allowed. Leaves errno alone. */
int p4_may_be_evicted(int dirfd, const char *path);

/* Whether the path is the depot's own directory. Makes system calls. */
int p4_is_depot(int dirfd, const char *path);

/* After chroot(2): the depot's name may mean something else now. */
void p4_look_for_depot(void);

/* Whether there is an entry at the path, be it a dangling link. Leaves errno alone. */
int p4_exists(int dirfd, const char *path);

/* Whether this is a path that can be read to its end: neither a bad pointer nor longer than a path may
 * be, which are the kernel's to refuse. Needed before reading a path that no call has succeeded on or
 * said ENOENT for yet. Leaves errno alone. */
int p4_is_readable(const char *path);

/* Whether the kernel could read the word at this address. */
int p4_is_mapped(const char *address);

/* p4d's own temporaries tmp.PID.TID.SEQ are never evicted: no need to ask for them. */
int p4_is_temporary(const char *relative);

/* ---- desk.c: room to work in ---- */

/* What a question needs: the callers' stacks may be tiny. A few are kept, with a connection each. */
struct p4_desk {
    char relative[P4_MAX_PATH], plain[P4_MAX_PATH], base[P4_MAX_PATH], dir[P4_MAX_PATH];
    char link[P4_MAX_PATH], target[P4_MAX_PATH], request[P4_MAX_PATH + 16], line[512];
    int connection; /* kept, or 0 */
    dev_t device;   /* what the connection was when it was made */
    ino_t inode;
    char taken;
};

/* Never waits; NULL without memory. Safe in signal handlers and after vfork. */
struct p4_desk *p4_take_desk(void);
void p4_leave_desk(struct p4_desk *desk);
/* Whether this is the process that the desks' connections belong to: not so in a child of vfork. */
int p4_owns_desks(void);
/* Whether the desk's connection still is the one that was made. */
int p4_is_connected(const struct p4_desk *desk);
/* At the start, and in a child: its descriptors are copies of its parent's, and talking on them would mix up
 * both. */
void p4_own_desks(void);

/* ---- client.c: asking the daemon ---- */

enum p4_answer {
    P4_THERE,     /* FETCH: in place now. UNLINK: deleted */
    P4_ABSENT,    /* nowhere */
    P4_LOCAL,     /* UNLINK: in place again; the caller's to delete */
    P4_READ_ONLY, /* UNLINK: a replica's files stay */
    P4_STALE,     /* REVALIDATE: nobody can say whether the copy is current, and old ones are not to be used */
    P4_REFUSED,   /* the daemon gave another answer, or does not know the word */
    P4_FAILED,    /* it gave none */
};

/* Asks "FETCH" or "UNLINK" for desk->relative and waits, at most the configured time, through restarts of
 * the daemon. */
enum p4_answer p4_ask(struct p4_desk *desk, const char *verb, size_t length);

/* The same, unless the daemon is not there now. */
enum p4_answer p4_ask_now(struct p4_desk *desk, const char *verb, size_t length);

/* Sends a request whose answer is read apart, or not at all: a connection with the question sent; -1 when the
 * daemon is not there, -2 when this process can never reach it. */
int p4_begin_asking(const char *request, size_t length, int64_t deadline_ns);
/* Reads what has come, at least a byte; 0 when the connection ended or the time is over. */
size_t p4_receive(int fd, char *out, size_t cap, int64_t deadline_ns);
int64_t p4_deadline_ns(void);
/* Waits before another attempt, longer each time; 0 when there is no time left. */
int p4_pause(int attempt, int64_t deadline_ns);

/* ---- idle.c: programs that wait ---- */

/* poll(2) for our own waits. */
int p4_poll(struct pollfd *fds, nfds_t count, int timeout);

/* ---- list.c: listings with evicted files ---- */

/* Around a fork: no other thread is in the middle of changing the list of listings. */
void p4_lock_listings(void);
void p4_unlock_listings(void);

/* ---- sandbox.c: processes that gave rights up ---- */

/* Whether a system call that the program does not make itself may end it (seccomp). Needs room to read
 * the process's status. */
int p4_is_confined(char *room, size_t cap);
/* The program may be about to confine itself: what is noted has been sent, nothing more is to be. */
extern int p4_quiet;

/* ---- negative.c: what the daemon said is absent ---- */

uint64_t p4_negative_key(const char *relative, size_t length);
int p4_negative_has(uint64_t key);
void p4_negative_add(uint64_t key);
void p4_negative_remove(uint64_t key);

/* ---- fresh.c: copies that may be old ---- */

/* Looks whether this is a replica: at start, and after a file was restored. Leaves errno alone. */
void p4_look_for_table(void);

/* On a replica, of a file that was opened: 0 when it is current, as far as anybody can say; 1 when a newer
 * version is at its path, to be opened instead; -1 with errno EIO when it is not to be used. */
int p4_went_stale(int fd, int dirfd, const char *path);

/* open.c: from now on every open is looked at. */
void p4_look_at_opens(void);

/* ---- access_log.c: what was opened ---- */

/* What was opened and is not yet sent, newline after newline. */
enum { P4_LOG_BYTES = 32768, P4_LAST_BYTES = 256 };
extern struct p4_log {
    _Alignas(64) char locked;
    unsigned noted, dropped, used, again;
    int64_t oldest_ns, tried_ns;
    unsigned last_size;       /* of `last`; 0 when the next name is to be noted whatever it is */
    char last[P4_LAST_BYTES]; /* the path noted last, as it was given, and its end */
} p4_log;

/* Notes an opened file if it is the depot's, and returns its descriptor. Names relative to another directory
 * descriptor are not noted: to know where they are would take a system call at every open. */
int p4_note_access(int fd, int dirfd, const char *path);
/* In a child: its parent sends what it noted. */
void p4_forget_accesses(void);
/* Sends what was noted; the last waits a moment for a daemon that is behind. */
void p4_send_accesses(void);
void p4_flush_accesses(void);
/* How long what was noted may still wait to be sent, ns. */
int64_t p4_keeps_accesses_for(void);

/* ---- recover.c: what to do after ENOENT ---- */

/* Called after a real call said ENOENT for the path, the `tries`-th time after a recovery. Returns 1 when
 * the file is there now and the call is to be made again; else 0 with errno ENOENT (absent) or EIO (nobody
 * can say). */
int p4_recover(int dirfd, const char *path, int tries);

/* The same for a path that the call is about to create: 1 when a file is there now, 0 when there is
 * none anywhere, -1 with errno EIO. */
int p4_recover_before_create(int dirfd, const char *path, int tries);

/* 1 when nothing has this name, neither here nor evicted; else 0 with errno EEXIST or EIO. */
int p4_is_free(int dirfd, const char *path);

/* The path's own name was not there to be removed: 0 when the daemon removed the evicted file, 1 when the
 * call is to be made again, -1 with errno ENOENT, EIO or EROFS. */
int p4_unlink_evicted(int dirfd, const char *path, int tries);

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

/* Where to read whether a function's system call may be made in its place: the next definition of it after
 * ours must be the C library's own. P4_ALONE, for cancellation points: and there must be one thread, which
 * nobody can cancel. The byte may change while the program runs. */
enum p4_when { P4_ALONE, P4_ALWAYS };
const char *p4_goes_direct(const char *name, enum p4_when when);
/* Where a function reads before it asked for that: no. */
extern const char p4_unknown;
/* Where to read whether there is one thread; no before a function asked with P4_ALONE. */
extern const char *p4_alone;

#define P4_REAL(name, type)                                                                        \
    ((type)({                                                                                      \
        static void *slot_;                                                                        \
        void *f_ = __atomic_load_n(&slot_, __ATOMIC_RELAXED);                                      \
        f_ ? f_ : p4_real(&slot_, name);                                                           \
    }))

int64_t p4_now_ns(void);
#endif
