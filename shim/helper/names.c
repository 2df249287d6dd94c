/* names: see names.h. */
#include "names.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The name whose inode the others share; it is never removed. */
static const char BASE[] = "base";

static int make(int dir, const char *name) {
    return mknodat(dir, name, S_IFREG | 0600, 0) ? -errno : 0;
}

int32_t p4names_add(int32_t dir, const char *name) {
    if (!linkat(dir, BASE, dir, name, 0)) return 0;
    /* The inode has all the names that it may have (65,000 on ext4): one of its own. */
    if (errno == EMLINK) return make(dir, name);
    if (errno != ENOENT) return -errno;
    int error = make(dir, BASE);
    if (error && error != -EEXIST) return error;
    return linkat(dir, BASE, dir, name, 0) ? -errno : 0;
}

int32_t p4names_remove(int32_t dir, const char *names, uint64_t names_len) {
    int first = 0;
    for (const char *name = names; name < names + names_len; name += strlen(name) + 1) {
        if (!strcmp(name, BASE) || !unlinkat(dir, name, 0) || errno == ENOENT) continue;
        if (!first) first = -errno;
    }
    return first;
}
