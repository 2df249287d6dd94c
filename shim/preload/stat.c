/* stat: the calls that ask about a file, or change it, by its name. On an evicted file each restores it
 * first: a server that saw such a file as absent would begin a new one in its place. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include <utime.h>

#include "shim.h"

#define CALL(name, type, ...) P4_REAL(name, type)(__VA_ARGS__)

/* One function whose first argument is the path. */
#define BY_PATH(name, parameters, type, ...)                                                       \
    P4_API int name parameters {                                                                   \
        P4_RECOVERING(int, -1, AT_FDCWD, path, CALL(#name, type, __VA_ARGS__));                    \
    }
/* One with a directory descriptor before it. */
#define BY_DIRFD(name, parameters, type, ...)                                                      \
    P4_API int name parameters {                                                                   \
        P4_RECOVERING(int, -1, dirfd, path, CALL(#name, type, __VA_ARGS__));                       \
    }

#define PATH_STAT int (*)(const char *, void *)
BY_PATH(stat, (const char *restrict path, struct stat *restrict st), PATH_STAT, path, st)
BY_PATH(stat64, (const char *restrict path, struct stat64 *restrict st), PATH_STAT, path, st)
BY_PATH(lstat, (const char *restrict path, struct stat *restrict st), PATH_STAT, path, st)
BY_PATH(lstat64, (const char *restrict path, struct stat64 *restrict st), PATH_STAT, path, st)

#define AT_STAT int (*)(int, const char *, void *, int)
BY_DIRFD(fstatat, (int dirfd, const char *restrict path, struct stat *restrict st, int flags), AT_STAT,
         dirfd, path, st, flags)
BY_DIRFD(fstatat64, (int dirfd, const char *restrict path, struct stat64 *restrict st, int flags),
         AT_STAT, dirfd, path, st, flags)
BY_DIRFD(statx,
         (int dirfd, const char *restrict path, int flags, unsigned mask, struct statx *restrict st),
         int (*)(int, const char *, int, unsigned, void *), dirfd, path, flags, mask, st)

/* The names of the stat family in programs built before glibc 2.33. */
#define X_STAT int (*)(int, const char *, void *)
int __xstat(int version, const char *path, struct stat *st);
int __xstat64(int version, const char *path, struct stat64 *st);
int __lxstat(int version, const char *path, struct stat *st);
int __lxstat64(int version, const char *path, struct stat64 *st);
int __fxstatat(int version, int dirfd, const char *path, struct stat *st, int flags);
int __fxstatat64(int version, int dirfd, const char *path, struct stat64 *st, int flags);
BY_PATH(__xstat, (int version, const char *path, struct stat *st), X_STAT, version, path, st)
BY_PATH(__xstat64, (int version, const char *path, struct stat64 *st), X_STAT, version, path, st)
BY_PATH(__lxstat, (int version, const char *path, struct stat *st), X_STAT, version, path, st)
BY_PATH(__lxstat64, (int version, const char *path, struct stat64 *st), X_STAT, version, path, st)
#define X_AT_STAT int (*)(int, int, const char *, void *, int)
BY_DIRFD(__fxstatat, (int version, int dirfd, const char *path, struct stat *st, int flags), X_AT_STAT,
         version, dirfd, path, st, flags)
BY_DIRFD(__fxstatat64, (int version, int dirfd, const char *path, struct stat64 *st, int flags),
         X_AT_STAT, version, dirfd, path, st, flags)

#define PATH_INT int (*)(const char *, int)
#define AT_INT_INT int (*)(int, const char *, int, int)
BY_PATH(access, (const char *path, int mode), PATH_INT, path, mode)
BY_PATH(euidaccess, (const char *path, int mode), PATH_INT, path, mode)
BY_PATH(eaccess, (const char *path, int mode), PATH_INT, path, mode)
BY_DIRFD(faccessat, (int dirfd, const char *path, int mode, int flags), AT_INT_INT, dirfd, path, mode,
         flags)

/* ---- changes by name ---- */

BY_PATH(truncate, (const char *path, off_t length), int (*)(const char *, off_t), path, length)
BY_PATH(truncate64, (const char *path, off64_t length), int (*)(const char *, off64_t), path, length)
BY_PATH(chmod, (const char *path, mode_t mode), int (*)(const char *, mode_t), path, mode)
BY_DIRFD(fchmodat, (int dirfd, const char *path, mode_t mode, int flags),
         int (*)(int, const char *, mode_t, int), dirfd, path, mode, flags)
BY_PATH(utime, (const char *path, const struct utimbuf *times),
        int (*)(const char *, const struct utimbuf *), path, times)
BY_PATH(utimes, (const char *path, const struct timeval times[2]),
        int (*)(const char *, const struct timeval *), path, times)
BY_PATH(lutimes, (const char *path, const struct timeval times[2]),
        int (*)(const char *, const struct timeval *), path, times)
BY_DIRFD(futimesat, (int dirfd, const char *path, const struct timeval times[2]),
         int (*)(int, const char *, const struct timeval *), dirfd, path, times)
BY_DIRFD(utimensat, (int dirfd, const char *path, const struct timespec times[2], int flags),
         int (*)(int, const char *, const struct timespec *, int), dirfd, path, times, flags)

/* Of two names the old one may be evicted; the new one is overwritten either way. What p4d renames into
 * its place may have been absent a moment ago. */
#define TO_NEW_NAME(name, parameters, dirfd, to_dirfd, type, ...)                                  \
    static int recovering_##name parameters {                                                      \
        P4_RECOVERING(int, -1, dirfd, path, CALL(#name, type, __VA_ARGS__));                       \
    }                                                                                              \
    P4_API int name parameters {                                                                   \
        int rc = recovering_##name(__VA_ARGS__);                                                   \
        if (!rc) p4_now_there(to_dirfd, to);                                                       \
        return rc;                                                                                 \
    }
TO_NEW_NAME(rename, (const char *path, const char *to), AT_FDCWD, AT_FDCWD,
            int (*)(const char *, const char *), path, to)
TO_NEW_NAME(renameat, (int dirfd, const char *path, int to_dirfd, const char *to), dirfd, to_dirfd,
            int (*)(int, const char *, int, const char *), dirfd, path, to_dirfd, to)
TO_NEW_NAME(renameat2, (int dirfd, const char *path, int to_dirfd, const char *to, unsigned flags),
            dirfd, to_dirfd, int (*)(int, const char *, int, const char *, unsigned), dirfd, path,
            to_dirfd, to, flags)
TO_NEW_NAME(link, (const char *path, const char *to), AT_FDCWD, AT_FDCWD,
            int (*)(const char *, const char *), path, to)
TO_NEW_NAME(linkat, (int dirfd, const char *path, int to_dirfd, const char *to, int flags), dirfd,
            to_dirfd, int (*)(int, const char *, int, const char *, int), dirfd, path, to_dirfd, to,
            flags)

/* ---- names: RCS asks this way whether an archive is there ---- */

P4_API ssize_t readlink(const char *restrict path, char *restrict out, size_t cap) {
    P4_RECOVERING(ssize_t, -1, AT_FDCWD, path,
                  CALL("readlink", ssize_t(*)(const char *, char *, size_t), path, out, cap));
}
P4_API ssize_t readlinkat(int dirfd, const char *restrict path, char *restrict out, size_t cap) {
    P4_RECOVERING(ssize_t, -1, dirfd, path,
                  CALL("readlinkat", ssize_t(*)(int, const char *, char *, size_t), dirfd, path, out,
                       cap));
}
ssize_t __readlink_chk(const char *path, char *out, size_t cap, size_t room);
P4_API ssize_t __readlink_chk(const char *path, char *out, size_t cap, size_t room) {
    P4_RECOVERING(ssize_t, -1, AT_FDCWD, path,
                  CALL("__readlink_chk", ssize_t(*)(const char *, char *, size_t, size_t), path, out,
                       cap, room));
}
ssize_t __readlinkat_chk(int dirfd, const char *path, char *out, size_t cap, size_t room);
P4_API ssize_t __readlinkat_chk(int dirfd, const char *path, char *out, size_t cap, size_t room) {
    P4_RECOVERING(ssize_t, -1, dirfd, path,
                  CALL("__readlinkat_chk", ssize_t(*)(int, const char *, char *, size_t, size_t),
                       dirfd, path, out, cap, room));
}
P4_API char *realpath(const char *restrict path, char *restrict resolved) {
    P4_RECOVERING(char *, NULL, AT_FDCWD, path,
                  CALL("realpath", char *(*)(const char *, char *), path, resolved));
}
char *__realpath_chk(const char *path, char *resolved, size_t room);
P4_API char *__realpath_chk(const char *path, char *resolved, size_t room) {
    P4_RECOVERING(char *, NULL, AT_FDCWD, path,
                  CALL("__realpath_chk", char *(*)(const char *, char *, size_t), path, resolved,
                       room));
}
