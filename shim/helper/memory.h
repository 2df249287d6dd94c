/* memory: what the allocator keeps for later. */
#ifndef P4_MEMORY_H
#define P4_MEMORY_H
#include "kv.h"

/* Arenas of the allocator: more than threads that allocate much at the same time. */
enum { P4MEMORY_ARENAS = 4 };

/* Lets threads share arenas (mallopt(3), M_ARENA_MAX). By default there are eight a processor, each new
 * thread takes another one, and what it leaves there is not given back. To be called before there are many
 * threads: the number is fixed once there are more than eight arenas. */
P4_EXPORT void p4memory_share(void);

/* Gives freed memory back to the system (malloc_trim(3)). Takes some ms where there is much of it. */
P4_EXPORT void p4memory_give_back(void);
#endif
