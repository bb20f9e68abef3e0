/* Morton codes of whole arrays, and steps on the axes of one without taking it apart. */
#ifndef OCTA_MORTON_H
#define OCTA_MORTON_H

#include "avx2.h"
#include "internal.h"

#define OCTA_MORTON_X 0x249249249249ull
#define OCTA_MORTON_Y (OCTA_MORTON_X << 1)
#define OCTA_MORTON_Z (OCTA_MORTON_X << 2)
#define OCTA_MORTON_ALL ((1ull << 48) - 1)

/* ids[i] = prefix | the code of a site; all are on the map. */
void octa_morton_pack(const int32_t *sites, size_t n, uint64_t prefix, uint64_t *ids);

/* The sites of ids; what is above a code does not matter. */
void octa_morton_unpack(const uint64_t *ids, size_t n, int32_t *sites);

#ifdef OCTA_HAVE_AVX2
/* The same for the first so many, whose number they return; fewer than five are left. */
size_t octa_morton_pack_avx2(const int32_t *sites, size_t n, uint64_t prefix, uint64_t *ids);
size_t octa_morton_unpack_avx2(const uint64_t *ids, size_t n, int32_t *sites);
#endif

/* A step on one axis as what is added to its bits when all others are set. */
static inline uint64_t octa_morton_step(int32_t step, int axis) {
    return octa_spread16((uint32_t)step & 0xffffu) << axis;
}

/* Codes that lie at steps from a code, axis by axis; a coordinate that leaves its 16 bits wraps. */
static inline uint64_t octa_morton_add(uint64_t code, uint64_t x, uint64_t y, uint64_t z) {
    return (((code | ~OCTA_MORTON_X) + x) & OCTA_MORTON_X) | (((code | ~OCTA_MORTON_Y) + y) & OCTA_MORTON_Y) |
           (((code | ~OCTA_MORTON_Z) + z) & OCTA_MORTON_Z);
}

#endif
