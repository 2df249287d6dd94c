/* room: disk space that is kept for one file's growth. */
#ifndef P4_ROOM_H
#define P4_ROOM_H
#include "kv.h"

/* Keeps so many bytes of disk space behind the end of the file at the absolute path; 0 gives them back,
 * and then nobody may write to the file meanwhile. The file's size, which `size` gets, stays. A filesystem
 * that cannot do so is left alone. Returns -errno on failure. */
P4_EXPORT int32_t p4room_keep(const char *path, int64_t bytes, int64_t *size);
#endif
