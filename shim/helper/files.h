/* files: depot files opened, read, placed and moved beneath the depot's directory.
 *
 * Rules
 * 1. Every name is resolved beneath `root` with no symbolic link followed (openat2), so nothing
 *    outside the depot is read or written (promise P6).
 * 2. A file appears at its path whole or not at all, and never over another one: written without a
 *    name (O_TMPFILE), linked when complete; linkat(2) fails with EEXIST (promise P2).
 * 3. Results are 0 or more, or -errno.
 */
#ifndef P4_FILES_H
#define P4_FILES_H
#include <stddef.h>
#include <stdint.h>

#define P4_EXPORT __attribute__((visibility("default")))

typedef struct {
    int64_t size;
    int64_t mtime_ns;
    uint32_t mode; /* with the file type */
    uint32_t nlink;
    uint64_t inode;
    int64_t ctime_ns;
} p4_stat;

/* Once per process: SIGIO, which breaks of our leases send, must not end it. */
P4_EXPORT void p4files_init(void);

P4_EXPORT int32_t p4files_open_root(const char *dir);
P4_EXPORT int32_t p4files_close(int32_t fd);

/* Creates and locks `path` for this process (flock); returns the descriptor, -EWOULDBLOCK when
 * another process holds it. */
P4_EXPORT int32_t p4files_lock(const char *path);

P4_EXPORT int32_t p4files_stat(int32_t root, const char *path, p4_stat *out);

/* Opens a regular file for reading and says what it is. -EINVAL for another type. */
P4_EXPORT int32_t p4files_open(int32_t root, const char *path, p4_stat *out);
P4_EXPORT int64_t p4files_pread(int32_t fd, uint8_t *out, uint64_t length, int64_t offset);
/* That range of the file will be read soon: the kernel may begin. */
P4_EXPORT void p4files_will_read(int32_t fd, uint64_t length, int64_t offset);
P4_EXPORT int32_t p4files_fstat(int32_t fd, p4_stat *out);
/* 1 when some process has the file open for writing (a read lease is refused), else 0. */
P4_EXPORT int32_t p4files_being_written(int32_t fd);

/* A nameless file in the directory `dir` of the depot, for p4files_place. */
P4_EXPORT int32_t p4files_create_nameless(int32_t root, const char *dir);
/* Sets aside the blocks for so many bytes of a file that is still to be written: its writes need not
 * look for them (half of their time on ext4), and a disk without room says so now, and keeps what it
 * has. The file's size stays. Filesystems that cannot do so are left alone. */
P4_EXPORT int32_t p4files_set_aside(int32_t fd, int64_t size);
P4_EXPORT int32_t p4files_pwrite(int32_t fd, const uint8_t *data, uint64_t length, int64_t offset);
/* The directory that `path` is in, for p4files_place: kept open, it is the same one when renamed. */
P4_EXPORT int32_t p4files_open_parent(int32_t root, const char *path);
/* Gives the nameless file mode, mtime and the owner of its directory, and links it at `path`, making
 * parent directories like their siblings. -EEXIST when the path is taken. */
P4_EXPORT int32_t p4files_place(int32_t root, const char *path, int32_t fd, uint32_t mode,
                                int64_t mtime_ns, p4_stat *out);
/* The same in one call for content at hand. */
P4_EXPORT int32_t p4files_place_small(int32_t root, const char *path, const uint8_t *data,
                                      uint64_t length, uint32_t mode, int64_t mtime_ns, p4_stat *out);

/* Makes the directory, and its parents where missing, like their siblings; it may be there. */
P4_EXPORT int32_t p4files_make_dir(int32_t root, const char *path);

/* Renames beneath the root, never over an existing name. */
P4_EXPORT int32_t p4files_rename(int32_t root, const char *from, const char *to);
/* Exchanges two files in one step; the one that was at `aside` gets the owner of the one at `path`. */
P4_EXPORT int32_t p4files_exchange(int32_t root, const char *aside, const char *path);
P4_EXPORT int32_t p4files_unlink(int32_t root, const char *path);
/* What a directory is, whatever its name: filesystem id and file handle. It stays through renames and
 * restarts, and no other directory of the filesystem ever has it. Returns its length; -EOPNOTSUPP where
 * the filesystem has no handles. */
P4_EXPORT int32_t p4files_identity(int32_t root, const char *path, uint8_t *out, uint32_t cap);

/* Returns when everything written to the depot's filesystem is on the platter (syncfs). */
P4_EXPORT int32_t p4files_sync(int32_t root);
/* out: total bytes, available bytes, total inodes, available inodes. */
P4_EXPORT int32_t p4files_statfs(int32_t root, uint64_t out[4]);

/* For the other files of the helper: open beneath root; open the parent of path and point at its
 * last name. */
int p4_open_beneath(int root, const char *path, int flags);
int p4_open_parent(int root, const char *path, const char **name);
void p4_fill_stat(int fd, p4_stat *out, int *error);
/* p4files_set_aside, of all that the disk has if need be. */
int p4_allocate(int fd, int64_t size);
/* p4files_identity of an open directory. */
int p4_identity(int fd, uint8_t *out, uint32_t cap);
struct stat;
void p4_from_stat(const struct stat *st, p4_stat *out);
#endif
