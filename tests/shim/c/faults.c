/* Makes every call with paths that no call can take, and prints what each said: under the library and
 * without it the output is to be the same. Argument: a directory of the depot, with a file, a loop of links
 * and a dangling link in it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

int __open_2(const char *, int);
int __openat64_2(int, const char *, int);
int __xstat(int, const char *, struct stat *);
int __lxstat64(int, const char *, struct stat64 *);
int __fxstatat(int, int, const char *, struct stat *, int);

static char out[PATH_MAX];
static struct stat st;
static struct stat64 st64;
static struct statx stx;
static struct statvfs vfs;
static struct statfs fs;
static struct dirent **entries;
static char *const arguments[] = {"x", NULL};

/* Prints whether the call failed, and how; what it opened is left open. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        errno = 77;                                                                                \
        long rc_ = (long)(call);                                                                   \
        printf("  %-60.60s %s %s\n", #call, rc_ == -1 ? "-1" : rc_ ? "+" : "0",                    \
               errno == 77 ? "unchanged" : strerrorname_np(errno));                                \
    } while (0)

static void try_all(const char *volatile p, const char *there, int readable) {
    TRY(open(p, O_RDONLY));
    TRY(open(p, O_RDWR | O_CREAT | O_EXCL, 0644));
    TRY(open(p, O_WRONLY | O_APPEND));
    TRY(open64(p, O_RDONLY | O_DIRECTORY));
    TRY(openat(AT_FDCWD, p, O_RDWR));
    TRY(openat(-5, p, O_RDONLY));
    TRY(openat64(AT_FDCWD, p, O_PATH));
    TRY(__open_2(p, O_RDONLY));
    TRY(__openat64_2(AT_FDCWD, p, O_RDONLY));
    TRY(fopen(p, "r"));
    TRY(fopen64(p, "r+"));
    TRY(stat(p, &st));
    TRY(lstat(p, &st));
    TRY(stat64(p, &st64));
    TRY(fstatat(AT_FDCWD, p, &st, AT_SYMLINK_NOFOLLOW));
    TRY(fstatat(-5, p, &st, 0));
    TRY(fstatat(1, p, &st, 0));
    TRY(statx(AT_FDCWD, p, 0, STATX_SIZE, &stx));
    TRY(__xstat(1, p, &st));
    TRY(__lxstat64(1, p, &st64));
    TRY(__fxstatat(1, AT_FDCWD, p, &st, 0));
    TRY(access(p, R_OK));
    TRY(faccessat(AT_FDCWD, p, R_OK, AT_EACCESS));
    TRY(euidaccess(p, R_OK));
    TRY(statvfs(p, &vfs));
    TRY(statfs(p, &fs));
    TRY(getxattr(p, "user.x", out, 10));
    TRY(llistxattr(p, NULL, 0));
    TRY(setxattr(p, "user.", "", 1, 0));
    TRY(truncate(p, -1));
    TRY(chmod(p, 0644));
    TRY(fchmodat(AT_FDCWD, p, 0644, 0));
    TRY(chown(p, -1, -1));
    TRY(lchown(p, -1, -1));
    TRY(utimensat(AT_FDCWD, p, NULL, AT_SYMLINK_NOFOLLOW | 0x40000000));
    TRY(readlink(p, out, sizeof out));
    TRY(readlinkat(AT_FDCWD, p, out, 0));
    if (readable) TRY(realpath(p, out)); /* the C library itself reads the path */
    TRY(unlink(p && *there && p == there ? "" : p));
    TRY(unlinkat(AT_FDCWD, p, AT_REMOVEDIR));
    TRY(rename(p, "/nowhere/at/all"));
    TRY(rename("/nowhere/at/all", p));
    TRY(renameat2(AT_FDCWD, there, AT_FDCWD, p, RENAME_NOREPLACE | RENAME_EXCHANGE));
    TRY(link(p, "/nowhere/at/all"));
    TRY(link("/nowhere/at/all", p));
    TRY(symlink("", p));
    TRY(symlink(p, there));
    TRY(mkdir(p, 0755) ? -1 : rmdir(p) - 5);
    TRY(mkfifo(p, 0644) ? -1 : unlink(p) - 5);
    if (readable) TRY(opendir(p));
    if (readable) TRY(scandir(p, &entries, NULL, NULL));
    TRY(chdir(p) ? -1 : chdir(out) - 5);
    TRY(execv(p, arguments));
    TRY(posix_spawn(NULL, p, NULL, NULL, arguments, environ));
}

int main(int argc, char **argv) {
    const char *dir = argv[1];
    char there[PATH_MAX], path[PATH_MAX];
    static char long_path[32768];
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(pages + 4096, 4096);
    memset(pages, 'a', 4096);
    snprintf(there, sizeof there, "%s/file", dir);
    memset(long_path, 'a', sizeof long_path - 1);
    for (size_t i = 0; i < sizeof long_path - 1; i += 100) long_path[i] = '/';
    memcpy(long_path, there, strlen(there));
#define WITH(name, p) puts(name), try_all(p, there, 1)
#define WITH_BAD(name, p) puts(name), try_all(p, there, 0)
    setvbuf(stdout, NULL, _IOLBF, 0);
    WITH_BAD("null", NULL);
    WITH_BAD("bad pointer", (const char *)8);
    WITH_BAD("runs into nothing", pages + 4088);
    WITH_BAD("kernel's", (const char *)0xffff800000000000);
    WITH("32 KiB", long_path);
    WITH("empty", "");
    WITH("relative", "none/none");
    static const char *const below[] = {
        "file/x", "file/", "loop", "loop/x", "none", "none/x", "none/", "dangling", "dangling/x",
        "x\ny", ".p4cache/none", "..//d/./none", "tmp.1.2.3",
    };
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, below[i]);
        WITH(below[i], path);
    }
    snprintf(path, sizeof path, "%s/%0300d", dir, 0);
    WITH("name too long", path);
    return 0;
}
