/* lookup: many keys looked up in one call and one read transaction, on any thread. `in` holds the keys:
 * u16 length, key.
 */
#ifndef P4_LOOKUP_H
#define P4_LOOKUP_H
#include "kv.h"

/* out[i] is 1 when one of the databases has the key, else 0. Returns how many keys there were. */
P4_EXPORT int32_t p4lookup_holds(p4_kv *kv, const uint8_t *databases, uint32_t database_count,
                                 const uint8_t *in, uint64_t in_len, uint8_t *out, uint32_t out_cap);

/* Packs the value of each key: u32 length, value; where there is none the length is P4_LOOKUP_NONE.
 * Returns the bytes; -ENOBUFS when they find no room. */
#define P4_LOOKUP_NONE 0xffffffffu
P4_EXPORT int64_t p4lookup_values(p4_kv *kv, int32_t database, const uint8_t *in, uint64_t in_len,
                                  uint8_t *out, uint64_t out_cap);
#endif
