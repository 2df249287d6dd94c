/* Opens files, to see what is noted of it and what it costs.
 *
 *   opens many DIR       DIR/0 to DIR/999; then prints a line, and waits for standard input's end
 *   opens cancelled DIR  DIR/0 in a thread that is being cancelled, then DIR/1: "ok"
 *   opens often DIR      DIR/0, DIR/none, and stat of both, as often as $TIMES says: "ok" */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
