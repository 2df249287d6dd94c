/* desk: room to work in, for calls on stacks of any size. A few desks are part of the library, each with
 * a connection to the daemon that is kept from one question to the next; who finds all of them taken gets
 * one for the moment. Nothing here waits for anybody.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel.h"
#include "shim.h"

enum { DESKS = 4 };

static struct p4_desk desks[DESKS];
P4_WARM static pid_t owner;

struct p4_desk *p4_take_desk(void) {
    for (int i = 0; i < DESKS; i++)
        if (!__atomic_exchange_n(&desks[i].taken, 1, __ATOMIC_ACQUIRE)) return &desks[i];
    int saved = errno;
    void *made = mmap(NULL, sizeof(struct p4_desk), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0);
    errno = saved;
    return made == MAP_FAILED ? NULL : made;
}

void p4_leave_desk(struct p4_desk *desk) {
    if (desk >= desks && desk < desks + DESKS) {
        __atomic_store_n(&desk->taken, 0, __ATOMIC_RELEASE);
        return;
    }
    int saved = errno;
    if (p4_is_connected(desk)) syscall(SYS_close, desk->connection);
    munmap(desk, sizeof *desk);
    errno = saved;
}

int p4_owns_desks(void) { return (pid_t)p4_kernel(SYS_getpid, 0, 0, 0, 0) == owner; }

int p4_is_connected(const struct p4_desk *desk) {
    struct stat st;
    return desk->connection && !syscall(SYS_fstat, desk->connection, &st) &&
           st.st_ino == desk->inode && st.st_dev == desk->device;
}

void p4_own_desks(void) {
    int saved = errno, is_child = owner != 0;
    owner = (pid_t)p4_kernel(SYS_getpid, 0, 0, 0, 0);
    for (int i = 0; is_child && i < DESKS; i++) {
        if (p4_is_connected(&desks[i])) syscall(SYS_close, desks[i].connection);
        desks[i].connection = 0;
        __atomic_store_n(&desks[i].taken, 0, __ATOMIC_RELEASE);
    }
    errno = saved;
}
