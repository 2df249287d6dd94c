/* race: appends to and rewrites files that are being evicted, and counts what is lost.
 *
 *   race DEPOT SEED FILES APPENDS THREADS [patient]
 *
 * Each thread appends records to files that all threads, and other processes like this one, append to: it
 * opens one for a single record, or holds it open for some with pauses between; now and then it rewrites a
 * file of its own and reads it back. A record says who wrote it and the how-manieth of his in this file it
 * is. In the end every file is read: each record must be there once, in order. Under the preload library
 * it is a program as p4d is; without, it asks the daemon for a file that is evicted, and appends. With
 * "patient" an open may also say that it cannot tell (EIO), as while the storage is away, and is made again.
 * Prints what is lost and ends with 1, else how many records there are.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE = 180, MOST_HELD = 8, OWN_BYTES = 4096, HOT = 64 };
typedef struct { uint32_t process, thread, sequence, check; } record;
typedef struct { uint32_t number; uint64_t state; uint32_t *written; uint32_t own, turn; } appender;

static const char *depot;
static uint32_t files, threads, process;
static long appends;
static int shimmed, patient;

static uint32_t below(appender *a, uint32_t n) { /* splitmix64 */
    uint64_t z = a->state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (uint32_t)((z ^ z >> 31) >> 32) % n;
}

__attribute__((noreturn)) static void fail(const char *what, const char *rel) {
    printf("%s%s: %s (%s)\n", rel, shimmed ? " (shim)" : "", what, strerrorname_np(errno));
    fflush(stdout);
    _exit(1);
}

static void fetch(const char *rel) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char line[128], answer[512];
    snprintf(to.sun_path, sizeof to.sun_path, "%s/.p4cache/shim.sock", depot);
    int length = snprintf(line, sizeof line, "FETCH %s\n", rel);
    for (time_t end = time(NULL) + PATIENCE; time(NULL) < end; usleep(1000)) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ssize_t n = -1;
        if (!connect(fd, (struct sockaddr *)&to, sizeof to) && send(fd, line, length, MSG_NOSIGNAL) == length)
            n = recv(fd, answer, sizeof answer - 1, 0);
        close(fd);
        if (n <= 0) continue;
        if (!strncmp(answer, "OK", 2)) return;
        if (patient && !strncmp(answer, "ERROR", 5)) continue;
        answer[n] = 0;
        fail(answer, rel);
    }
    fail("the daemon does not answer", rel);
}

/* Opens a file that exists, evicted or not. */
static int open_file(const char *rel, int flags) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", depot, rel);
    time_t end = time(NULL) + PATIENCE;
    for (int tries = 0; tries < 1000; tries++) {
        int fd;
        while ((fd = open(path, flags | (shimmed && flags & O_APPEND ? O_CREAT : 0), 0644)) < 0 && errno == EIO
               && patient && time(NULL) < end) usleep(5000);
        if (fd >= 0) return fd;
        if (errno != ENOENT || shimmed) break;
        fetch(rel);
    }
    fail("cannot be opened", rel);
}

/* Mostly one of a few at a time, the same for all, so that the others rest, are uploaded and evicted: how
 * many, does not depend on how fast the machine is. */
static uint32_t pick(appender *a) {
    if (below(a, 8) == 0) return below(a, files);
    return (a->turn++ / HOT * HOT + below(a, HOT)) % files;
}

static long append(appender *a) {
    char rel[32];
    uint32_t file = pick(a), count = below(a, 4) ? 1 : 1 + below(a, MOST_HELD);
    snprintf(rel, sizeof rel, "d%u/f%u", file % 8, file);
    int fd = open_file(rel, O_WRONLY | O_APPEND);
    for (uint32_t i = 0; i < count; i++) {
        if (i) usleep(below(a, 500));
        record r = {process, a->number, a->written[file], 0};
        r.check = r.process ^ r.thread * 0x9e3779b9 ^ r.sequence * 0x85ebca6b;
        if (write(fd, &r, sizeof r) != sizeof r) fail("write", rel);
        a->written[file]++;
    }
    if (close(fd)) fail("close", rel);
    return count;
}

static void check_own(appender *a, const char *rel) {
    uint32_t words[OWN_BYTES / 4];
    int fd = open_file(rel, O_RDONLY);
    if (read(fd, words, OWN_BYTES) != OWN_BYTES) fail("is short", rel);
    for (int i = 0; i < OWN_BYTES / 4; i++)
        if (words[i] != a->own) fail("is not what was written last", rel);
    close(fd);
}

static void rewrite_own(appender *a) {
    char rel[32];
    uint32_t words[OWN_BYTES / 4];
    snprintf(rel, sizeof rel, "own/%u.%u", process, a->number);
    check_own(a, rel);
    int fd = open_file(rel, O_RDWR);
    a->own++;
    for (int i = 0; i < OWN_BYTES / 4; i++) words[i] = a->own;
    if (write(fd, words, OWN_BYTES) != OWN_BYTES || close(fd)) fail("rewrite", rel);
}

static void *work(void *argument) {
    appender *a = argument;
    for (long left = appends / threads; left > 0;) {
        left -= append(a);
        usleep(below(a, 1000)); /* a file at rest is uploaded, and then evicted */
        if (below(a, 20) == 0) rewrite_own(a);
    }
    return NULL;
}

/* Every record of this process, once and in order; and none that nobody wrote. */
static long check_file(appender *all, uint32_t file) {
    char rel[32];
    struct stat st;
    snprintf(rel, sizeof rel, "d%u/f%u", file % 8, file);
    int fd = open_file(rel, O_RDONLY);
    if (fstat(fd, &st)) fail("fstat", rel);
    record *records = malloc((size_t)st.st_size + 1);
    uint32_t *seen = calloc(threads, sizeof *seen);
    for (off_t done = 0, n; done < st.st_size; done += n)
        if ((n = read(fd, (char *)records + done, (size_t)(st.st_size - done))) <= 0) fail("read", rel);
    for (size_t i = 0; i < (size_t)st.st_size / sizeof *records; i++) {
        record r = records[i];
        if (r.check != (r.process ^ r.thread * 0x9e3779b9 ^ r.sequence * 0x85ebca6b)) fail("has other bytes", rel);
        if (r.process == process && seen[r.thread]++ != r.sequence) fail("a record is lost or out of order", rel);
    }
    long count = 0;
    for (uint32_t t = 0; t < threads; t++) {
        if (seen[t] != all[t].written[file]) fail("the last records are lost", rel);
        count += seen[t];
    }
    close(fd);
    free(records);
    free(seen);
    return count;
}

int main(int argc, char **argv) {
    char path[PATH_MAX];
    patient = argc == 7 && !strcmp(argv[6], "patient");
    if (argc != 6 + patient) return 2;
    depot = argv[1], files = (uint32_t)atol(argv[3]), appends = atol(argv[4]), threads = (uint32_t)atol(argv[5]);
    shimmed = getenv("LD_PRELOAD") != NULL;
    process = (uint32_t)getpid();
    appender *all = calloc(threads, sizeof *all);
    pthread_t *ids = calloc(threads, sizeof *ids);
    for (uint32_t t = 0; t < threads; t++) {
        uint32_t words[OWN_BYTES / 4] = {0};
        all[t] = (appender){t, strtoull(argv[2], NULL, 10) * 1000 + t + (shimmed ? 500 : 0), calloc(files, 4), 0, 0};
        snprintf(path, sizeof path, "%s/own/%u.%u", depot, process, t);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644); /* asks nobody */
        if (fd < 0 || write(fd, words, OWN_BYTES) != OWN_BYTES || close(fd)) fail("cannot be made", path);
    }
    for (uint32_t t = 0; t < threads; t++) pthread_create(&ids[t], NULL, work, &all[t]);
    for (uint32_t t = 0; t < threads; t++) pthread_join(ids[t], NULL);
    long count = 0;
    for (uint32_t file = 0; file < files; file++) count += check_file(all, file);
    printf("%ld\n", count);
    return 0;
}
