/* nfs_object: objects kept as plain files below one archive directory.
 *
 * Rules
 * 1. Every name is resolved beneath `root` with no symbolic link followed (openat2).
 * 2. An object appears or is replaced whole: written under P4NFS_TEMP_DIR, synced, renamed over its
 *    path, and the directories that changed are synced, before the call returns 0.
 * 3. What the file system cannot say itself (the content digest) is in the extended attribute
 *    user.p4cache.digest; where extended attributes are not supported it is left out.
 * 4. Results are 0 or more, or -errno. Nothing here depends on the calling thread.
 */
#ifndef P4_NFS_OBJECT_H
#define P4_NFS_OBJECT_H
#include "files.h"

#define P4NFS_TEMP_DIR ".p4cache-tmp"
enum { P4NFS_DIGEST_CAP = 96 };

typedef struct {
    int64_t size;
    int64_t mtime_ns;
    int64_t ctime_ns;
    uint64_t inode;
    uint32_t mode;
    uint32_t digest_length; /* 0 where the file has none */
    char digest[P4NFS_DIGEST_CAP];
} p4nfs_info;

/* What is stored with an object. */
typedef struct {
    int64_t mtime_ns;
    uint32_t mode;
    uint32_t digest_length;
    char digest[P4NFS_DIGEST_CAP];
} p4nfs_attributes;

/* 0: `dir` is the directory `root` was opened as. 1: it is another one. -errno: it cannot be
 * reached, or `root` itself no longer can (ESTALE; ENOENT when it was removed). */
P4_EXPORT int32_t p4nfs_check_root(int32_t root, const char *dir);
/* 0 when `root` has a P4NFS_TEMP_DIR: somebody stored objects there. */
P4_EXPORT int32_t p4nfs_has_marker(int32_t root);

/* Creates the temporary file `temp` (a plain name), making the temporary directory when missing. */
P4_EXPORT int32_t p4nfs_create(int32_t root, const char *temp);
/* Publishes an open temporary file at `path`; with `exclusive` only where nothing is there, else
 * -EEXIST. Does not close `fd`; removes `temp` on failure. */
P4_EXPORT int32_t p4nfs_publish(int32_t root, int32_t fd, const char *temp, const char *path,
                                int32_t exclusive, const p4nfs_attributes *attributes,
                                p4nfs_info *out);
/* Create, write and publish in one call. */
P4_EXPORT int32_t p4nfs_put_small(int32_t root, const char *temp, const char *path,
                                  int32_t exclusive, const uint8_t *data, uint64_t length,
                                  const p4nfs_attributes *attributes, p4nfs_info *out);
P4_EXPORT int32_t p4nfs_discard(int32_t root, const char *temp);
/* Copies up to `length` bytes at `offset` of the object at `from` to the same offset of `fd`, on the
 * server where it can. Returns the bytes copied, fewer only at the end; `out` and -EAGAIN are those
 * of p4nfs_read. */
P4_EXPORT int64_t p4nfs_copy_range(int32_t root, const char *from, int32_t fd, uint64_t length,
                                   int64_t offset, p4nfs_info *out);

/* -EISDIR where the path names a directory, -EINVAL where it names something stranger. -ENOENT only when,
 * after the look, `dir` was the directory `root` was opened as; else -ESTALE. */
P4_EXPORT int32_t p4nfs_stat(int32_t root, const char *dir, const char *path, p4nfs_info *out);
/* Reads up to `length` bytes; `out` describes the file as it was before and after the read, -EAGAIN
 * when that differs. Returns the bytes read, fewer only at the end of the file. */
P4_EXPORT int64_t p4nfs_read(int32_t root, const char *path, uint8_t *data, uint64_t length,
                             int64_t offset, p4nfs_info *out);
/* Opens the object, and describes it. */
P4_EXPORT int32_t p4nfs_open(int32_t root, const char *path, p4nfs_info *out);
P4_EXPORT int32_t p4nfs_remove(int32_t root, const char *path);

/* Opens the directory `path` ("." for the root) for p4nfs_list. */
P4_EXPORT int32_t p4nfs_open_dir(int32_t root, const char *path);
/* The next entries of a directory as packed records, 0 at its end: u8 type (0 regular file,
 * 1 directory), u16 name length, i64 size, mtime ns, ctime ns, u64 inode, name. Other types are
 * left out. `cap` is at least 64 KiB. */
P4_EXPORT int64_t p4nfs_list(int32_t dir, uint8_t *out, uint64_t cap);
#endif
