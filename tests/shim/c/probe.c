/* One libc call on one path, by the call's name: prints "ok <value>" or "error <errno name>". */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

/* The call came as far as to the file, whatever it then said. */
#define reached(rc) ((rc) < 0 && errno == ENOENT ? bad() : ok(0))

static int ok(long value) { return printf("ok %ld\n", value), 0; }
static int bad(void) { return printf("error %s\n", strerrorname_np(errno)), 1; }
/* The value is read after the call. */
#define result(rc, value) ((rc) < 0 ? bad() : ok(value))

/* Bytes that can be read from the descriptor. */
static int drain(int fd) {
    char buffer[4096];
    long total = 0;
    if (fd < 0) return bad();
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) total += n;
    return ok(total);
}
static int drain_stream(FILE *stream) { return stream ? drain(fileno(stream)) : bad(); }
static int size_of(int fd) {
    struct stat st;
    return fd < 0 || fstat(fd, &st) ? bad() : ok((long)st.st_size);
}

int __open_2(const char *, int);
int __open64_2(const char *, int);
int __openat_2(int, const char *, int);
int __openat64_2(int, const char *, int);
int __xstat(int, const char *, struct stat *);
int __lxstat(int, const char *, struct stat *);
int __fxstatat(int, int, const char *, struct stat *, int);
int __open(const char *, int, ...);
int __open64(const char *, int, ...);
int __xstat64(int, const char *, struct stat64 *);
int __lxstat64(int, const char *, struct stat64 *);
int __fxstatat64(int, int, const char *, struct stat64 *, int);
ssize_t __readlink_chk(const char *, char *, size_t, size_t);
ssize_t __readlinkat_chk(int, const char *, char *, size_t, size_t);
char *__realpath_chk(const char *, char *, size_t);

static const char *shared_path;
static void *open_in_thread(void *ignored) {
    (void)ignored;
    int fd = open(shared_path, O_RDONLY);
    if (fd < 0) return (void *)1;
    close(fd);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    const char *call = argv[1], *path = argv[2];
    char a[PATH_MAX], b[PATH_MAX], other[PATH_MAX + 16];
    struct stat st;
    struct stat64 st64;
    struct statx stx;
    struct statvfs vfs;
    struct statfs fs;
    struct statvfs64 vfs64;
    struct statfs64 fs64;
    strcpy(a, path);
    strcpy(b, path);
    const char *dir = dirname(a), *name = basename(b);
    snprintf(other, sizeof other, "%s.other", path);
#define IS(text) if (!strcmp(call, text))
    IS("open") return drain(open(path, O_RDONLY));
    IS("open64") return drain(open64(path, O_RDONLY));
    IS("openat") return drain(openat(AT_FDCWD, path, O_RDONLY));
    IS("openat64") return drain(openat64(AT_FDCWD, path, O_RDONLY));
    IS("__open_2") return drain(__open_2(path, O_RDONLY));
    IS("__open64_2") return drain(__open64_2(path, O_RDONLY));
    IS("__openat_2") return drain(__openat_2(AT_FDCWD, path, O_RDONLY));
    IS("__openat64_2") return drain(__openat64_2(AT_FDCWD, path, O_RDONLY));
    IS("open rdwr") return drain(open(path, O_RDWR));
    IS("open append") return size_of(open(path, O_WRONLY | O_APPEND));
    IS("open rdwr creat") return drain(open(path, O_RDWR | O_CREAT, 0644));
    IS("open append creat") return size_of(open(path, O_WRONLY | O_CREAT | O_APPEND, 0644));
    IS("open trunc creat") return size_of(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    IS("open excl creat") return size_of(open(path, O_WRONLY | O_CREAT | O_EXCL, 0644));
    IS("creat") return size_of(creat(path, 0644));
    IS("fopen r") return drain_stream(fopen(path, "r"));
    IS("fopen64 r+") return drain_stream(fopen64(path, "r+"));
    IS("fopen a") {
        FILE *stream = fopen(path, "a");
        return stream ? size_of(fileno(stream)) : bad();
    }
    IS("fopen a+") return drain_stream(fopen(path, "a+"));
    IS("fopen w") {
        FILE *stream = fopen(path, "w");
        return stream ? size_of(fileno(stream)) : bad();
    }
    IS("fopen wx") return drain_stream(fopen(path, "wx"));
    IS("freopen") return drain_stream(freopen(path, "r", stdin));
    IS("stat") return result(stat(path, &st), st.st_size);
    IS("stat64") return result(stat64(path, &st64), st64.st_size);
    IS("lstat") return result(lstat(path, &st), st.st_size);
    IS("fstatat") return result(fstatat(AT_FDCWD, path, &st, 0), st.st_size);
    IS("statx") return result(statx(AT_FDCWD, path, 0, STATX_SIZE, &stx), (long)stx.stx_size);
    IS("syscall statx") return result(syscall(SYS_statx, AT_FDCWD, path, 0, STATX_SIZE, &stx), (long)stx.stx_size);
    IS("__xstat") return result(__xstat(1, path, &st), st.st_size);
    IS("__lxstat") return result(__lxstat(1, path, &st), st.st_size);
    IS("__fxstatat") return result(__fxstatat(1, AT_FDCWD, path, &st, 0), st.st_size);
    IS("access") return result(access(path, R_OK), 0);
    IS("faccessat") return result(faccessat(AT_FDCWD, path, R_OK, 0), 0);
    IS("euidaccess") return result(euidaccess(path, R_OK), 0);
    IS("readlink") return errno = 0, readlink(path, other, 10) < 0 && errno == EINVAL ? ok(0) : bad();
    IS("realpath") return realpath(path, a) ? ok(0) : bad();
    IS("chmod") return result(chmod(path, 0444), 0);
    IS("utimes") return result(utimes(path, NULL), 0);
    IS("truncate") return result(truncate(path, 3), 3);
    IS("rename") return rename(path, other) ? bad() : result(stat(other, &st), st.st_size);
    IS("link") return link(path, other) ? bad() : result(stat(other, &st), st.st_size);
    IS("renameat") return renameat(AT_FDCWD, path, AT_FDCWD, other) ? bad() : result(stat(other, &st), st.st_size);
    IS("renameat2") return renameat2(AT_FDCWD, path, AT_FDCWD, other, 0) ? bad() : result(stat(other, &st), st.st_size);
    IS("linkat") return linkat(AT_FDCWD, path, AT_FDCWD, other, 0) ? bad() : result(stat(other, &st), st.st_size);
    IS("exchange") { /* the second name is the evicted one */
        close(open(other, O_WRONLY | O_CREAT | O_TRUNC, 0644));
        if (renameat2(AT_FDCWD, other, AT_FDCWD, path, RENAME_EXCHANGE)) return bad();
        return result(stat(other, &st), st.st_size);
    }
    IS("truncate64") return result(truncate64(path, 3), 3);
    IS("fchmodat") return result(fchmodat(AT_FDCWD, path, 0444, 0), 0);
    IS("chown") return result(chown(path, geteuid(), getegid()), 0);
    IS("lchown") return result(lchown(path, geteuid(), getegid()), 0);
    IS("fchownat") return result(fchownat(AT_FDCWD, path, geteuid(), getegid(), 0), 0);
    IS("utime") return result(utime(path, NULL), 0);
    IS("lutimes") return result(lutimes(path, NULL), 0);
    IS("futimesat") return result(futimesat(AT_FDCWD, path, NULL), 0);
    IS("utimensat") return result(utimensat(AT_FDCWD, path, NULL, 0), 0);
    IS("eaccess") return result(eaccess(path, R_OK), 0);
    IS("statvfs") return result(statvfs(path, &vfs), 0);
    IS("statfs") return result(statfs(path, &fs), 0);
    IS("pathconf") return result(pathconf(path, _PC_NAME_MAX), 0);
    IS("getxattr") return errno = 0, getxattr(path, "user.none", other, 10) < 0 && errno != ENOENT ? ok(0) : bad();
    IS("listxattr") return result(listxattr(path, other, 1000), 0);
    IS("readlinkat") return errno = 0, readlinkat(AT_FDCWD, path, other, 10) < 0 && errno == EINVAL ? ok(0) : bad();
    IS("canonicalize_file_name") return canonicalize_file_name(path) ? ok(0) : bad();
    IS("unlink") return result(unlink(path), 0);
    IS("unlinkat") return result(unlinkat(AT_FDCWD, path, 0), 0);
    IS("unlinkat dirfd") return result(unlinkat(open(dir, O_RDONLY | O_DIRECTORY), name, 0), 0);
    IS("remove") return result(remove(path), 0);
    IS("unlink, then look") return unlink(path) ? bad() : result(stat(path, &st), st.st_size);
    IS("unlink, then create") return unlink(path) ? bad() : size_of(open(path, O_RDWR | O_CREAT, 0644));
    IS("__open") return drain(__open(path, O_RDONLY));
    IS("__open64") return drain(__open64(path, O_RDONLY));
    IS("creat64") return size_of(creat64(path, 0644));
    IS("freopen64") return drain_stream(freopen64(path, "r", stdin));
    IS("lstat64") return result(lstat64(path, &st64), st64.st_size);
    IS("fstatat64") return result(fstatat64(AT_FDCWD, path, &st64, 0), st64.st_size);
    IS("__xstat64") return result(__xstat64(1, path, &st64), st64.st_size);
    IS("__lxstat64") return result(__lxstat64(1, path, &st64), st64.st_size);
    IS("__fxstatat64") return result(__fxstatat64(1, AT_FDCWD, path, &st64, 0), st64.st_size);
    IS("statfs64") return result(statfs64(path, &fs64), 0);
    IS("statvfs64") return result(statvfs64(path, &vfs64), 0);
    IS("lgetxattr") return reached(lgetxattr(path, "user.none", other, 10));
    IS("setxattr") return reached(setxattr(path, "user.one", "1", 1, 0));
    IS("lsetxattr") return reached(lsetxattr(path, "user.one", "1", 1, 0));
    IS("llistxattr") return reached(llistxattr(path, other, 1000));
    IS("removexattr") return reached(removexattr(path, "user.one"));
    IS("lremovexattr") return reached(lremovexattr(path, "user.one"));
    IS("lchmod") return reached(lchmod(path, 0444));
    IS("__readlink_chk") return reached(__readlink_chk(path, other, 10, sizeof other));
    IS("__readlinkat_chk") return reached(__readlinkat_chk(AT_FDCWD, path, other, 10, sizeof other));
    IS("__realpath_chk") return __realpath_chk(path, a, sizeof a) ? ok(0) : bad();
    IS("mkfifoat") return result(mkfifoat(AT_FDCWD, path, 0644), 0);
    IS("execvpe") return reached(execvpe(path, argv, environ));
    IS("posix_spawnp") return errno = posix_spawnp(NULL, path, NULL, NULL, argv, environ), reached(-!!errno);
    IS("fchdir") return fchdir(open(dir, O_RDONLY | O_DIRECTORY)) ? bad() : drain(open(name, O_RDONLY));
    IS("_Exit") {
        int fd = open(path, O_RDONLY);
        ok(0), fflush(stdout);
        _Exit(fd < 0);
    }
    IS("fexecve") { /* of a program that is there: what was noted is sent before */
        int fd = open(path, O_RDONLY), program = open("/bin/true", O_RDONLY);
        ok(0), fflush(stdout);
        return fd < 0 || fexecve(program, argv, environ);
    }
    IS("scandir64") { /* 1 if the directory is listed with the file */
        struct dirent64 **entries;
        int count = scandir64(dir, &entries, NULL, alphasort64), found = 0;
        for (int i = 0; i < count; i++) found += !strcmp(entries[i]->d_name, name);
        return result(count, found);
    }
    IS("mkdir") return result(mkdir(path, 0755), 0);
    IS("mkdirat") return result(mkdirat(AT_FDCWD, path, 0755), 0);
    IS("mkfifo") return result(mkfifo(path, 0644), 0);
    IS("symlink") return result(symlink("x", path), 0);
    IS("symlinkat") return result(symlinkat("x", AT_FDCWD, path), 0);
    /* The path is the new name of a file that is there. */
    if (strstr(call, " over")) close(open(other, O_WRONLY | O_CREAT, 0644));
    IS("link over") return result(link(other, path), 0);
    IS("linkat over") return result(linkat(AT_FDCWD, other, AT_FDCWD, path, 0), 0);
    IS("noreplace over") return result(renameat2(AT_FDCWD, other, AT_FDCWD, path, RENAME_NOREPLACE), 0);
    IS("rename over") return rename(other, path) ? bad() : result(stat(path, &st), st.st_size);
    IS("relative") return chdir(dir) ? bad() : drain(open(name, O_RDONLY));
    IS("relative stat") return chdir(dir) ? bad() : result(stat(name, &st), st.st_size);
    IS("dirfd") return drain(openat(open(dir, O_RDONLY | O_DIRECTORY), name, O_RDONLY));
    IS("dots") {
        snprintf(other, sizeof other, "%s/..//%s/./%s", dir, basename(dir), name);
        return drain(open(other, O_RDONLY));
    }
    IS("threads") {
        pthread_t threads[64];
        shared_path = path;
        long failed = 0;
        for (int i = 0; i < 64; i++) pthread_create(&threads[i], NULL, open_in_thread, NULL);
        for (int i = 0; i < 64; i++) {
            void *one;
            pthread_join(threads[i], &one);
            failed += one != NULL;
        }
        return ok(failed);
    }
    IS("bad pointer") {
        const char *nowhere = (const char *)8;
        errno = 0;
        int faults = open(nowhere, O_RDONLY) < 0 && errno == EFAULT;
        errno = 0;
        faults += open(nowhere, O_RDWR | O_CREAT, 0644) < 0 && errno == EFAULT;
        errno = 0;
        faults += stat(nowhere, &st) < 0 && errno == EFAULT;
        return ok(faults);
    }
    IS("bad addresses") { /* where an open that may create must look at the path first */
        char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(pages + 4096, 4096);
        memset(pages, 'a', 4096);
        errno = 0;
        int faults = open(NULL, O_RDWR | O_CREAT, 0644) < 0 && errno == EFAULT;
        errno = 0;
        faults += !fopen(NULL, "a") && errno == EFAULT;
        errno = 0;
        faults += open(pages + 4088, O_RDWR | O_CREAT, 0644) < 0 && errno == EFAULT;
        return ok(faults);
    }
    IS("no descriptor left") {
        struct rlimit limit = {3, 3};
        setrlimit(RLIMIT_NOFILE, &limit);
        return result(stat(path, &st), st.st_size);
    }
    IS("renamed there, evicted") { /* 2: it was absent before and after */
        snprintf(other, sizeof other, "%s/tmp.1.2.3", dir);
        int absent = stat(path, &st) < 0 && errno == ENOENT;
        close(open(other, O_WRONLY | O_CREAT, 0644));
        if (rename(other, path) || unlink(path)) return bad();
        return ok(absent + (stat(path, &st) < 0 && errno == ENOENT));
    }
    IS("quiet errno") {
        errno = 77;
        int fd = open(path, O_RDONLY);
        close(fd);
        return ok(errno);
    }
    return 2;
}
