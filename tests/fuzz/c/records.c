/* records: what a read of a fanotify group gives, for libFuzzer: any bytes, and never an access outside
 * them. Linked with dir_table.c and files.c.
 */
#include "../../../shim/helper/gathered.c"
#include "../../../shim/helper/watch_events.c"

static p4_gathered gathered;
static p4_event_reader reader = {.by_handle = 1, .gathered = &gathered};

/* The depot's own handle, which stands where the input has the word: no guess would ever hit it. */
static union {
    struct file_handle head;
    uint8_t room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
} root = {.head.handle_bytes = MAX_HANDLE_SZ};
static const char ROOT[] = "ROOT";

static void put_root(uint8_t *events, size_t size) {
    size_t length = sizeof(struct file_handle) + root.head.handle_bytes;
    for (uint8_t *at = events; (at = memmem(at, size - (size_t)(at - events), ROOT, 4)); at++)
        if (size - (size_t)(at - events) >= length) memcpy(at, root.room, length);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    char depot[] = "/tmp/fuzzXXXXXX";
    if (!mkdtemp(depot)) abort();
    gathered.root = open(depot, O_RDONLY | O_DIRECTORY);
    reader.dirs = p4dirs_new(gathered.root);
    int mount, failed = name_to_handle_at(gathered.root, "", &root.head, &mount, AT_EMPTY_PATH);
    rmdir(depot);
    if (failed) abort();
    return reader.dirs && !p4dirs_learn_all(reader.dirs) ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t out[512 * 1024];
    /* The kernel aligns what it writes; the end is the buffer's, so that any read beyond it is seen. */
    uint8_t *events = malloc(size ? size : 1);
    if (!events) return 0;
    memcpy(events, data, size);
    put_root(events, size);
    p4events_take(&reader, events, (ssize_t)size);
    free(events);
    p4gathered_pack(&gathered, out, sizeof out);
    gathered.lost = 0;
    return 0;
}
