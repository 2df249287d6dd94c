/* events: feeds records as the kernel might write them, and as it never would, to the watcher's parser.
 * Built with the sanitizers; any access outside a buffer ends it.
 *
 *   events <seed> <rounds>
 */
#include "../../../shim/helper/gathered.c"
#include "../../../shim/helper/watch_events.c"

#include <assert.h>
#include <stdlib.h>

static uint64_t state;

static uint32_t below(uint32_t count) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % count;
}

/* An information record of about the right shape; returns its length. */
static size_t make_info(uint8_t *at, size_t room) {
    static const uint8_t types[] = {1, 2, 3, 4, 5, 10, 12, 0, 255};
    size_t length = 4 + below(room < 96 ? (uint32_t)room - 3 : 92);
    if (length > room) length = room;
    for (size_t i = 0; i < length; i++) at[i] = below(3) ? (uint8_t)below(256) : 0;
    struct fanotify_event_info_header head = {.info_type = types[below(sizeof types)],
                                              .len = (uint16_t)length};
    if (!below(8)) head.len = (uint16_t)below(65536);
    memcpy(at, &head, sizeof head);
    if (length >= 20 && below(4)) {
        uint32_t bytes = below((uint32_t)length);
        memcpy(at + 12, &bytes, 4);
    }
    return length;
}

/* One event in a buffer of exactly its length, so that every read beyond it is seen. */
static void feed(const p4_event_reader *reader) {
    size_t length = sizeof(struct fanotify_event_metadata), room = 24 + below(400);
    uint8_t *event = calloc(1, length + room);
    assert(event);
    while (room >= 4 && below(5)) {
        size_t n = make_info(event + length, room);
        length += n;
        room -= n;
    }
    struct fanotify_event_metadata head = {.event_len = (uint32_t)length,
                                           .vers = FANOTIFY_METADATA_VERSION,
                                           .metadata_len = sizeof head,
                                           .mask = ((uint64_t)below(65536) << 16) | below(65536),
                                           .fd = -1};
    memcpy(event, &head, sizeof head);
    uint8_t *exact = malloc(length);
    assert(exact);
    memcpy(exact, event, length);
    free(event);
    take_by_handle(reader, (const void *)exact);
    free(exact);
}

int main(int argc, char **argv) {
    assert(argc == 3);
    state = strtoull(argv[1], NULL, 10);
    char depot[] = "/tmp/fuzzXXXXXX";
    assert(mkdtemp(depot));
    static p4_gathered gathered;
    gathered.root = open(depot, O_RDONLY | O_DIRECTORY);
    p4_event_reader reader = {.by_handle = 1, .dirs = p4dirs_new(gathered.root), .gathered = &gathered};
    assert(reader.dirs && !p4dirs_learn_all(reader.dirs));
    static uint8_t out[512 * 1024];
    for (unsigned long rounds = strtoul(argv[2], NULL, 10); rounds; rounds--) {
        feed(&reader);
        if (gathered.count > P4_GATHERED_MOST / 2 || !below(1000))
            p4gathered_pack(&gathered, out, sizeof out);
        gathered.lost = 0;
    }
    p4gathered_free(&gathered);
    p4dirs_free(reader.dirs);
    close(gathered.root);
    rmdir(depot);
    return 0;
}
