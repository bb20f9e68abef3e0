#include "morton.h"

/* One instruction spreads or gathers 16 bits (BMI2). Older processors of AMD have it in microcode, which is
 * slower than shifts: they take the portable way, and so does every machine without it. Same bits. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(OCTA_NO_DISPATCH)
#define HAVE_BMI2
#include <immintrin.h>
#define BMI2 __attribute__((target("bmi2")))

static int has_fast_bmi2(void) {
    return __builtin_cpu_supports("bmi2") && !__builtin_cpu_is("amdfam15h") && !__builtin_cpu_is("amdfam17h");
}

/* The top bit of each axis: adding the bias to a 16-bit coordinate flips it. */
#define BIAS_CODE (7ull << 45)

BMI2 static void pack_bmi2(const int32_t *sites, size_t n, uint64_t prefix, uint64_t *ids) {
    const uint64_t flip = prefix ^ BIAS_CODE;
    for (size_t i = 0; i < n; i++) {
        const int32_t *s = sites + 3 * i;
        ids[i] = flip ^ (_pdep_u64((uint32_t)s[0], OCTA_MORTON_X) | _pdep_u64((uint32_t)s[1], OCTA_MORTON_Y) |
                         _pdep_u64((uint32_t)s[2], OCTA_MORTON_Z));
    }
}

BMI2 static void unpack_bmi2(const uint64_t *ids, size_t n, int32_t *sites) {
    for (size_t i = 0; i < n; i++) {
        sites[3 * i] = (int32_t)_pext_u64(ids[i], OCTA_MORTON_X) - OCTA_COORD_BIAS;
        sites[3 * i + 1] = (int32_t)_pext_u64(ids[i], OCTA_MORTON_Y) - OCTA_COORD_BIAS;
        sites[3 * i + 2] = (int32_t)_pext_u64(ids[i], OCTA_MORTON_Z) - OCTA_COORD_BIAS;
    }
}
#endif

OCTA_HOT static void pack(const int32_t *sites, size_t n, uint64_t prefix, uint64_t *ids) {
    for (size_t i = 0; i < n; i++)
        ids[i] = octa_index64_pack(prefix, sites[3 * i], sites[3 * i + 1], sites[3 * i + 2]);
}

OCTA_HOT static void unpack(const uint64_t *ids, size_t n, int32_t *sites) {
    for (size_t i = 0; i < n; i++)
        octa_index64_unpack(ids[i], sites + 3 * i, sites + 3 * i + 1, sites + 3 * i + 2);
}

void octa_morton_pack(const int32_t *sites, size_t n, uint64_t prefix, uint64_t *ids) {
#ifdef HAVE_BMI2
    if (has_fast_bmi2()) {
        pack_bmi2(sites, n, prefix, ids);
        return;
    }
#endif
    pack(sites, n, prefix, ids);
}

void octa_morton_unpack(const uint64_t *ids, size_t n, int32_t *sites) {
#ifdef HAVE_BMI2
    if (has_fast_bmi2()) {
        unpack_bmi2(ids, n, sites);
        return;
    }
#endif
    unpack(ids, n, sites);
}
