/* answers: what a daemon answers the preload library, for libFuzzer. The first byte says to which question:
 * a line, or a listing. Linked with the rest of the library.
 */
#define opendir fuzzed_opendir
#define fdopendir fuzzed_fdopendir
#define readdir fuzzed_readdir
#define readdir64 fuzzed_readdir64
#define closedir fuzzed_closedir
#define rewinddir fuzzed_rewinddir
#define telldir fuzzed_telldir
#define seekdir fuzzed_seekdir
#include "../../../shim/preload/client.c"
#define ask ask_for_list
#include "../../../shim/preload/list.c"

static void look_at_line(int fd) {
    char *line = malloc(512);
    size_t length = receive_line(fd, line, 512, INT64_MAX);
    if (length && (line[length] || meaning(line, (int)(length & 1)) > P4_FAILED)) abort();
    free(line);
}

static void look_at_listing(int fd) {
    static struct p4_desk desk;
    struct listing l = {0};
    if (read_answer(&l, &desk, fd, INT64_MAX) > 0) {
        if (l.count) qsort(l.names, l.count, sizeof *l.names, by_name);
        if (l.count) listed_by_kernel(&l, l.names[l.count / 2] + 1);
        for (struct dirent64 *entry; (entry = next_added(&l));)
            if (strlen(entry->d_name) > 255) abort();
    }
    free_names(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int ends[2];
    if (!size || size > 65536 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends)) return 0;
    ssize_t sent = send(ends[0], data + 1, size - 1, MSG_NOSIGNAL);
    close(ends[0]);
    if (sent >= 0 && *data & 1) look_at_listing(ends[1]);
    else if (sent >= 0) look_at_line(ends[1]);
    close(ends[1]);
    return 0;
}
