/* real: the C library's own functions behind ours. */
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

#include "shim.h"

/* dlsym moved into the C library in glibc 2.34. By its older name the library loads on both sides. */
#if defined(__x86_64__)
__asm__(".symver dlsym, dlsym@GLIBC_2.2.5");
#elif defined(__aarch64__)
__asm__(".symver dlsym, dlsym@GLIBC_2.17");
#endif

void *p4_real(void **slot, const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    __atomic_store_n(slot, found, __ATOMIC_RELAXED);
    return found;
}

int64_t p4_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
