/* syscall: programs that ask for files by syscall(2), in case their C library is older than the call they
 * want. Node and others (libuv) ask so for statx. What this library itself asks for goes straight through.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

typedef long (*syscall_call)(long, ...);

static long by_path(syscall_call call, long number, long a, long b, long c, long d, long e) {
    P4_RECOVERING(long, -1, (int)a, (const char *)b, call(number, a, b, c, d, e));
}

/* The sixth argument may be none: then what is read is the caller's, and not used. */
P4_API __attribute__((no_sanitize_address)) long syscall(long number, ...) {
    va_list rest;
    va_start(rest, number);
    long a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long);
    long d = va_arg(rest, long), e = va_arg(rest, long), f = va_arg(rest, long);
    va_end(rest);
    syscall_call call = P4_REAL("syscall", syscall_call);
    return number == SYS_statx ? by_path(call, number, a, b, c, d, e) : call(number, a, b, c, d, e, f);
}
