/* accesses: names that a program opens, for libFuzzer: each datagram that the preload library makes of them
 * is whole lines, and each line a plain path below the depot. Linked with the rest of the library.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t check_datagram(const char *bytes, size_t length);

#define chdir fuzzed_chdir
#define fchdir fuzzed_fchdir
#define send(fd, bytes, length, flags) check_datagram(bytes, length)
#define connect(fd, address, length) 0
#include "../../../shim/preload/start.c"
#include "../../../shim/preload/access_log.c"

static void check_path(const char *path, size_t length) {
    if (!length || length > P4_MAX_CACHED || *path == '/') abort();
    if (path[length - 1] == '/') length--; /* a directory's */
    for (size_t at = 0, part = 0; at <= length; at++) {
        if (at < length && path[at] != '/') continue;
        size_t size = at - part;
        if (!size || (size == 1 && path[part] == '.')) abort();
        if (size == 2 && path[part] == '.' && path[part + 1] == '.') abort();
        part = at + 1;
    }
}

static ssize_t check_datagram(const char *bytes, size_t length) {
    if (!length || length > DATAGRAM || bytes[length - 1] != '\n') abort();
    for (const char *end; length; length -= (size_t)(end + 1 - bytes), bytes = end + 1) {
        end = memchr(bytes, '\n', length);
        check_path(bytes, (size_t)(end - bytes));
    }
    return 1;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    setenv("P4CACHE_DEPOT", "/depot", 1);
    setenv("P4CACHE_ACCESS_SOCK", "/nowhere", 1);
    start();
    return 0;
}

/* Names come one after another, each to its zero byte; every second one below the depot. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char depot[] = "/depot/";
    for (size_t at = 0, below = 0; at < size; below = !below) {
        size_t length = strnlen((const char *)data + at, size - at), skip = below ? sizeof depot - 1 : 0;
        char *path = malloc(skip + length + 1);
        if (!path) return 0;
        memcpy(path, depot, skip);
        memcpy(path + skip, data + at, length);
        path[skip + length] = 0;
        p4_note_access(3, AT_FDCWD, path);
        free(path);
        at += length + 1;
    }
    p4_flush_accesses();
    return 0;
}
