/* stat: the calls that ask about a file, or change it, by its name. On an evicted file each restores it
 * first: a server that saw such a file as absent would begin a new one in its place. That is also so
 * where only metadata is asked for: cp, git and others compare the inode of stat with that of the file
 * they then open. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include "kernel.h"
#include "shim.h"

#define CALL(name, type, ...) P4_REAL(name, type)(__VA_ARGS__)

/* One function whose path is relative to the working directory. */
#define RETURNING(result, name, parameters, type, ...)                                             \
    P4_API result name parameters {                                                                \
        P4_RECOVERING(result, -1, AT_FDCWD, path, CALL(#name, type, __VA_ARGS__));                 \
    }
#define BY_PATH(name, parameters, type, ...) RETURNING(int, name, parameters, type, __VA_ARGS__)
/* One with a directory descriptor before it. */
#define BY_DIRFD(name, parameters, type, ...)                                                      \
    P4_API int name parameters {                                                                   \
        P4_RECOVERING(int, -1, dirfd, path, CALL(#name, type, __VA_ARGS__));                       \
    }

/* What is called most: where the next definition is the C library's own, its system call is made. */
__attribute__((noinline)) static int stat_failed(int dirfd, const char *path, void *st, int flags,
                                                 int error) {
    int before = errno;
    errno = error;
    if (!p4_depot.active) return -1;
    for (int tries = 0; errno == ENOENT && p4_recover(dirfd, path, tries); tries++) {
        long rc = p4_kernel(SYS_newfstatat, dirfd, (long)path, (long)st, flags);
        errno = rc ? (int)-rc : before;
        if (!rc) return 0;
    }
    return -1;
}
static void learn(const char **goes_direct, const char *name) {
    if (__atomic_load_n(goes_direct, __ATOMIC_RELAXED) == &p4_unknown)
        __atomic_store_n(goes_direct, p4_goes_direct(name, P4_ALWAYS), __ATOMIC_RELAXED);
}
#define STAT(name, parameters, dirfd, flags, type, ...)                                            \
    static int libc_##name parameters {                                                            \
        P4_RECOVERING(int, -1, dirfd, path, CALL(#name, type, __VA_ARGS__));                       \
    }                                                                                              \
    P4_API int name parameters {                                                                   \
        static const char *goes_direct = &p4_unknown;                                              \
        if (P4_UNLIKELY(!*__atomic_load_n(&goes_direct, __ATOMIC_RELAXED))) {                      \
            learn(&goes_direct, #name);                                                            \
            return libc_##name(__VA_ARGS__);                                                       \
        }                                                                                          \
        long rc = p4_kernel(SYS_newfstatat, dirfd, (long)path, (long)st, flags);                   \
        return P4_LIKELY(!rc) ? 0 : stat_failed(dirfd, path, st, flags, (int)-rc);                 \
    }
#define PATH_STAT int (*)(const char *, void *)
STAT(stat, (const char *restrict path, struct stat *restrict st), AT_FDCWD, 0, PATH_STAT, path, st)
STAT(stat64, (const char *restrict path, struct stat64 *restrict st), AT_FDCWD, 0, PATH_STAT, path, st)
STAT(lstat, (const char *restrict path, struct stat *restrict st), AT_FDCWD, AT_SYMLINK_NOFOLLOW,
     PATH_STAT, path, st)
STAT(lstat64, (const char *restrict path, struct stat64 *restrict st), AT_FDCWD, AT_SYMLINK_NOFOLLOW,
     PATH_STAT, path, st)

#define AT_STAT int (*)(int, const char *, void *, int)
STAT(fstatat, (int dirfd, const char *restrict path, struct stat *restrict st, int flags), dirfd, flags,
     AT_STAT, dirfd, path, st, flags)
STAT(fstatat64, (int dirfd, const char *restrict path, struct stat64 *restrict st, int flags), dirfd,
     flags, AT_STAT, dirfd, path, st, flags)
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

#define PATH_OUT int (*)(const char *, void *)
BY_PATH(statfs, (const char *path, struct statfs *st), PATH_OUT, path, st)
BY_PATH(statfs64, (const char *path, struct statfs64 *st), PATH_OUT, path, st)
BY_PATH(statvfs, (const char *restrict path, struct statvfs *restrict st), PATH_OUT, path, st)
BY_PATH(statvfs64, (const char *restrict path, struct statvfs64 *restrict st), PATH_OUT, path, st)
RETURNING(long, pathconf, (const char *path, int name), long (*)(const char *, int), path, name)

#define PATH_GET ssize_t(*)(const char *, const char *, void *, size_t)
#define PATH_SET int (*)(const char *, const char *, const void *, size_t, int)
#define PATH_LIST ssize_t(*)(const char *, char *, size_t)
#define PATH_REMOVE int (*)(const char *, const char *)
RETURNING(ssize_t, getxattr, (const char *path, const char *name, void *out, size_t cap), PATH_GET, path,
          name, out, cap)
RETURNING(ssize_t, lgetxattr, (const char *path, const char *name, void *out, size_t cap), PATH_GET, path,
          name, out, cap)
RETURNING(ssize_t, listxattr, (const char *path, char *out, size_t cap), PATH_LIST, path, out, cap)
RETURNING(ssize_t, llistxattr, (const char *path, char *out, size_t cap), PATH_LIST, path, out, cap)

/* ---- changes by name ---- */

BY_PATH(setxattr, (const char *path, const char *name, const void *value, size_t size, int flags),
        PATH_SET, path, name, value, size, flags)
BY_PATH(lsetxattr, (const char *path, const char *name, const void *value, size_t size, int flags),
        PATH_SET, path, name, value, size, flags)
BY_PATH(removexattr, (const char *path, const char *name), PATH_REMOVE, path, name)
BY_PATH(lremovexattr, (const char *path, const char *name), PATH_REMOVE, path, name)
#define PATH_OWNER int (*)(const char *, uid_t, gid_t)
BY_PATH(chown, (const char *path, uid_t owner, gid_t group), PATH_OWNER, path, owner, group)
BY_PATH(lchown, (const char *path, uid_t owner, gid_t group), PATH_OWNER, path, owner, group)
BY_DIRFD(fchownat, (int dirfd, const char *path, uid_t owner, gid_t group, int flags),
         int (*)(int, const char *, uid_t, gid_t, int), dirfd, path, owner, group, flags)
BY_PATH(lchmod, (const char *path, mode_t mode), int (*)(const char *, mode_t), path, mode)

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

/* ---- names: RCS asks this way whether an archive is there ---- */

RETURNING(ssize_t, readlink, (const char *restrict path, char *restrict out, size_t cap), PATH_LIST, path,
          out, cap)
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
P4_API char *canonicalize_file_name(const char *path) {
    P4_RECOVERING(char *, NULL, AT_FDCWD, path,
                  CALL("canonicalize_file_name", char *(*)(const char *), path));
}
