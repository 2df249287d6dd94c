/* depot: which paths are the depot's; see shim.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

struct p4_depot p4_depot;

static int64_t seconds_from_env(const char *name, int64_t default_ns) {
    const char *text = getenv(name);
    if (!text || !*text) return default_ns;
    char *end;
    double seconds = strtod(text, &end);
    return *end || seconds < 0 || seconds > 1e6 ? default_ns : (int64_t)(seconds * 1e9);
}

static int socket_path(char out[108], const char *env, const char *name) {
    const char *given = env ? getenv(env) : NULL;
    int n = given && *given ? snprintf(out, 108, "%s", given)
                            : snprintf(out, 108, "%s/.p4cache/%s", p4_depot.given, name);
    return n > 0 && n < 108;
}

__attribute__((constructor)) static void configure(void) {
    const char *depot = getenv("P4CACHE_DEPOT");
    /* A setuid program must not be led by its caller's environment. */
    if (!depot || *depot != '/' || getauxval(AT_SECURE)) return;
    int saved = errno;
    size_t length = strlen(depot);
    while (length > 1 && depot[length - 1] == '/') length--;
    if (length < P4_MAX_PATH) {
        memcpy(p4_depot.given, depot, length);
        p4_depot.given_len = length;
        char real[PATH_MAX];
        const char *canonical = realpath(p4_depot.given, real) ? real : p4_depot.given;
        p4_depot.real_len = strlen(canonical);
        memcpy(p4_depot.real, canonical, p4_depot.real_len + 1);
        p4_depot.timeout_ns = seconds_from_env("P4CACHE_TIMEOUT", 60 * 1000000000ll);
        p4_depot.negative_ttl_ns = seconds_from_env("P4CACHE_NEGATIVE_TTL", 2 * 1000000000ll);
        p4_depot.active = socket_path(p4_depot.shim_socket, "P4CACHE_SOCK", "shim.sock") &&
                          socket_path(p4_depot.access_socket, "P4CACHE_ACCESS_SOCK", "access.sock");
    }
    errno = saved;
}

static const char *after(const char *path, const char *depot, size_t length) {
    return !strncmp(path, depot, length) && path[length] == '/' ? path + length + 1 : NULL;
}

const char *p4_below_depot(const char *path) {
    const char *below = after(path, p4_depot.real, p4_depot.real_len);
    return below ? below : after(path, p4_depot.given, p4_depot.given_len);
}

/* Appends `path` to the absolute path in `out`, resolving "." and ".."; -1 when it does not fit. */
static int append_plain(char *out, size_t *length, const char *path) {
    while (*path) {
        while (*path == '/') path++;
        size_t n = strcspn(path, "/");
        if (n == 2 && path[0] == '.' && path[1] == '.') {
            while (*length && out[--*length] != '/') {
            }
        } else if (n && !(n == 1 && path[0] == '.')) {
            if (*length + n + 2 > P4_MAX_PATH) return -1;
            out[(*length)++] = '/';
            memcpy(out + *length, path, n);
            *length += n;
        }
        path += n;
    }
    out[*length] = 0;
    return 0;
}

/* The absolute path of the directory that relative names start at; 0 when it cannot be told. */
static int base_dir(int dirfd, char out[P4_MAX_PATH]) {
    if (dirfd == AT_FDCWD) return syscall(SYS_getcwd, out, P4_MAX_PATH) > 0 && *out == '/';
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
    long n = syscall(SYS_readlinkat, AT_FDCWD, link, out, P4_MAX_PATH - 1);
    if (n <= 0 || *out != '/') return 0;
    out[n] = 0;
    return 1;
}

size_t p4_relative(int dirfd, const char *path, char out[P4_MAX_PATH]) {
    char plain[P4_MAX_PATH] = "";
    size_t length = 0;
    if (*path != '/') {
        char base[P4_MAX_PATH];
        if (!base_dir(dirfd, base) || append_plain(plain, &length, base)) return 0;
    }
    if (append_plain(plain, &length, path)) return 0;
    const char *below = p4_below_depot(plain);
    if (!below || !*below || strchr(below, '\n')) return 0;
    if (!strncmp(below, ".p4cache", 8) && (!below[8] || below[8] == '/')) return 0;
    size_t n = strlen(below);
    memcpy(out, below, n + 1);
    return n;
}

int p4_is_temporary(const char *relative) {
    const char *slash = strrchr(relative, '/');
    const char *name = slash ? slash + 1 : relative;
    if (strncmp(name, "tmp.", 4)) return 0;
    int numbers = 0;
    for (const char *at = name + 3; *at == '.';) {
        size_t digits = strspn(at + 1, "0123456789");
        if (!digits) return 0;
        at += 1 + digits;
        numbers++;
        if (!*at) return numbers == 2 || numbers == 3;
    }
    return 0;
}
