/* real: the C library's own functions behind ours. */
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

#include "shim.h"

/* dlsym and dladdr moved into the C library in glibc 2.34. By their older names the library loads on both sides. */
#if defined(__x86_64__)
__asm__(".symver dlsym, dlsym@GLIBC_2.2.5");
__asm__(".symver dladdr, dladdr@GLIBC_2.2.5");
#elif defined(__aarch64__)
__asm__(".symver dlsym, dlsym@GLIBC_2.17");
__asm__(".symver dladdr, dladdr@GLIBC_2.17");
#endif

void *p4_real(void **slot, const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    __atomic_store_n(slot, found, __ATOMIC_RELAXED);
    return found;
}

int p4_next_is_libc(const char *name) {
    Dl_info next, libc;
    void *found = dlsym(RTLD_NEXT, name);
    return found && dladdr(found, &next) && dladdr(dlsym(RTLD_NEXT, "__libc_start_main"), &libc) &&
           next.dli_fbase == libc.dli_fbase;
}

const char *p4_has_one_thread;

__attribute__((constructor)) static void prepare(void) {
    p4_has_one_thread = dlsym(RTLD_DEFAULT, "__libc_single_threaded");
}

int64_t p4_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
