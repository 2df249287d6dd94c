/* many: many depot files looked at, or read, in one call. `in` is a packed list of paths: u16 length,
 * path. Rules as in files.h. Paths in the order of their directories are cheapest: each directory is
 * resolved once.
 */
#ifndef P4_MANY_H
#define P4_MANY_H
#include "files.h"

/* Stats them: out[i].nlink is 0 where the path names no regular file; then out[i].size is -errno, or 0
 * for another type. */
P4_EXPORT int32_t p4many_stat(int32_t root, const uint8_t *in, uint64_t in_len, p4_stat *out,
                              uint32_t out_cap);

/* The size of each of these files, as they are now: out[i] is -errno where the path names no regular
 * file, -EINVAL for another type. Returns how many there were. */
P4_EXPORT int32_t p4many_sizes(int32_t root, const uint8_t *in, uint64_t in_len, int64_t *out,
                               uint32_t out_cap);

enum { P4_READ_OK = 0, P4_READ_LARGE = 1, P4_READ_WRITING = 2, P4_READ_CHANGED = 3 };
typedef struct {
    int32_t status; /* P4_READ_* or -errno */
    uint32_t reserved;
    uint64_t offset; /* of the content in `out` */
    p4_stat stat;
} p4_read;

/* Reads small files whole. Files over `max_bytes`, and those that find no room left in `out`, get
 * P4_READ_LARGE. */
P4_EXPORT int32_t p4many_read(int32_t root, const uint8_t *in, uint64_t in_len, uint64_t max_bytes,
                              uint8_t *out, uint64_t cap, p4_read *results, uint32_t results_cap);
#endif
