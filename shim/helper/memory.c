/* memory: see memory.h. */
#include "memory.h"

#include <malloc.h>

void p4memory_give_back(void) { malloc_trim(0); }
