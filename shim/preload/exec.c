/* exec: the calls that start another program in place of this one, or end it. What was noted is sent
 * before; a program that is an evicted file of the depot comes back first.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim.h"

P4_API __attribute__((noreturn)) void _exit(int status) {
    p4_flush_accesses();
    P4_REAL("_exit", void (*)(int))(status);
    __builtin_unreachable();
}

P4_API __attribute__((noreturn)) void _Exit(int status) { _exit(status); }

typedef char *const *strings;

P4_API int execve(const char *path, strings argv, strings envp) {
    p4_flush_accesses();
    P4_RECOVERING(int, -1, AT_FDCWD, path,
                  P4_REAL("execve", int (*)(const char *, strings, strings))(path, argv, envp));
}
P4_API int execv(const char *path, strings argv) {
    p4_flush_accesses();
    P4_RECOVERING(int, -1, AT_FDCWD, path,
                  P4_REAL("execv", int (*)(const char *, strings))(path, argv));
}
/* Names without a slash are looked for along PATH, which evicted files are not on: they are absent, also
 * in the directory this process is in. */
P4_API int execvpe(const char *file, strings argv, strings envp) {
    typedef int (*call)(const char *, strings, strings);
    p4_flush_accesses();
    int rc = P4_REAL("execvpe", call)(file, argv, envp);
    if (errno != ENOENT || !p4_depot.active || !strchr(file, '/')) return rc;
    P4_RECOVERING(int, -1, AT_FDCWD, file, P4_REAL("execvpe", call)(file, argv, envp));
}
P4_API int execvp(const char *file, strings argv) { return execvpe(file, argv, environ); }
P4_API int fexecve(int fd, strings argv, strings envp) {
    p4_flush_accesses();
    return P4_REAL("fexecve", int (*)(int, strings, strings))(fd, argv, envp);
}
P4_API int execveat(int dirfd, const char *path, strings argv, strings envp, int flags) {
    typedef int (*call)(int, const char *, strings, strings, int);
    p4_flush_accesses();
    P4_RECOVERING(int, -1, dirfd, path, P4_REAL("execveat", call)(dirfd, path, argv, envp, flags));
}

static size_t count(va_list arguments) {
    size_t n = 1;
    while (va_arg(arguments, char *)) n++;
    return n;
}

/* The arguments as an array on the stack, as the C library makes it, and the environment after them. */
#define GATHER(first, argv, after)                                                                 \
    va_list rest_;                                                                                 \
    va_start(rest_, first);                                                                        \
    size_t n_ = count(rest_);                                                                      \
    va_end(rest_);                                                                                 \
    char *argv[n_ + 1];                                                                            \
    va_start(rest_, first);                                                                        \
    argv[0] = (char *)first;                                                                       \
    for (size_t i_ = 1; i_ <= n_; i_++) argv[i_] = va_arg(rest_, char *);                          \
    after;                                                                                         \
    va_end(rest_)

P4_API int execl(const char *path, const char *first, ...) {
    GATHER(first, argv, (void)0);
    return execve(path, argv, environ);
}
P4_API int execlp(const char *file, const char *first, ...) {
    GATHER(first, argv, (void)0);
    return execvpe(file, argv, environ);
}
P4_API int execle(const char *path, const char *first, ...) {
    GATHER(first, argv, strings envp = va_arg(rest_, strings));
    return execve(path, argv, envp);
}

/* ---- posix_spawn: its child execs inside the C library; the error comes as the result ---- */

typedef int (*spawn_call)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                          const posix_spawnattr_t *, strings, strings);

static int spawn(spawn_call call, pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, strings argv, strings envp) {
    int saved = errno, rc;
    for (int tries = 0;; tries++) {
        rc = call(pid, path, actions, attributes, argv, envp);
        if (rc != ENOENT || !p4_depot.active || !strchr(path, '/')) break;
        if (!p4_recover(AT_FDCWD, path, tries)) {
            rc = errno;
            break;
        }
    }
    if (!rc) errno = saved;
    return rc;
}

P4_API int posix_spawn(pid_t *restrict pid, const char *restrict path,
                       const posix_spawn_file_actions_t *restrict actions,
                       const posix_spawnattr_t *restrict attributes, strings argv, strings envp) {
    return spawn(P4_REAL("posix_spawn", spawn_call), pid, path, actions, attributes, argv, envp);
}
P4_API int posix_spawnp(pid_t *restrict pid, const char *restrict path,
                        const posix_spawn_file_actions_t *restrict actions,
                        const posix_spawnattr_t *restrict attributes, strings argv, strings envp) {
    return spawn(P4_REAL("posix_spawnp", spawn_call), pid, path, actions, attributes, argv, envp);
}
