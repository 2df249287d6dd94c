/* memory: what the allocator keeps for later. */
#ifndef P4_MEMORY_H
#define P4_MEMORY_H
#include "kv.h"

/* Gives freed memory back to the system (malloc_trim(3)). Takes some ms where there is much of it. */
P4_EXPORT void p4memory_give_back(void);
#endif
