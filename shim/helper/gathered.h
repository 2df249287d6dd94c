/* gathered: what happened in the depot since the last look, by path, until it is told.
 *
 * Rules
 * 1. A path stands here once for each kind, however often it comes; renames stand here every time.
 * 2. Its record is made when it is told, and says what is at the path then (see watch.h).
 * 3. What finds no room is a loss: the caller has everything compared.
 * For one thread.
 */
#ifndef P4_GATHERED_H
#define P4_GATHERED_H
#include <stddef.h>
#include <stdint.h>

enum { P4_GATHERED_MOST = 4096, P4_GATHERED_SLOTS = 2 * P4_GATHERED_MOST };

typedef struct p4_happened p4_happened;

typedef struct {
    int root; /* the depot's directory */
    int lost; /* errno + 1 of a loss to report */
    p4_happened *waiting[P4_GATHERED_MOST];
    size_t count, sent;
    uint16_t slots[P4_GATHERED_SLOTS]; /* index into waiting + 1, by path: finds repeats */
} p4_gathered;

/* What an event says of a name besides that something happened. */
enum { P4_NAME_STAYED, P4_NAME_WENT, P4_NAME_CAME };

/* Notes that something happened at the path, and what became of its name. What is in the state directory
 * is left out. */
void p4gathered_note(p4_gathered *all, uint8_t kind, const char *path, size_t length, int name);

/* Notes that a directory was renamed; `paths` is the old one, NUL, the new one. */
void p4gathered_renamed(p4_gathered *all, const char *paths, size_t from_len, size_t to_len);

void p4gathered_lose(p4_gathered *all, int error);

/* Packs records (watch.h) until the buffer is full or all are told; the bytes. */
uint64_t p4gathered_pack(p4_gathered *all, uint8_t *out, uint64_t cap);

/* Packs one record of a kind without path; its bytes, 0 when there is no room. */
size_t p4gathered_pack_plain(uint8_t kind, int64_t size, uint64_t id, uint8_t *out, uint64_t cap);

void p4gathered_free(p4_gathered *all);
#endif
