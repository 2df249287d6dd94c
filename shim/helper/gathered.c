/* gathered: see gathered.h for its rules. */
#include "gathered.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "watch.h"

enum { HEAD = 40 };
static const char STATE_DIR[] = ".p4cache";

struct p4_happened {
    uint8_t kind;
    uint8_t removed;  /* the last event was that the name went */
    uint8_t replaced; /* another file was renamed to the name */
    uint16_t length;
    char path[];
};

static size_t slot_of(const p4_gathered *all, uint8_t kind, const char *path, size_t length) {
    uint64_t h = 1469598103934665603ull ^ kind;
    for (size_t i = 0; i < length; i++) h = (h ^ (uint8_t)path[i]) * 1099511628211ull;
    size_t slot = (size_t)(h ^ (h >> 31)) % P4_GATHERED_SLOTS;
    for (; all->slots[slot]; slot = (slot + 1) % P4_GATHERED_SLOTS) {
        const p4_happened *p = all->waiting[all->slots[slot] - 1];
        if (p->kind == kind && p->length == length && !memcmp(p->path, path, length)) break;
    }
    return slot;
}

static int in_state_dir(const char *path, size_t length) {
    size_t state_len = sizeof STATE_DIR - 1;
    return length >= state_len && !memcmp(path, STATE_DIR, state_len) &&
           (length == state_len || path[state_len] == '/');
}

static int append(p4_gathered *all, uint8_t kind, const char *path, size_t length) {
    p4_happened *p = malloc(sizeof *p + length + 1);
    if (!p || all->count == P4_GATHERED_MOST) {
        free(p);
        all->lost = ENOMEM + 1;
        return 0;
    }
    p->kind = kind;
    p->removed = p->replaced = 0;
    p->length = (uint16_t)length;
    memcpy(p->path, path, length);
    p->path[length] = 0;
    all->waiting[all->count++] = p;
    return 1;
}

/* A repeat moves nothing: the record is made later. */
void p4gathered_note(p4_gathered *all, uint8_t kind, const char *path, size_t length, int name) {
    if (in_state_dir(path, length)) return;
    size_t slot = slot_of(all, kind, path, length);
    if (!all->slots[slot]) {
        if (!append(all, kind, path, length)) return;
        all->slots[slot] = (uint16_t)all->count;
    }
    if (all->slots[slot] <= all->sent) return;
    p4_happened *p = all->waiting[all->slots[slot] - 1];
    p->removed = name == P4_NAME_WENT;
    p->replaced |= name == P4_NAME_CAME;
}

void p4gathered_renamed(p4_gathered *all, const char *paths, size_t from_len, size_t to_len) {
    if (in_state_dir(paths, from_len) || in_state_dir(paths + from_len + 1, to_len)) return;
    append(all, P4_WATCH_RENAMED, paths, from_len + 1 + to_len);
}

void p4gathered_lose(p4_gathered *all, int error) { all->lost = error + 1; }

static size_t pack(uint8_t *out, uint64_t room, uint8_t kind, const char *path, size_t length,
                   const struct stat *st, int64_t size, uint64_t id) {
    uint32_t total = (uint32_t)((HEAD + length + 7) & ~(size_t)7);
    if (total > room) return 0;
    uint16_t path_len = (uint16_t)length;
    uint32_t mode = st ? st->st_mode : 0;
    int64_t mtime = st ? (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec : 0;
    if (st) size = st->st_size;
    memset(out, 0, HEAD);
    memcpy(out, &total, 4);
    out[4] = kind;
    memcpy(out + 6, &path_len, 2);
    memcpy(out + 8, &mode, 4);
    memcpy(out + 16, &size, 8);
    memcpy(out + 24, &mtime, 8);
    memcpy(out + 32, &id, 8);
    memcpy(out + HEAD, path, length);
    return total;
}

size_t p4gathered_pack_plain(uint8_t kind, int64_t size, uint64_t id, uint8_t *out, uint64_t cap) {
    return pack(out, cap, kind, "", 0, NULL, size, id);
}

/* The record of one path, with what is there now. */
static size_t pack_pending(p4_gathered *all, const p4_happened *p, uint8_t *out, uint64_t room) {
    struct stat st;
    if (p->kind != P4_WATCH_CHANGED) return pack(out, room, p->kind, p->path, p->length, NULL, 0, 0);
    int failed = fstatat(all->root, p->path, &st, AT_SYMLINK_NOFOLLOW);
    /* A file that cannot be looked at is not gone: whoever reads it next finds out why. */
    if (failed && errno != ENOENT && errno != ENOTDIR)
        return pack(out, room, P4_WATCH_CHANGED, p->path, p->length, NULL, 0, 0);
    int there = !failed && S_ISREG(st.st_mode);
    return pack(out, room, there ? P4_WATCH_CHANGED : P4_WATCH_GONE, p->path, p->length,
                there ? &st : NULL, p->removed, there && p->replaced);
}

uint64_t p4gathered_pack(p4_gathered *all, uint8_t *out, uint64_t cap) {
    uint64_t used = 0;
    if (!all->count) return 0;
    while (all->sent < all->count) {
        p4_happened *p = all->waiting[all->sent];
        size_t n = pack_pending(all, p, out + used, cap - used);
        if (!n) return used;
        used += n;
        free(p);
        all->sent++;
    }
    all->count = all->sent = 0;
    memset(all->slots, 0, sizeof all->slots);
    return used;
}

void p4gathered_free(p4_gathered *all) {
    for (size_t i = all->sent; i < all->count; i++) free(all->waiting[i]);
    all->count = all->sent = 0;
}
