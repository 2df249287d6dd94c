/* real: the C library's own functions behind ours. */
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <time.h>

#include "shim.h"

/* Since glibc 2.34 dlsym is in the C library, and has its older name there too. Before that it is in libdl,
 * which a program may not have loaded. Linking with libdl would cost the start of every program 20 µs on
 * any glibc, so dlsym may be missing. */
#if defined(__x86_64__)
__asm__(".symver dlsym, dlsym@GLIBC_2.2.5");
#elif defined(__aarch64__)
__asm__(".symver dlsym, dlsym@GLIBC_2.17");
#endif
#pragma weak dlsym

/* What a glibc before 2.34 loads its own plugins with. */
void *__libc_dlopen_mode(const char *file, int mode);
void *__libc_dlsym(void *library, const char *name);
#pragma weak __libc_dlopen_mode
#pragma weak __libc_dlsym
enum { FROM_LIBC = (int)0x80000000 };

typedef void *(*dlsym_call)(void *, const char *);

static dlsym_call older_dlsym(void) {
    static dlsym_call found;
    if (!found && __libc_dlopen_mode && __libc_dlsym) {
        void *libdl = __libc_dlopen_mode("libdl.so.2", RTLD_LAZY | FROM_LIBC);
        if (libdl) found = (dlsym_call)__libc_dlsym(libdl, "dlsym");
    }
    if (!found) abort();
    return found;
}

static void *next(const char *name) {
    return dlsym ? dlsym(RTLD_NEXT, name) : older_dlsym()(RTLD_NEXT, name);
}

void *p4_real(void **slot, const char *name) {
    void *found = next(name);
    if (!found) abort();
    __atomic_store_n(slot, found, __ATOMIC_RELAXED);
    return found;
}

const char p4_unknown;
static const char no, yes = 1;
const char *p4_alone = &no;

static int is_in(const struct dl_phdr_info *object, const void *address) {
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        uintptr_t from = object->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD && (uintptr_t)address - from < part->p_memsz) return 1;
    }
    return 0;
}

/* Stops at the object that has the first of two functions: 1 when it has the other, too, else 2. */
static int has_both(struct dl_phdr_info *object, size_t size, void *functions) {
    (void)size;
    void *const *f = functions;
    return !is_in(object, f[0]) ? 0 : is_in(object, f[1]) ? 1 : 2;
}

const char *p4_goes_direct(const char *name, enum p4_when when) {
    void *functions[] = {next(name), next("__libc_start_main")};
    if (!functions[0] || dl_iterate_phdr(has_both, functions) != 1) return &no;
    if (when == P4_ALWAYS) return &yes;
    /* glibc 2.32 and later. A program may have a copy of its own, which then is the one that counts. */
    const char *alone = dlsym ? dlsym(RTLD_DEFAULT, "__libc_single_threaded") : NULL;
    if (alone) __atomic_store_n(&p4_alone, alone, __ATOMIC_RELAXED);
    return alone ? alone : &no;
}

int64_t p4_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
