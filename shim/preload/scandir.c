/* scandir: the C library's reads directories inside; this one by the functions of list.c. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shim.h"

typedef int (*filter_call)(const struct dirent64 *);
typedef int (*compare_call)(const struct dirent64 **, const struct dirent64 **);
typedef int (*scandir_call)(const char *, struct dirent64 ***, filter_call, compare_call);

static void free_all(struct dirent64 **entries, size_t count) {
    while (count) free(entries[--count]);
    free(entries);
}

/* Adds a copy of the entry; 0 without memory. */
static int add(struct dirent64 ***entries, size_t *count, size_t *cap, const struct dirent64 *entry) {
    if (*count == *cap) {
        *cap = *cap ? 2 * *cap : 32;
        struct dirent64 **grown = realloc(*entries, *cap * sizeof *grown);
        if (!grown) return 0;
        *entries = grown;
    }
    struct dirent64 *copy = malloc(sizeof *copy);
    if (!copy) return 0;
    memcpy(copy, entry, offsetof(struct dirent64, d_name) + strlen(entry->d_name) + 1);
    (*entries)[(*count)++] = copy;
    return 1;
}

static int scan(DIR *dir, struct dirent64 ***out, filter_call filter, compare_call compare) {
    struct dirent64 **entries = NULL, *entry;
    size_t count = 0, cap = 0;
    int before = errno, error;
    for (;;) {
        errno = 0;
        entry = readdir64(dir);
        if (!entry) break;
        if (filter) errno = before;
        if (filter && !filter(entry)) continue;
        if (!add(&entries, &count, &cap, entry)) break;
    }
    error = entry ? ENOMEM : errno;
    closedir(dir);
    errno = error ? error : before;
    if (error) {
        free_all(entries, count);
        return -1;
    }
    if (compare && count)
        qsort(entries, count, sizeof *entries, (int (*)(const void *, const void *))(void *)compare);
    *out = entries;
    return (int)count;
}

static int shim_scandir(scandir_call call, const char *path, struct dirent64 ***out, filter_call filter,
                        compare_call compare) {
    if (!p4_depot.lists_evicted) return call(path, out, filter, compare);
    DIR *dir = opendir(path);
    return dir ? scan(dir, out, filter, compare) : -1;
}

P4_API int scandir64(const char *restrict path, struct dirent64 ***restrict out, filter_call filter,
                     compare_call compare) {
    return shim_scandir(P4_REAL("scandir64", scandir_call), path, out, filter, compare);
}
/* The two kinds of entry are the same on 64-bit machines. */
P4_API int scandir(const char *restrict path, struct dirent ***restrict out,
                   int (*filter)(const struct dirent *),
                   int (*compare)(const struct dirent **, const struct dirent **)) {
    return shim_scandir(P4_REAL("scandir", scandir_call), path, (struct dirent64 ***)out,
                        (filter_call)filter, (compare_call)compare);
}
