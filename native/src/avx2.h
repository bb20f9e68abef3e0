/* Kernels for AVX2 beside portable ones: when they are compiled, and whether this machine runs them. */
#ifndef OCTA_AVX2_H
#define OCTA_AVX2_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(OCTA_NO_DISPATCH)
#define OCTA_HAVE_AVX2
#define OCTA_AVX2 __attribute__((target("avx2,popcnt")))
#endif

#ifdef __GNUC__
#define OCTA_ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define OCTA_ALWAYS_INLINE inline
#endif

static inline int octa_has_avx2(void) {
#ifdef OCTA_HAVE_AVX2
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
#else
    return 0;
#endif
}

#endif
