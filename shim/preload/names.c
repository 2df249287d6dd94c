/* names: the calls that give a file another name, make something under a new one, or take one away.
 *
 * - The old name of a rename or link may be evicted: the file comes back first.
 * - What overwrites its new name (rename) does not need what was there; what may not (link, mkdir …) has
 *   to fail if a file of that name was evicted, or it would hide that file's history.
 * - Removing an evicted file is the daemon's to record; nothing has to come back for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim.h"

#define CALL(name, type, ...) P4_REAL(name, type)(__VA_ARGS__)

/* Whether something may be made under the name: not if a file of that name is evicted. What is there is the
 * kernel's to refuse, which knows what is wrong with the other arguments. */
static int may_make(int dirfd, const char *path) {
    int before = errno;
    if (p4_may_be_evicted(dirfd, path) && !p4_exists(dirfd, path) && !p4_is_free(dirfd, path)) return 0;
    errno = before;
    return 1;
}

/* ---- two names ---- */

#define RECOVERING_OLD(name, parameters, dirfd, type, ...)                                         \
    static int recovering_##name parameters {                                                      \
        P4_RECOVERING(int, -1, dirfd, path, CALL(#name, type, __VA_ARGS__));                       \
    }
RECOVERING_OLD(rename, (const char *path, const char *to), AT_FDCWD, int (*)(const char *, const char *),
               path, to)
RECOVERING_OLD(renameat, (int dirfd, const char *path, int to_dirfd, const char *to), dirfd,
               int (*)(int, const char *, int, const char *), dirfd, path, to_dirfd, to)
RECOVERING_OLD(renameat2, (int dirfd, const char *path, int to_dirfd, const char *to, unsigned flags),
               dirfd, int (*)(int, const char *, int, const char *, unsigned), dirfd, path, to_dirfd, to,
               flags)
RECOVERING_OLD(link, (const char *path, const char *to), AT_FDCWD, int (*)(const char *, const char *),
               path, to)
RECOVERING_OLD(linkat, (int dirfd, const char *path, int to_dirfd, const char *to, int flags), dirfd,
               int (*)(int, const char *, int, const char *, int), dirfd, path, to_dirfd, to, flags)

/* The result of a call that made `to`. */
static int made(int rc, int dirfd, const char *to) {
    if (!rc) p4_now_there(dirfd, to);
    return rc;
}

P4_API int rename(const char *path, const char *to) {
    return made(recovering_rename(path, to), AT_FDCWD, to);
}
P4_API int renameat(int dirfd, const char *path, int to_dirfd, const char *to) {
    return made(recovering_renameat(dirfd, path, to_dirfd, to), to_dirfd, to);
}
P4_API int renameat2(int dirfd, const char *path, int to_dirfd, const char *to, unsigned flags) {
    if (flags & RENAME_NOREPLACE && !may_make(to_dirfd, to)) return -1;
    int rc = recovering_renameat2(dirfd, path, to_dirfd, to, flags);
    /* Of an exchange, the other one may be what is missing. */
    for (int tries = 0; rc && errno == ENOENT && flags & RENAME_EXCHANGE && p4_depot.active; tries++) {
        if (!p4_recover(to_dirfd, to, tries)) return -1;
        rc = recovering_renameat2(dirfd, path, to_dirfd, to, flags);
    }
    return made(rc, to_dirfd, to);
}
P4_API int link(const char *path, const char *to) {
    if (!may_make(AT_FDCWD, to)) return -1;
    return made(recovering_link(path, to), AT_FDCWD, to);
}
P4_API int linkat(int dirfd, const char *path, int to_dirfd, const char *to, int flags) {
    if (!may_make(to_dirfd, to)) return -1;
    return made(recovering_linkat(dirfd, path, to_dirfd, to, flags), to_dirfd, to);
}

/* ---- one new name ---- */

#define MAKING(name, parameters, dirfd, type, ...)                                                 \
    P4_API int name parameters {                                                                   \
        if (!may_make(dirfd, path)) return -1;                                                     \
        return made(CALL(#name, type, __VA_ARGS__), dirfd, path);                                  \
    }
#define PATH_MODE int (*)(const char *, mode_t)
#define AT_MODE int (*)(int, const char *, mode_t)
MAKING(mkdir, (const char *path, mode_t mode), AT_FDCWD, PATH_MODE, path, mode)
MAKING(mkdirat, (int dirfd, const char *path, mode_t mode), dirfd, AT_MODE, dirfd, path, mode)
MAKING(mkfifo, (const char *path, mode_t mode), AT_FDCWD, PATH_MODE, path, mode)
MAKING(mkfifoat, (int dirfd, const char *path, mode_t mode), dirfd, AT_MODE, dirfd, path, mode)
MAKING(symlink, (const char *target, const char *path), AT_FDCWD, int (*)(const char *, const char *),
       target, path)
MAKING(symlinkat, (const char *target, int dirfd, const char *path), dirfd,
       int (*)(const char *, int, const char *), target, dirfd, path)

/* ---- removing ---- */

#define REMOVING(dirfd, path, call)                                                                \
    do {                                                                                           \
        int rc_ = (call);                                                                          \
        for (int tries_ = 0; rc_ && errno == ENOENT && p4_depot.active; tries_++) {                \
            int next_ = p4_unlink_evicted(dirfd, path, tries_);                                    \
            if (next_ <= 0) return next_;                                                          \
            rc_ = (call);                                                                          \
        }                                                                                          \
        return rc_;                                                                                \
    } while (0)

P4_API int unlink(const char *path) {
    int before = errno;
    REMOVING(AT_FDCWD, path, (errno = before, CALL("unlink", int (*)(const char *), path)));
}
P4_API int unlinkat(int dirfd, const char *path, int flags) {
    typedef int (*call)(int, const char *, int);
    int before = errno;
    if (flags & AT_REMOVEDIR) return P4_REAL("unlinkat", call)(dirfd, path, flags);
    REMOVING(dirfd, path, (errno = before, P4_REAL("unlinkat", call)(dirfd, path, flags)));
}
P4_API int remove(const char *path) {
    int before = errno;
    REMOVING(AT_FDCWD, path, (errno = before, CALL("remove", int (*)(const char *), path)));
}
