/* start: what is done when the program starts, and in a child that it forks. Every program that is started
 * pays for it: few system calls, few functions of the C library, few pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "quick.h"
#include "shim.h"

/* Room for the depot's names. */
static char names[2 * P4_MAX_PATH];

static int64_t seconds_from_env(const char *name, int64_t default_ns) {
    const char *text = getenv(name);
    if (!text || !*text) return default_ns;
    char *end;
    double seconds = strtod(text, &end);
    /* Said so that "nan" is refused, too. */
    return !*end && seconds >= 0 && seconds <= 1e6 ? (int64_t)(seconds * 1e9) : default_ns;
}

/* A socket's path: the variable's, or a name in the state directory. Empty when it is too long. */
static void socket_path(char out[108], const char *variable, const char *name) {
    const char *given = getenv(variable), *dir = p4_depot.given;
    if (given && *given) {
        dir = given;
        name = "";
    }
    size_t dir_length = strlen(dir), name_length = strlen(name);
    if (dir_length + name_length >= 108) return;
    memcpy(out, dir, dir_length);
    memcpy(out + dir_length, name, name_length + 1);
}

/* Whether the depot's name, or a part of it, is a symbolic link. */
static int has_link(char *name) {
    char target;
    for (char *at = name + 1;; at++) {
        char c = *at;
        if (c && c != '/') continue;
        *at = 0;
        long length = p4_kernel(SYS_readlinkat, AT_FDCWD, (long)name, (long)&target, 1);
        *at = c;
        if (length > 0) return 1;
        if (!c) return 0;
    }
}

static struct p4_end end_of(const char *name, unsigned length) {
    struct p4_end end = {.mask = ~0ull};
    unsigned size = ++length < 8 ? length : 8; /* with the slash */
    end.at = length - size;
    for (unsigned i = 0; i < size; i++)
        end.bytes |= (uint64_t)(uint8_t)(i + 1 < size ? name[end.at + i] : '/') << 8 * i;
    end.mask >>= 64 - 8 * size;
    return end;
}

/* The depot's names, and how a path of it is told by them. */
static int name_depot(const char *depot) {
    char *given = names;
    size_t length = 0;
    if (p4_append_plain(given, &length, depot) || !length) return 0;
    p4_depot.given = p4_depot.real = given;
    p4_depot.given_len = p4_depot.real_len = (unsigned)length;
    char *real = given + length + 1;
    /* With ".." the kernel's way to it may be another. */
    if ((strstr(depot, "..") || has_link(given)) && realpath(depot, real) && strcmp(given, real)) {
        p4_depot.real = real;
        p4_depot.real_len = (unsigned)strlen(real);
    }
    p4_depot.ends[0] = end_of(p4_depot.given, p4_depot.given_len);
    p4_depot.ends[1] = end_of(p4_depot.real, p4_depot.real_len);
    unsigned longest = p4_depot.real_len > p4_depot.given_len ? p4_depot.real_len : p4_depot.given_len;
    p4_depot.page_part = P4_PAGE - 8 - (int)longest;
    return 1;
}

static void in_child(void) {
    p4_unlock_listings();
    p4_own_desks();
    p4_forget_accesses();
}

__attribute__((constructor)) static void start(void) {
    /* A setuid program must not be led by its caller's environment. */
    const char *depot = secure_getenv("P4CACHE_DEPOT");
    if (!depot || *depot != '/') return;
    int saved = errno;
    if (name_depot(depot)) {
        p4_depot.timeout_ns = seconds_from_env("P4CACHE_TIMEOUT", 60 * 1000000000ll);
        p4_depot.negative_ttl_ns = seconds_from_env("P4CACHE_NEGATIVE_TTL", 2 * 1000000000ll);
        socket_path(p4_depot.shim_socket, "P4CACHE_SOCK", "/.p4cache/shim.sock");
        socket_path(p4_depot.access_socket, "P4CACHE_ACCESS_SOCK", "/.p4cache/access.sock");
        const char *lists = getenv("P4CACHE_LIST");
        p4_depot.lists_evicted = lists && !strcmp(lists, "1");
        struct stat st;
        if (!p4_kernel(SYS_newfstatat, AT_FDCWD, (long)p4_depot.real, (long)&st, 0)) {
            p4_depot.device = st.st_dev;
            p4_depot.inode = st.st_ino;
        }
        p4_own_desks();
        pthread_atfork(p4_lock_listings, p4_unlock_listings, in_child);
        p4_depot.active = P4_ACTIVE;
        p4_look_for_table();
    }
    errno = saved;
}
