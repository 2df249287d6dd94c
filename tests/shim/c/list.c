/* Lists a directory one way or another: prints its names in order, or the error. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *names[1000];
static int count;

static void add(const char *name) {
    if (strcmp(name, ".") && strcmp(name, "..")) names[count++] = strdup(name);
}
static int by_name(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }
static int any(const struct dirent *entry) { return entry->d_ino != 0; }

int main(int argc, char **argv) {
    const char *way = argv[1], *path = argv[2];
    struct dirent *entry, **all;
    struct dirent64 *entry64;
    if (!strcmp(way, "scandir")) {
        int n = scandir(path, &all, any, alphasort);
        for (int i = 0; i < n; i++) add(all[i]->d_name);
        if (n < 0) return puts(strerrorname_np(errno)), 1;
    } else {
        DIR *dir = !strcmp(way, "fdopendir") ? fdopendir(open(path, O_RDONLY)) : opendir(path);
        if (!dir) return puts(strerrorname_np(errno)), 1;
        if (!strcmp(way, "rewind")) {
            while (readdir(dir)) continue;
            rewinddir(dir);
        }
        errno = 77;
        if (!strcmp(way, "readdir64"))
            while ((entry64 = readdir64(dir))) add(entry64->d_name);
        else
            while ((entry = readdir(dir))) add(entry->d_name);
        if (errno != 77) return puts("errno was changed"), 1;
        if (!strcmp(way, "seek")) { /* each entry once more, from where it begins */
            rewinddir(dir);
            for (int i = 0; i < count + 2; i++) {
                long here = telldir(dir);
                entry = readdir(dir);
                char *first = entry ? strdup(entry->d_name) : "end";
                seekdir(dir, here);
                entry = readdir(dir);
                if (strcmp(first, entry ? entry->d_name : "end")) return puts(first), 1;
            }
        }
        closedir(dir);
    }
    qsort(names, count, sizeof *names, by_name);
    for (int i = 0; i < count; i++) printf("%s%s", names[i], i + 1 < count ? " " : "\n");
    return 0;
}
