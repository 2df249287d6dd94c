/* watch_events: what the kernel's events say, noted by depot path (gathered.h).
 *
 * Rules
 * 1. Events of this process, and those outside the depot, are left out.
 * 2. Whatever the bytes are, nothing is read beyond them; an event that is not whole is a loss.
 */
#ifndef P4_WATCH_EVENTS_H
#define P4_WATCH_EVENTS_H
#include <sys/types.h>

#include "dir_table.h"
#include "gathered.h"

enum { P4_EVENTS_PATH = 4096 };

typedef struct {
    int by_handle; /* events name a directory and an entry; else they carry a descriptor */
    pid_t self;
    char depot[P4_EVENTS_PATH]; /* absolute and canonical */
    size_t depot_len;
    p4_dirs *dirs;
    p4_gathered *gathered;
} p4_event_reader;

/* Takes the events of one read. An event gives at most three records. */
void p4events_take(const p4_event_reader *reader, const void *events, ssize_t bytes);
#endif
