/* dir_table: knows the depot path of every directory by its file handle.
 *
 * fanotify names a directory by handle, which stays the same whatever path or mount a writer used. A
 * node is a directory: handle, name, parent. A rename changes one node, and with it the paths of all
 * below. A node without a place (its parent unknown) is outside the depot.
 */
#ifndef P4_DIR_TABLE_H
#define P4_DIR_TABLE_H
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>

typedef struct p4_dirs p4_dirs;
typedef struct p4_dir p4_dir;

p4_dirs *p4dirs_new(int root);
void p4dirs_free(p4_dirs *dirs);

/* Forgets everything and learns the whole tree anew. -errno when there is no memory or the depot
 * itself cannot be read; directories that cannot be read are passed over. */
int p4dirs_learn_all(p4_dirs *dirs);

p4_dir *p4dirs_find(p4_dirs *dirs, const struct file_handle *handle);

/* Writes the path of `name` in the directory; its length, or -ENOENT when the directory has no place in
 * the depot, -ENAMETOOLONG. */
int p4dirs_path(p4_dirs *dirs, p4_dir *dir, const char *name, char *path, size_t cap);

/* Something happened to the directory entry `path` (`name` in `parent`), which named the directory
 * `handle`: puts the table in line with what is there now. With `deep`, all directories below are
 * learned too. Returns 1 when a directory is there, 0 when none is, or -errno. */
int p4dirs_update(p4_dirs *dirs, p4_dir *parent, const char *name, const char *path,
                  const struct file_handle *handle, int deep);
#endif
