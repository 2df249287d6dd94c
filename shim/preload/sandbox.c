/* sandbox: processes that give rights up for good. A seccomp filter may end a process for a call that the
 * program itself does not make, such as those that talk to the daemon. Filters are set after
 * PR_SET_NO_NEW_PRIVS; from then on nothing is sent unasked, and questions are put only where no filter
 * is. (A program that was confined before it was started shows its filter's rules at once.)
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

P4_WARM int p4_quiet;

static int confined;

/* Reads the kernel's word for it, by calls that a program which opens files may make. */
static int look(char *status, size_t cap) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 1;
    long n = syscall(SYS_read, fd, status, cap - 1);
    syscall(SYS_close, fd);
    if (n <= 0) return 1;
    status[n] = 0;
    const char *line = strstr(status, "\nSeccomp:");
    return line && line[9 + strspn(line + 9, " \t")] != '0';
}

int p4_is_confined(char *room, size_t cap) {
    if (!p4_quiet) return 0;
    if (!confined) {
        int saved = errno;
        confined = look(room, cap);
        errno = saved;
    }
    return confined;
}

P4_API int prctl(int option, ...) {
    va_list rest;
    va_start(rest, option);
    unsigned long a = va_arg(rest, unsigned long), b = va_arg(rest, unsigned long);
    unsigned long c = va_arg(rest, unsigned long), d = va_arg(rest, unsigned long);
    va_end(rest);
    if (p4_depot.active && (option == PR_SET_NO_NEW_PRIVS || option == PR_SET_SECCOMP)) {
        p4_flush_accesses();
        p4_quiet = 1;
    }
    return P4_REAL("prctl", int (*)(int, ...))(option, a, b, c, d);
}

P4_API int chroot(const char *path) {
    int rc = P4_REAL("chroot", int (*)(const char *))(path);
    if (!rc) p4_look_for_depot();
    return rc;
}
