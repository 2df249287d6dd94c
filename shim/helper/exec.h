/* exec: becoming another program, as if ours had never run in this process.
 *
 * Rules
 * 1. Undone is what our runtime did to the process and a program would inherit: SIGPIPE ignored, the
 *    limit of open descriptors raised.
 * 2. Returns only when it failed: -errno of execve(2).
 */
#ifndef P4_EXEC_H
#define P4_EXEC_H
#include <stdint.h>

#define P4_EXPORT __attribute__((visibility("default")))

/* Runs `file`, looked up in PATH as a shell does. `descriptors` is the soft limit of open ones
 * (RLIMIT_NOFILE), lowered to the hard one where that is less; 0: as it is. */
P4_EXPORT int32_t p4exec(const char *file, char *const argv[], char *const envp[],
                         uint64_t descriptors);
#endif
