/* memory: see memory.h. */
#include "memory.h"

#include <malloc.h>

void p4memory_give_back(void) { malloc_trim(0); }

void p4memory_share(void) { mallopt(M_ARENA_MAX, P4MEMORY_ARENAS); }
