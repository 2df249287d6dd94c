/* What programs do to their threads, descriptors, stacks and rights while files come back: one scenario
 * by its name, in a directory of the depot where f0, f1 … are evicted. Prints "ok" or what went wrong. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *dir;

static int wrong(const char *what, int i) {
    printf("%s (%d): %s\n", what, i, strerrorname_np(errno));
    return 1;
}
static const char *file(char out[PATH_MAX], int i) {
    snprintf(out, PATH_MAX, "%s/f%d", dir, i);
    return out;
}
/* Opens fN and compares its content with its name. */
static int is_whole(int i) {
    char path[PATH_MAX], have[32] = {0}, want[32];
    int fd = open(file(path, i), O_RDONLY);
    if (fd < 0) return 0;
    ssize_t n = read(fd, have, sizeof have - 1);
    close(fd);
    snprintf(want, sizeof want, "f%d\n", i);
    errno = 0;
    return n > 0 && !strcmp(have, want);
}
static int open_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 4096; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void *one_file(void *i) { return (void *)(long)!is_whole((int)(long)i); }

static int threads(void) {
    enum { N = 1000 };
    static pthread_t all[N];
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    int before = open_descriptors();
    for (long i = 0; i < N; i++)
        if (pthread_create(&all[i], &small, one_file, (void *)(i / 2))) return wrong("pthread_create", 0);
    for (int i = 0; i < N; i++) {
        void *failed;
        pthread_join(all[i], &failed);
        if (failed) return wrong("open in a thread", i);
    }
    if (open_descriptors() > before + 4) return wrong("descriptors left open", open_descriptors());
    return 0;
}

static int stop;
static void *keep_opening(void *first) {
    for (int i = 0; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); i++)
        if (!is_whole((int)(long)first + i % 50)) return (void *)1;
    return NULL;
}
static int forks(void) {
    pthread_t all[8];
    int bad = 0;
    for (long i = 0; i < 8; i++) pthread_create(&all[i], NULL, keep_opening, (void *)(i * 50));
    for (int i = 0; i < 60; i++) {
        pid_t child = fork();
        if (!child) _exit(is_whole(400 + i) && is_whole(460 + i) ? 0 : 1);
        int status;
        if (waitpid(child, &status, 0) != child || status) bad++;
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 8; i++) {
        void *failed;
        pthread_join(all[i], &failed);
        bad += failed != NULL;
    }
    return bad ? wrong("children and threads that failed", bad) : 0;
}

/* The child shares this process's memory, but not its descriptors. */
static int vforks(void) {
    char path[PATH_MAX];
    if (!is_whole(0)) return wrong("before", 0);
    for (int i = 1; i < 20; i++) {
        file(path, i);
        pid_t child = vfork();
        if (!child) {
            int there = access(path, R_OK) == 0;
            if (!there) _exit(1);
            execl("/usr/bin/test", "test", "-s", path, (char *)NULL);
            _exit(2);
        }
        int status;
        if (waitpid(child, &status, 0) != child || status) return wrong("child", status);
        if (!is_whole(100 + i)) return wrong("after a child", i);
    }
    return 0;
}

static volatile int handled, handler_failed;
static void handler(int signal) {
    (void)signal;
    int saved = errno;
    if (!is_whole(200 + handled % 100)) handler_failed = 1;
    handled++;
    errno = saved;
}
static int signals(void) {
    struct sigaction action = {.sa_handler = handler}; /* not SA_RESTART */
    sigaction(SIGALRM, &action, NULL);
    struct itimerval every = {{0, 2000}, {0, 2000}};
    setitimer(ITIMER_REAL, &every, NULL);
    int failed = 0;
    for (int i = 0; i < 100; i++) failed += !is_whole(i);
    while (handled < 20) pause();
    every = (struct itimerval){0};
    setitimer(ITIMER_REAL, &every, NULL);
    return failed || handler_failed ? wrong("opens that were disturbed", failed) : 0;
}

static int ready[2];
static void *open_slowly(void *i) {
    char path[PATH_MAX];
    if (write(ready[1], "", 1) != 1) return NULL;
    close(open(file(path, (int)(long)i), O_RDONLY));
    pthread_testcancel();
    return NULL;
}
static int cancel(void) {
    char c;
    if (pipe(ready)) return 1;
    for (long i = 0; i < 5; i++) {
        pthread_t thread;
        void *result;
        pthread_create(&thread, NULL, open_slowly, (void *)i);
        if (read(ready[0], &c, 1) != 1) return 1;
        usleep(20000); /* the daemon takes longer */
        pthread_cancel(thread);
        pthread_join(thread, &result);
        if (result != PTHREAD_CANCELED) return wrong("not cancelled", (int)i);
        if (!is_whole(10 + (int)i)) return wrong("after a cancelled thread", (int)i);
    }
    return 0;
}

/* Closes everything, then puts its own descriptors where kept connections were. */
static int closing(void) {
    int pair[2], lowest = open("/dev/null", O_RDONLY);
    char c;
    close(lowest);
    if (!is_whole(0) || !is_whole(1)) return wrong("before", 0);
    int next = open("/dev/null", O_RDONLY);
    if (next != lowest) return wrong("not the lowest descriptor", next);
    for (int round = 0; round < 5; round++) {
        close_range(3, ~0u, 0);
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return wrong("socketpair", 0);
        for (int fd = 250; fd < 270; fd++) dup2(pair[0], fd);
        if (!is_whole(2 + round)) return wrong("after close_range", round);
        if (recv(pair[1], &c, 1, MSG_DONTWAIT) >= 0) return wrong("talked on another's descriptor", round);
        if (fcntl(255, F_GETFD) < 0) return wrong("closed another's descriptor", round);
    }
    return 0;
}

static void *on_tiny_stack(void *ignored) {
    static char path[PATH_MAX], other[PATH_MAX];
    static struct stat st;
    (void)ignored;
    char *failed = "stat";
    if (stat(file(path, 0), &st)) return failed;
    failed = "open";
    if (open(file(path, 1), O_RDWR | O_CREAT, 0644) < 0) return failed;
    failed = "open again";
    if (open(path, O_WRONLY | O_APPEND) < 0) return failed;
    failed = "rename";
    if (rename(file(path, 2), file(other, 1003))) return failed;
    failed = "unlink";
    if (unlink(file(path, 4))) return failed;
    failed = "mkdir";
    if (!mkdir(file(path, 5), 0755) || errno != EEXIST) return failed;
    failed = "relative";
    if (chdir(dir) || access("./../d//f6", R_OK)) return failed;
    failed = "absent";
    if (!stat("none", &st) || errno != ENOENT) return failed;
    return NULL;
}
static int tiny_stack(void) {
    pthread_attr_t tiny;
    pthread_t thread;
    void *failed;
    pthread_attr_init(&tiny);
    if (pthread_attr_setstacksize(&tiny, PTHREAD_STACK_MIN)) return wrong("stack size", 0);
    if (pthread_create(&thread, &tiny, on_tiny_stack, NULL)) return wrong("pthread_create", 0);
    pthread_join(thread, &failed);
    return failed ? wrong(failed, 0) : 0;
}

/* A filter that ends the process at the first call that talks to another. */
static int confined(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendto, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    char path[PATH_MAX];
    if (!is_whole(0)) return wrong("before", 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return wrong("no_new_privs", 0);
    if (!is_whole(1)) return wrong("without new rights, not yet confined", 1);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return wrong("seccomp", 0);
    if (!is_whole(1)) return wrong("a file that is there", 1);
    if (open(file(path, 2), O_RDONLY) >= 0 || errno != EIO) return wrong("not EIO", 2);
    return 0;
}

/* Argument: a directory to go into; there is no depot in it. */
static int jailed(void) {
    char path[PATH_MAX];
    if (!is_whole(0)) return wrong("before", 0);
    if (chroot(getenv("JAIL")) || chdir("/")) return wrong("chroot", 0);
    if (open(file(path, 1), O_RDONLY) >= 0 || errno != ENOENT) return wrong("not ENOENT", 1);
    return 0;
}

/* Every way to run a program; each fN ends with 7. */
static int ended_well(pid_t child, int way) {
    int status;
    if (waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7) return 1;
    wrong("run", way);
    return 0;
}
static int spawned(void) {
    char path[PATH_MAX];
    for (int way = 0; way < 7; way++) {
        char *const argv[] = {"program", NULL};
        int dirfd = open(dir, O_RDONLY | O_DIRECTORY);
        file(path, way);
        pid_t child = fork();
        if (!child) {
            if (way == 0) execve(path, argv, environ);
            if (way == 1) execv(path, argv);
            if (way == 2) execvp(path, argv);
            if (way == 3) execl(path, "program", "1", "2", "3", (char *)NULL);
            if (way == 4) execlp(path, "program", (char *)NULL);
            if (way == 5) execle(path, "program", "1", (char *)NULL, environ);
            if (way == 6) execveat(dirfd, path + strlen(dir) + 1, argv, environ, 0);
            _exit(1);
        }
        if (!ended_well(child, way)) return 1;
        close(dirfd);
    }
    for (int way = 7; way < 9; way++) {
        char *const argv[] = {"program", NULL};
        pid_t child;
        errno = 77;
        int error = (way == 7 ? posix_spawn : posix_spawnp)(&child, file(path, way), NULL, NULL, argv, environ);
        if (error || errno != 77) return wrong("posix_spawn", error);
        if (!ended_well(child, way)) return 1;
    }
    if (WEXITSTATUS(system(file(path, 9))) != 7) return wrong("system", 9);
    pid_t child;
    char *const argv[] = {"program", NULL};
    strcat(path, "none");
    if (posix_spawn(&child, path, NULL, NULL, argv, environ) != ENOENT) return wrong("not ENOENT", 0);
    return execv(path, argv) == -1 && errno == ENOENT ? 0 : wrong("not ENOENT", 1);
}

int main(int argc, char **argv) {
    static const struct { const char *name; int (*run)(void); } scenarios[] = {
        {"threads", threads}, {"forks", forks}, {"vforks", vforks}, {"signals", signals},
        {"cancel", cancel}, {"closing", closing}, {"tiny stack", tiny_stack}, {"confined", confined},
        {"jailed", jailed}, {"spawned", spawned},
    };
    if (argc != 3) return 2;
    dir = argv[2];
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (strcmp(argv[1], scenarios[i].name)) continue;
        if (scenarios[i].run()) return 1;
        puts("ok");
        return 0;
    }
    return 2;
}
