/* room: see room.h. */
#include "room.h"

#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int32_t p4room_keep(const char *path, int64_t bytes, int64_t *size) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    struct stat st;
    int error = 0;
    if (fstat(fd, &st)) error = -errno;
    /* From the beginning: what the file has as a hole is set aside too. */
    else if (bytes > 0) error = p4_allocate(fd, st.st_size + bytes);
    /* To the size that it has: what lies behind goes. */
    else if (ftruncate(fd, st.st_size)) error = -errno;
    if (!error) *size = st.st_size;
    close(fd);
    return error;
}
