/* quick: what every open of a file that is there does, in as few instructions as will do. After a system
 * call each branch and each call costs as much as ten words that are compared.
 *
 * Words are read past the ends of texts, though never past the page: a check of addresses does not know
 * that this is all right.
 */
#ifndef P4_QUICK_H
#define P4_QUICK_H
#include "shim.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { P4_READS_WORDS = 0 };
#else
enum { P4_READS_WORDS = 1 };
#endif

enum { P4_PAGE = 4096 }; /* or a multiple of it */

typedef uint64_t __attribute__((aligned(1), may_alias)) p4_word;

static inline uint64_t p4_word_at(const char *text) { return *(const p4_word *)text; }

/* Whether a path that the kernel read may be the depot's: most others are told apart by eight bytes. True of
 * one that lies too near to the end of its page, and of relative names unless the working directory is
 * known to be elsewhere. False of the depot reached by "..": it is for accesses only, which are noted by
 * how the path begins. */
static inline int p4_may_be_inside(const char *path) {
    const struct p4_end *given = &p4_depot.ends[0], *real = &p4_depot.ends[1];
    int in_page = (int)((uintptr_t)path & (P4_PAGE - 1));
    if (!P4_READS_WORDS || P4_UNLIKELY(in_page > p4_depot.page_part)) return 1;
    /* No branches between them. */
    int is_given = (p4_word_at(path + given->at) & given->mask) == given->bytes;
    int is_real = (p4_word_at(path + real->at) & real->mask) == real->bytes;
    int is_here = (*path != '/') & __atomic_load_n(&p4_depot.here, __ATOMIC_RELAXED);
    return is_given | is_real | is_here;
}

/* The same as p4_begins_with, byte by byte. */
int p4_begins_slowly(const char *path, const char *text, unsigned size);

/* Whether the first `size` bytes, one or more, are those of the text; the path may be shorter. */
static inline int p4_begins_with(const char *path, const char *text, unsigned size) {
    unsigned at = 0;
    if (!P4_READS_WORDS || P4_UNLIKELY(((uintptr_t)path & (P4_PAGE - 1)) + size + 7 > P4_PAGE))
        return p4_begins_slowly(path, text, size);
    uint64_t differs = 0;
    for (; at + 8 < size; at += 8) differs |= p4_word_at(path + at) ^ p4_word_at(text + at);
    differs |= (p4_word_at(path + at) ^ p4_word_at(text + at)) << (64 - 8 * (size - at));
    return !differs;
}

/* Length of the depot's name and the slash after it, if the path begins with it; else 0. */
static inline unsigned p4_depot_part(const char *path) {
    unsigned given = p4_depot.given_len, real = p4_depot.real_len;
    if (p4_begins_with(path, p4_depot.given, given) && path[given] == '/') return given + 1;
    if (P4_UNLIKELY(p4_depot.real != p4_depot.given) && p4_begins_with(path, p4_depot.real, real) &&
        path[real] == '/')
        return real + 1;
    return 0;
}

/* Whether it is the path noted last. To be called under the log's lock, or in the only thread: there a
 * handler that interrupts this can at worst leave one access unnoted. */
static inline int p4_is_last(const char *path) {
    return p4_log.last_size && p4_begins_with(path, p4_log.last, p4_log.last_size);
}
#endif
