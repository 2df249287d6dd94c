/* worker: does random operations on files of a depot and the same ones on a plain directory, and compares.
 *
 *   worker SEED NAME DEPOT PLAIN LOCKS [keep] [patient]
 *                                           reads counts of operations, one a line; answers "done" to each;
 *                                           with "keep" no name goes away: a delete while the daemon is
 *                                           down leaves the object, and is undone by the next open;
 *                                           with "patient" a call may also say that it cannot tell (EIO),
 *                                           as while the storage is away, and is made again
 *   worker verify DEPOT PLAIN [patient]     compares everything: bytes, mode, mtime, and what is absent
 *
 * Each worker has a directory NAME of its own; `shared` is everybody's, a lock outside the depot lets one
 * operation at a time work on one of its files. The plain directory is what counts: each operation must
 * end as it does there. With a preload library in the environment it is a program as p4d is; without,
 * it asks the daemon for files that are evicted, as a script would. Prints what differs and ends with 1.
 * One file because it is compiled by itself, where it is used.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { DIRS = 6, FILES = 8, LARGEST = 3 << 20, PATIENCE = 180 };
typedef struct { char rel[128], depot[PATH_MAX], plain[PATH_MAX]; } name;

static const char *depot, *plain, *locks, *me, *doing = "nothing";
static uint64_t state;
static int shimmed, keep, patient, sequence;
static unsigned char *bytes, *others;

/* What was done lately, for the report of a difference. */
enum { REMEMBERED = 2048 };
static struct { char rel[128]; const char *what; struct timespec at; unsigned detail; } history[REMEMBERED];
static unsigned done;

static void remember(const char *rel, unsigned detail) {
    unsigned i = done++ % REMEMBERED;
    snprintf(history[i].rel, sizeof history[i].rel, "%s", rel);
    history[i].what = doing, history[i].detail = detail;
    clock_gettime(CLOCK_REALTIME, &history[i].at);
}

static void print_history(const char *rel) {
    for (unsigned i = done > REMEMBERED ? done - REMEMBERED : 0; i < done; i++) {
        char clock[16];
        struct timespec at = history[i % REMEMBERED].at;
        /* Of the file, or of its directory. */
        size_t length = strlen(history[i % REMEMBERED].rel);
        if (strncmp(history[i % REMEMBERED].rel, rel, length) || (rel[length] && rel[length] != '/')) continue;
        strftime(clock, sizeof clock, "%T", gmtime(&at.tv_sec));
        printf("  %s.%06ld %s %o\n", clock, at.tv_nsec / 1000, history[i % REMEMBERED].what,
               history[i % REMEMBERED].detail);
    }
}

static uint32_t below(uint32_t n) { /* splitmix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (uint32_t)((z ^ z >> 31) >> 32) % n;
}

__attribute__((format(printf, 2, 3), noreturn)) static void differs(const char *rel, const char *format, ...) {
    int error = errno;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    printf("%s%s: %s %s: %s (errno %s)\n", me, shimmed ? " (shim)" : "", doing, rel, text,
           strerrorname_np(error));
    print_history(rel);
    fflush(stdout);
    _exit(1);
}

static void name_it(name *n, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(n->rel, sizeof n->rel, format, args);
    va_end(args);
    snprintf(n->depot, PATH_MAX, "%s/%s", depot, n->rel);
    snprintf(n->plain, PATH_MAX, "%s/%s", plain, n->rel);
}

/* Asks the daemon, waiting while it is down. Whether it found the file. */
static int fetched(const char *rel) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char line[256], answer[512];
    snprintf(to.sun_path, sizeof to.sun_path, "%s/.p4cache/shim.sock", depot);
    int length = snprintf(line, sizeof line, "FETCH %s\n", rel);
    for (time_t end = time(NULL) + PATIENCE; time(NULL) < end; usleep(5000)) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ssize_t n = -1;
        if (!connect(fd, (struct sockaddr *)&to, sizeof to) && send(fd, line, length, MSG_NOSIGNAL) == length)
            n = recv(fd, answer, sizeof answer - 1, 0);
        close(fd);
        if (n <= 0) continue;
        answer[n] = 0;
        if (!strncmp(answer, "OK", 2)) return 1;
        if (!strncmp(answer, "NOTFOUND", 8)) return 0;
        if (patient && !strncmp(answer, "ERROR", 5)) continue;
        differs(rel, "the daemon says %s", answer);
    }
    differs(rel, "the daemon does not answer");
}

static int is_there(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

/* The call again while it says "no such file" of one that the daemon can bring; `asks`: though shimmed. */
#define BRINGING(result, n, asks, call)                                                                  \
    do {                                                                                                 \
        time_t end = time(NULL) + PATIENCE;                                                              \
        for (int tries = 0, found = 1; found && tries < 50; tries++) {                                   \
            while ((result = (call)) < 0 && errno == EIO && patient && time(NULL) < end) usleep(5000);   \
            if (result >= 0 || errno != ENOENT || (shimmed && !(asks))) break;                           \
            found = fetched((n)->rel);                                                                   \
            errno = ENOENT;                                                                              \
        }                                                                                                \
    } while (0)

static int open_depot(const name *n, int flags, int mode) {
    int fd;
    remember(n->rel, (unsigned)flags);
    /* Without the library a creating open would put an empty file in an evicted one's place. */
    if (!shimmed && flags & O_CREAT && !(flags & (O_TRUNC | O_EXCL))) {
        BRINGING(fd, n, 0, open(n->depot, flags & ~O_CREAT));
        if (fd >= 0 || errno != ENOENT) return fd;
    }
    BRINGING(fd, n, 0, open(n->depot, flags, mode));
    return fd;
}

static void write_all(int fd, const name *n, const unsigned char *data, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t w = write(fd, data + done, size - done);
        if (w <= 0) differs(n->rel, "write");
        done += (size_t)w;
    }
}

static size_t content(void) {
    uint32_t kind = below(100);
    size_t size = kind < 4 ? 0 : kind < 90 ? 1 + below(16384) : kind < 99 ? below(200000) : 1200000 + below(400000);
    uint64_t word = (uint64_t)below(UINT32_MAX) << 32 | below(UINT32_MAX);
    for (size_t i = 0; i < size; i += 8, word = word * 6364136223846793005 + 1442695040888963407)
        memcpy(bytes + i, &word, 8);
    return size;
}

/* The plain file takes the depot file's time: what a restore must bring back. */
static void take_time(const name *n, const struct stat *st) {
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, st->st_mtim};
    if (utimensat(AT_FDCWD, n->plain, times, 0)) differs(n->rel, "utimensat of the plain file");
}

static void take_time_of_path(const name *n) {
    struct stat st;
    int rc;
    BRINGING(rc, n, 0, stat(n->depot, &st));
    if (rc) differs(n->rel, "stat");
    take_time(n, &st);
}

static ssize_t read_all(int fd, unsigned char *out) {
    size_t size = 0;
    for (ssize_t r; (r = read(fd, out + size, LARGEST - size)) != 0; size += (size_t)r)
        if (r < 0) return -1;
    return (ssize_t)size;
}

static void compare(const name *n, int with_time) {
    struct stat a, b;
    int theirs = open(n->plain, O_RDONLY), error = errno;
    int ours = open_depot(n, O_RDONLY, 0);
    if (theirs < 0) {
        if (ours >= 0) differs(n->rel, "is there, and should not be");
        if (errno != error) differs(n->rel, "expected errno %s", strerrorname_np(error));
        return;
    }
    if (ours < 0) differs(n->rel, "is not there");
    ssize_t want = read_all(theirs, others), have = read_all(ours, bytes);
    if (fstat(theirs, &a) || fstat(ours, &b)) differs(n->rel, "fstat");
    if (have != want) differs(n->rel, "%zd bytes, not %zd", have, want);
    for (ssize_t i = 0; i < have; i++)
        if (bytes[i] != others[i]) differs(n->rel, "other bytes at %zd of %zd", i, have);
    if (a.st_mode != b.st_mode) differs(n->rel, "mode %o, not %o", b.st_mode, a.st_mode);
    if (with_time && (a.st_mtim.tv_sec != b.st_mtim.tv_sec || a.st_mtim.tv_nsec != b.st_mtim.tv_nsec))
        differs(n->rel, "mtime %ld.%09ld, not %ld.%09ld", b.st_mtim.tv_sec, b.st_mtim.tv_nsec,
                a.st_mtim.tv_sec, a.st_mtim.tv_nsec);
    close(theirs);
    close(ours);
}

/* Opens both, or neither. Whether both are open. */
static int open_both(const name *n, int flags, int fds[2]) {
    fds[1] = open(n->plain, flags, 0644);
    int error = errno;
    fds[0] = open_depot(n, flags, 0644);
    if (fds[1] < 0 && fds[0] < 0 && errno == error) return 0;
    if (fds[0] < 0 || fds[1] < 0) differs(n->rel, "open: %d, plain %d (%s)", fds[0], fds[1], strerrorname_np(error));
    return 1;
}

static void close_both(const name *n, const int fds[2]) {
    struct stat st;
    if (fstat(fds[0], &st)) differs(n->rel, "fstat");
    close(fds[1]);
    take_time(n, &st);
    if (close(fds[0])) differs(n->rel, "close");
}

static void write_file(const name *n, int flags) {
    int fds[2];
    size_t size = content();
    /* Only the library knows that an evicted file is in the way. */
    if (flags & O_EXCL && !shimmed && is_there(n->plain)) return;
    if (!open_both(n, O_WRONLY | flags, fds)) return;
    /* A truncating open that creates does not ask for an evicted file, so it does not find its mode. */
    for (int i = 0; i < 2 && flags & O_TRUNC; i++) fchmod(fds[i], 0644);
    if (flags & O_APPEND && lseek(fds[1], 0, SEEK_END) > LARGEST / 2) size = 0;
    for (int i = 0; i < 2; i++) write_all(fds[i], n, bytes, size);
    close_both(n, fds);
}

static void rewrite(const name *n, int mapped) {
    int fds[2];
    struct stat st;
    if (!open_both(n, O_RDWR, fds)) return;
    if (fstat(fds[1], &st)) differs(n->rel, "fstat");
    size_t size = (size_t)st.st_size, at = size ? below((uint32_t)size) : 0;
    size_t length = size ? 1 + below((uint32_t)(size - at)) : 0;
    memset(bytes, (int)below(256), length);
    if (!mapped || !size) {
        for (int i = 0; i < 2; i++)
            if (pwrite(fds[i], bytes, length, (off_t)at) != (ssize_t)length) differs(n->rel, "pwrite");
        return close_both(n, fds);
    }
    /* Stored through a mapping that is still there when the file is closed. */
    for (int i = 0; i < 2; i++) {
        unsigned char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], 0);
        if (map == MAP_FAILED) differs(n->rel, "mmap");
        close(fds[i]);
        if (below(4) == 0) usleep(below(30000));
        memcpy(map + at, bytes, length);
        if (msync(map, size, MS_SYNC) || munmap(map, size)) differs(n->rel, "msync");
    }
    take_time_of_path(n);
}

static void replace(const name *n) {
    name temp;
    const char *slash = strrchr(n->rel, '/');
    name_it(&temp, "%.*s/tmp.%d.%d.%d", (int)(slash - n->rel), n->rel, getpid(), getpid(), sequence++);
    write_file(&temp, O_CREAT | O_EXCL);
    if (below(8) == 0) usleep(below(50000));
    int rc;
    remember(n->rel, 0);
    BRINGING(rc, &temp, 0, rename(temp.depot, n->depot));
    if (rc || rename(temp.plain, n->plain)) differs(n->rel, "rename %s", temp.rel);
}

/* A call on one path, or two, must end as it does on the plain side. */
#define BOTH(n, asks, ours, theirs)                                                                      \
    ({                                                                                                   \
        int rc, want, error;                                                                             \
        want = (theirs);                                                                                 \
        error = errno;                                                                                   \
        remember((n)->rel, (unsigned)want);                                                              \
        BRINGING(rc, n, asks, ours);                                                                     \
        if (rc != want || (rc && errno != error))                                                        \
            differs((n)->rel, "%d, plain %d (%s)", rc, want, strerrorname_np(error));                    \
        rc;                                                                                              \
    })

static void change_attributes(const name *n) {
    static const mode_t modes[] = {0444, 0644, 0600, 0755};
    mode_t mode = modes[below(4)];
    remember(n->rel, mode);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {.tv_sec = 1000000000 + below(600000000), .tv_nsec = below(1000000000)}};
    if (below(2)) BOTH(n, 0, chmod(n->depot, mode), chmod(n->plain, mode));
    else BOTH(n, 0, utimensat(AT_FDCWD, n->depot, times, 0), utimensat(AT_FDCWD, n->plain, times, 0));
}

static void cut(const name *n) {
    struct stat st;
    off_t size = stat(n->plain, &st) ? 0 : below((uint32_t)(st.st_size + 1000));
    if (!BOTH(n, 0, truncate(n->depot, size), truncate(n->plain, size))) take_time_of_path(n);
}

static void pick(name *n) { name_it(n, "%s/d%u/f%u", me, below(DIRS), below(FILES)); }

static void make_parent(const name *n) {
    char path[PATH_MAX];
    for (int i = 0; i < 2; i++) {
        strcpy(path, i ? n->plain : n->depot);
        *strrchr(path, '/') = 0;
        if (mkdir(path, 0755) && errno != EEXIST) differs(n->rel, "mkdir");
    }
}

static void rename_dir(void) {
    name from, to;
    name_it(&from, "%s/d%u", me, below(DIRS));
    name_it(&to, "%s/d%u", me, below(DIRS));
    if (!is_there(from.plain) || is_there(to.plain)) return;
    remember(from.rel, 0), remember(to.rel, 0);
    if (rename(from.depot, to.depot) || rename(from.plain, to.plain)) differs(from.rel, "rename to %s", to.rel);
}

static void second_name(const name *n, const name *other, int is_link) {
    make_parent(other);
    /* link(2) does not see that an evicted file has the new name; rename(2) need not. */
    if (is_link && is_there(other->plain)) return;
    remember(other->rel, 0);
    if (is_link) BOTH(n, 0, link(n->depot, other->depot), link(n->plain, other->plain));
    else BOTH(n, 0, rename(n->depot, other->depot), rename(n->plain, other->plain));
}

static void one_operation(void) {
    name n, other;
    int lock = -1, is_shared = below(4) == 0;
    if (is_shared) {
        char path[PATH_MAX];
        unsigned which = below(FILES * 2);
        name_it(&n, "shared/f%u", which);
        snprintf(path, sizeof path, "%s/f%u", locks, which);
        lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (flock(lock, LOCK_EX)) differs(n.rel, "flock");
    } else {
        pick(&n);
    }
    pick(&other);
    uint32_t kind = below(100);
    if (kind < 45) make_parent(&n);
#define OPERATION(share, what) else if (kind < (share) && (doing = what))
    if (kind < 8 && (doing = "write")) write_file(&n, O_CREAT | O_TRUNC);
    OPERATION(24, "replace") replace(&n);
    OPERATION(36, "append to") write_file(&n, O_CREAT | O_APPEND);
    OPERATION(45, "exclusively create") write_file(&n, O_CREAT | O_EXCL);
    OPERATION(52, "rewrite") rewrite(&n, 0);
    OPERATION(56, "store through a mapping of") rewrite(&n, 1);
    OPERATION(60, "truncate") cut(&n);
    OPERATION(64, keep ? "read" : "remove") keep ? compare(&n, 1) : (void)BOTH(&n, 1, unlink(n.depot), unlink(n.plain));
    OPERATION(69, "change mode or time of") change_attributes(&n);
    else if (kind < (keep ? 74 : 77) && !is_shared && (doing = kind < 74 ? "link" : "rename")) second_name(&n, &other, kind < 74);
    else if (kind < 79 && !is_shared && !keep && (doing = "rename directory")) rename_dir();
    else if ((doing = "read")) compare(&n, 1);
    if (lock >= 0) close(lock);
    /* As programs do: files rest, and are evicted. */
    if (below(4) == 0) usleep(below(10000));
}

/* What is in the plain directory is in the depot, and nothing else. */
static void verify_below(const char *rel) {
    for (int side = 0; side < 2; side++) {
        name n, dir;
        name_it(&dir, "%s", rel);
        DIR *d = opendir(side ? dir.depot : dir.plain);
        for (struct dirent *e; d && (e = readdir(d));) {
            if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || !strcmp(e->d_name, ".p4cache")) continue;
            name_it(&n, "%s%s%s", rel, *rel ? "/" : "", e->d_name);
            if (side && !is_there(n.plain)) differs(n.rel, "is there, and should not be");
            if (e->d_type == DT_DIR && !side) verify_below(n.rel);
            if (e->d_type == DT_REG) compare(&n, 1);
        }
        if (d) closedir(d);
    }
}

static void verify(void) {
    name n;
    verify_below("");
    for (unsigned i = 0; i < DIRS * FILES; i++) {
        name_it(&n, "w0/d%u/f%u", i / FILES, i % FILES);
        compare(&n, 1);
    }
}

int main(int argc, char **argv) {
    char line[64];
    bytes = malloc(LARGEST + 8);
    others = malloc(LARGEST + 8);
    shimmed = getenv("LD_PRELOAD") != NULL;
    for (; argc > 4 && (!strcmp(argv[argc - 1], "keep") || !strcmp(argv[argc - 1], "patient")); argc--)
        *(argv[argc - 1][0] == 'k' ? &keep : &patient) = 1;
    if (argc == 4 && !strcmp(argv[1], "verify")) {
        me = doing = "verify", depot = argv[2], plain = argv[3];
        verify();
        return 0;
    }
    if (argc != 6) return 2;
    state = strtoull(argv[1], NULL, 10) * 1000003 + strtoull(argv[2] + 1, NULL, 10);
    me = argv[2], depot = argv[3], plain = argv[4], locks = argv[5];
    while (fgets(line, sizeof line, stdin)) {
        for (long left = atol(line); left > 0; left--) one_operation();
        puts("done");
        fflush(stdout);
    }
    return 0;
}
