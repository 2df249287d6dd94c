/* notify: messages to the service manager, as sd_notify(3) describes them.
 *
 * Rules
 * 1. One datagram a message; the socket is closed before the call returns, nothing is kept.
 * 2. Never blocks: a manager that does not read must not stop the daemon.
 */
#ifndef P4_NOTIFY_H
#define P4_NOTIFY_H
#include <stdint.h>

#define P4_EXPORT __attribute__((visibility("default")))

/* Sends `length` bytes to the datagram socket `name` of `name_length` bytes: a path, or an abstract
 * name, which begins with '@'. Returns 0 or -errno. */
P4_EXPORT int32_t p4notify_send(const char *name, uint32_t name_length, const uint8_t *message,
                                uint32_t length);

/* CLOCK_MONOTONIC in microseconds: the manager compares it with its own clock. */
P4_EXPORT int64_t p4notify_monotonic_us(void);
#endif
