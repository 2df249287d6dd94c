/* exec: see exec.h for what it owns and its rules. */
#include "exec.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

int32_t p4exec(const char *file, char *const argv[], char *const envp[], uint64_t descriptors) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return -errno;
    if (descriptors && descriptors < limit.rlim_max) limit.rlim_cur = descriptors;
    if (setrlimit(RLIMIT_NOFILE, &limit)) return -errno;
    if (signal(SIGPIPE, SIG_DFL) == SIG_ERR) return -errno;
    execvpe(file, argv, envp);
    return -errno;
}
