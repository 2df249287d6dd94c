/* names: a directory in which only the names count. Its files are empty: many names of one inode, so that
 * a name costs an entry in the directory and nothing else. Nothing here is synced: names are on the disk
 * before whatever was done after them, by the order of the filesystem's journal, and that is all they
 * promise. Results are 0, or -errno.
 */
#ifndef P4_NAMES_H
#define P4_NAMES_H
#include "files.h"

/* Adds a name to the open directory. -EEXIST when it is there. */
P4_EXPORT int32_t p4names_add(int32_t dir, const char *name);

/* Removes names, each with its NUL; those that are not there are no failure. Goes through all of them,
 * and returns the first failure. */
P4_EXPORT int32_t p4names_remove(int32_t dir, const char *names, uint64_t names_len);
#endif
