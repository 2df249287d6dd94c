/* Opens files, to see what is noted of it and what it costs.
 *
 *   opens many DIR       DIR/0 to DIR/999; then prints a line, and waits for standard input's end
 *   opens cancelled DIR  DIR/0 in a thread that is being cancelled, then DIR/1: "ok"
 *   opens edges DIR      paths of files and of none that end at, or near, the end of what can be read: "ok"
 *   opens often DIR      DIR/0, DIR/none, and stat of both, as often as $TIMES says: "ok" */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[4096];
static int came_back;

static const char *name(const char *dir, const char *file) {
    snprintf(path, sizeof path, "%s/%s", dir, file);
    return path;
}

static int open_one(const char *dir, const char *file) {
    int fd = open(name(dir, file), O_RDONLY);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

/* "c": the open is no cancellation point, so nothing in it may be one. */
static void *cancel_myself(void *dir) {
    name(dir, "0");
    pthread_cancel(pthread_self());
    FILE *stream = fopen(path, "rc");
    came_back = stream != NULL;
    pthread_testcancel();
    return NULL;
}

static void *nothing(void *ignored) { return ignored; }

/* Each path so far from the end of a page that has none after it, and, the last time, at its beginning with
 * none before. */
static int open_at_edges(const char *dir) {
    char *page = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char inside[4096], none[4096];
    const char *paths[] = {inside, none, "0", "none", "/dev/null", "/", "/n", dir};
    int right = 1;
    struct stat st;
    munmap(page, 4096);
    page += 4096;
    munmap(page + 4096, 4096);
    snprintf(inside, sizeof inside, "%s/0", dir);
    snprintf(none, sizeof none, "%s/none", dir);
    for (int from_end = 0; from_end < 100; from_end++) {
        for (int i = 0; i < 8; i++) {
            size_t size = strlen(paths[i]) + 1;
            char *at = memcpy(from_end < 99 ? page + 4096 - from_end - size : page, paths[i], size);
            int is_none = i == 1 || i == 3 || i == 6;
            for (int times = 0; times < 2; times++) {
                int fd = open(at, O_RDONLY);
                right &= fd < 0 == is_none && stat(at, &st) < 0 == is_none;
                if (fd >= 0) close(fd);
            }
        }
    }
    return right;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    const char *what = argv[1], *dir = argv[2];
    int right = 1;
    if (!strcmp(what, "many")) {
        for (int i = 0; i < 1000; i++) {
            char file[16];
            snprintf(file, sizeof file, "%d", i);
            right &= open_one(dir, file);
        }
        puts("opened"), fflush(stdout);
        char byte;
        while (read(0, &byte, 1) > 0) {
        }
    } else if (!strcmp(what, "cancelled")) {
        pthread_t thread;
        void *result;
        pthread_create(&thread, NULL, cancel_myself, (void *)dir);
        pthread_join(thread, &result);
        right = came_back && result == PTHREAD_CANCELED && open_one(dir, "1");
    } else if (!strcmp(what, "edges")) {
        pthread_t thread;
        right = !chdir(dir) && open_at_edges(dir);
        pthread_create(&thread, NULL, nothing, NULL);
        pthread_join(thread, NULL);
        right &= open_at_edges(dir); /* with threads it is another way */
    } else {
        struct stat st;
        for (int i = 0; i < atoi(getenv("TIMES")); i++) {
            right &= open_one(dir, "0") && !open_one(dir, "none");
            right &= !stat(name(dir, "0"), &st) && stat(name(dir, "none"), &st) < 0;
        }
    }
    puts(right ? "ok" : "wrong");
    return !right;
}
