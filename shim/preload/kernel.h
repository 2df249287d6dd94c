/* kernel: system calls without the C library, for where it costs too much, or is what we stand before. */
#ifndef P4_KERNEL_H
#define P4_KERNEL_H
#include <sys/syscall.h>

/* What the system call returns; -errno when it fails. Leaves errno alone. */
static inline __attribute__((always_inline)) long p4_kernel(long number, long a, long b, long c, long d) {
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "+a"(number)
                     : "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return number;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c, x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory", "cc");
    return x0;
#else
#error "The library knows the system calls of x86-64 and arm64 only."
#endif
}
#endif
