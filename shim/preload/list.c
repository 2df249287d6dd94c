/* list: with P4CACHE_LIST=1, directories of the depot are listed with their evicted files.
 *
 * The daemon tells what the storage holds in a directory when it is opened (LIST); what the kernel lists
 * too is left out, and the rest is returned after the kernel's entries. Without the variable nothing is
 * done here but one branch. Functions of the C library that read directories inside (glob, nftw, fts)
 * see what is local; scandir is made anew.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim.h"

/* One stream with more names than the kernel knows. */
struct listing {
    struct listing *next;
    DIR *dir;
    char **names; /* sorted; each after its type, 'd' or 'f'; a capital when the kernel listed it too */
    size_t count, at;
    int at_end; /* of the kernel's entries */
    struct dirent64 entry;
};

static struct listing *listings;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void p4_lock_listings(void) { pthread_mutex_lock(&lock); }
void p4_unlock_listings(void) { pthread_mutex_unlock(&lock); }

/* The position before an added name: negative, as none is that the kernel gives. */
static long position_of(size_t at) { return -1 - (long)at; }

static int lists(void) { return P4_UNLIKELY(p4_depot.lists_evicted) && p4_depot.active; }

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a + 1, *(char *const *)b + 1);
}

static void free_names(struct listing *l) {
    for (size_t i = 0; i < l->count; i++) free(l->names[i]);
    free(l->names);
    l->names = NULL;
    l->count = 0;
}

/* Takes one line of the answer: 0 to go on, 1 at the end, -errno. */
static int take(struct listing *l, size_t *cap, const char *line, size_t length) {
    if (length == 3 && !memcmp(line, "END", 3)) return 1;
    /* An older daemon does not know the word: as if nothing was evicted. */
    if (length >= 21 && !memcmp(line, "ERROR unknown request", 21)) return 1;
    if (length < 3 || length > 257 || line[1] != ' ' || (*line != 'd' && *line != 'f')) return -EIO;
    if (l->count == *cap) {
        *cap = *cap ? 2 * *cap : 64;
        char **grown = realloc(l->names, *cap * sizeof *grown);
        if (!grown) return -ENOMEM;
        l->names = grown;
    }
    char *name = malloc(length);
    if (!name) return -ENOMEM;
    name[0] = *line;
    memcpy(name + 1, line + 2, length - 2);
    name[length - 1] = 0;
    l->names[l->count++] = name;
    return 0;
}

/* Reads one answer: 1 when it was whole, 0 when it broke off, -errno. */
static int read_answer(struct listing *l, struct p4_desk *desk, int fd, int64_t deadline_ns) {
    size_t have = 0, cap = 0;
    for (;;) {
        size_t n = p4_receive(fd, desk->plain + have, P4_MAX_PATH - have, deadline_ns);
        if (!n) return 0;
        have += n;
        char *begin = desk->plain, *end;
        while ((end = memchr(begin, '\n', have - (size_t)(begin - desk->plain)))) {
            int rc = take(l, &cap, begin, (size_t)(end - begin));
            if (rc) return rc;
            begin = end + 1;
        }
        have -= (size_t)(begin - desk->plain);
        memmove(desk->plain, begin, have);
        if (have == P4_MAX_PATH) return -EIO;
    }
}

/* Asks for the directory desk->relative ("." is the depot): 0, or -errno. */
static int ask(struct listing *l, struct p4_desk *desk) {
    int64_t deadline_ns = p4_deadline_ns();
    size_t length = 5 + strlen(desk->relative) + 1;
    memcpy(desk->request, "LIST ", 5);
    memcpy(desk->request + 5, desk->relative, length - 6);
    desk->request[length - 1] = '\n';
    for (int attempt = 0;; attempt++) {
        int fd = p4_begin_asking(desk->request, length, deadline_ns);
        if (fd == -2) return -EIO;
        int rc = fd < 0 ? 0 : read_answer(l, desk, fd, deadline_ns);
        if (fd >= 0) close(fd);
        if (rc > 0 && l->count) qsort(l->names, l->count, sizeof *l->names, by_name);
        if (rc > 0) return 0;
        free_names(l);
        if (rc < 0) return rc;
        if (!p4_pause(attempt, deadline_ns)) return -EIO;
    }
}

/* The listing of a directory of the depot in `l`; 0 with none outside, or -errno. */
static int look(struct listing *l, int dirfd, const char *path) {
    struct p4_desk *desk = p4_take_desk();
    if (!desk) return -ENOMEM;
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    ssize_t length = p4_physical(desk, dirfd, path);
    if (length == 0 && p4_is_depot(dirfd, path)) {
        strcpy(desk->relative, ".");
        length = 1;
    }
    int rc = length < 0 ? -EIO : length ? ask(l, desk) : 0;
    p4_leave_desk(desk);
    pthread_setcancelstate(before, &before);
    return rc;
}

/* Puts the listing with the stream; fails the stream when the evicted files cannot be known. */
static DIR *with_listing(DIR *dir, int error, struct listing *found) {
    if (!dir || error) {
        int saved = dir ? -error : errno;
        free_names(found);
        if (dir) P4_REAL("closedir", int (*)(DIR *))(dir);
        errno = saved;
        return NULL;
    }
    struct listing *l = found->count ? malloc(sizeof *l) : NULL;
    if (!l) return dir;
    *l = *found;
    l->dir = dir;
    p4_lock_listings();
    l->next = listings;
    listings = l;
    p4_unlock_listings();
    return dir;
}

/* The stream's listing, or NULL; taken out of the list when `out`. */
static struct listing *listing_of(DIR *dir, int out) {
    p4_lock_listings();
    struct listing **at = &listings;
    while (*at && (*at)->dir != dir) at = &(*at)->next;
    struct listing *l = *at;
    if (l && out) *at = l->next;
    p4_unlock_listings();
    return l;
}

P4_API DIR *opendir(const char *path) {
    typedef DIR *(*call)(const char *);
    if (!lists() || !p4_is_readable(path)) return P4_REAL("opendir", call)(path);
    struct listing found = {0};
    int before = errno, error = look(&found, AT_FDCWD, path);
    errno = before;
    /* After the question: the daemon made the directory if only the storage had it. */
    return with_listing(P4_REAL("opendir", call)(path), error, &found);
}

P4_API DIR *fdopendir(int fd) {
    typedef DIR *(*call)(int);
    if (!lists()) return P4_REAL("fdopendir", call)(fd);
    struct listing found = {0};
    int before = errno, error = look(&found, fd, "./");
    errno = before;
    if (error) { /* the descriptor stays the caller's */
        free_names(&found);
        errno = -error;
        return NULL;
    }
    return with_listing(P4_REAL("fdopendir", call)(fd), 0, &found);
}

/* Notes that the kernel lists this name, too. */
static void listed_by_kernel(struct listing *l, const char *name) {
    size_t low = 0, high = l->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(l->names[middle] + 1, name);
        if (!order) l->names[middle][0] &= ~0x20;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
}

/* The next name that only the storage has. */
static struct dirent64 *next_added(struct listing *l) {
    for (; l->at < l->count; l->at++) {
        const char *name = l->names[l->at];
        if (*name == 'D' || *name == 'F') continue;
        if (l->at && !strcmp(name + 1, l->names[l->at - 1] + 1)) continue;
        struct dirent64 *e = &l->entry;
        e->d_ino = p4_negative_key(name + 1, strlen(name + 1)) | 1;
        e->d_off = position_of(l->at + 1);
        e->d_reclen = sizeof *e;
        e->d_type = *name == 'd' ? DT_DIR : DT_REG;
        strcpy(e->d_name, name + 1);
        l->at++;
        return e;
    }
    return NULL;
}

P4_API struct dirent64 *readdir64(DIR *dir) {
    typedef struct dirent64 *(*call)(DIR *);
    struct listing *l = lists() ? listing_of(dir, 0) : NULL;
    if (!l) return P4_REAL("readdir64", call)(dir);
    if (!l->at_end) {
        int before = errno;
        errno = 0;
        struct dirent64 *entry = P4_REAL("readdir64", call)(dir);
        if (entry) listed_by_kernel(l, entry->d_name);
        if (entry || errno) {
            if (entry) errno = before;
            return entry;
        }
        errno = before;
        l->at_end = 1;
    }
    return next_added(l);
}
P4_API struct dirent *readdir(DIR *dir) { return (struct dirent *)readdir64(dir); }

P4_API int closedir(DIR *dir) {
    struct listing *l = lists() ? listing_of(dir, 1) : NULL;
    if (l) free_names(l);
    free(l);
    return P4_REAL("closedir", int (*)(DIR *))(dir);
}

static void go_to(struct listing *l, size_t at, int at_end) {
    l->at = at;
    l->at_end = at_end;
}

P4_API void rewinddir(DIR *dir) {
    struct listing *l = lists() ? listing_of(dir, 0) : NULL;
    if (l) go_to(l, 0, 0);
    P4_REAL("rewinddir", void (*)(DIR *))(dir);
}
P4_API long telldir(DIR *dir) {
    struct listing *l = lists() ? listing_of(dir, 0) : NULL;
    return l && l->at_end ? position_of(l->at) : P4_REAL("telldir", long (*)(DIR *))(dir);
}
P4_API void seekdir(DIR *dir, long position) {
    struct listing *l = lists() ? listing_of(dir, 0) : NULL;
    if (l && position < 0) return go_to(l, (size_t)(-1 - position), 1);
    if (l) go_to(l, 0, 0);
    P4_REAL("seekdir", void (*)(DIR *, long))(dir, position);
}
