/* Shared by the sources of the core; not part of the public surface. */
#ifndef OCTA_INTERNAL_H
#define OCTA_INTERNAL_H

#include "octa.h"

/* The one allocation seam: tests compile the core with OCTA_TEST_ALLOC and count down to a failure. */
#ifdef OCTA_TEST_ALLOC
void *octa_test_malloc(size_t size, const char *file, int line);
void *octa_test_realloc(void *block, size_t size, const char *file, int line);
void octa_test_free(void *block);
#define OCTA_MALLOC(size) octa_test_malloc(size, __FILE__, __LINE__)
#define OCTA_REALLOC(block, size) octa_test_realloc(block, size, __FILE__, __LINE__)
#define OCTA_FREE octa_test_free
#else
#include <stdlib.h>
#define OCTA_MALLOC malloc
#define OCTA_REALLOC realloc
#define OCTA_FREE free
#endif

/* Hot loops are compiled once per instruction set and chosen at load time. Contraction is off everywhere, so
 * every version gives the same bits. Sanitizer builds define OCTA_NO_DISPATCH. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(OCTA_NO_DISPATCH) && !defined(OCTA_NO_CLONES)
#define OCTA_HOT __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define OCTA_HOT
#endif

#define OCTA_TRY(call)                                                                                       \
    do {                                                                                                     \
        octa_error octa_try_error = (call);                                                                  \
        if (octa_try_error != OCTA_OK)                                                                       \
            return octa_try_error;                                                                           \
    } while (0)

#define OCTA_COORD_BIAS 32768
#define OCTA_COORD_MIN (-32768)
#define OCTA_COORD_MAX 32767

/* The low 48 bits of an Index64 spread and gathered; x at bit 0. */
static inline uint64_t octa_spread16(uint32_t v) {
    uint64_t x = v & 0xffffu;
    x = (x | x << 16) & 0x0000ff0000ffull;
    x = (x | x << 8) & 0x00f00f00f00full;
    x = (x | x << 4) & 0x0c30c30c30c3ull;
    x = (x | x << 2) & 0x249249249249ull;
    return x;
}

static inline uint32_t octa_gather16(uint64_t x) {
    x &= 0x249249249249ull;
    x = (x | x >> 2) & 0x0c30c30c30c3ull;
    x = (x | x >> 4) & 0x00f00f00f00full;
    x = (x | x >> 8) & 0x0000ff0000ffull;
    x = (x | x >> 16) & 0xffffull;
    return (uint32_t)x;
}

/* 1 if all three are even or all three are odd. */
static inline int octa_is_site(int32_t x, int32_t y, int32_t z) { return !(((x ^ y) | (x ^ z)) & 1); }

static inline int octa_in_range(int32_t x, int32_t y, int32_t z) {
    return x >= OCTA_COORD_MIN && x <= OCTA_COORD_MAX && y >= OCTA_COORD_MIN && y <= OCTA_COORD_MAX &&
           z >= OCTA_COORD_MIN && z <= OCTA_COORD_MAX;
}

/* Everything of an Index64 above its Morton code. */
static inline uint64_t octa_index64_prefix(uint8_t frame, uint8_t tier, uint8_t lod) {
    return 2ull << 62 | (uint64_t)tier << 60 | (uint64_t)frame << 52 | (uint64_t)lod << 48;
}

static inline uint64_t octa_index64_pack(uint64_t prefix, int32_t x, int32_t y, int32_t z) {
    return prefix | octa_spread16((uint32_t)(x + OCTA_COORD_BIAS)) |
           octa_spread16((uint32_t)(y + OCTA_COORD_BIAS)) << 1 |
           octa_spread16((uint32_t)(z + OCTA_COORD_BIAS)) << 2;
}

static inline void octa_index64_unpack(uint64_t id, int32_t *x, int32_t *y, int32_t *z) {
    *x = (int32_t)octa_gather16(id) - OCTA_COORD_BIAS;
    *y = (int32_t)octa_gather16(id >> 1) - OCTA_COORD_BIAS;
    *z = (int32_t)octa_gather16(id >> 2) - OCTA_COORD_BIAS;
}

/* OCTA_OK for a cell of the grid with that prefix; E_ID, E_DOMAIN (another grid) or E_PARITY otherwise. */
static inline octa_error octa_index64_check(uint64_t id, uint64_t prefix) {
    if (id >> 62 != 2)
        return OCTA_E_ID;
    if (id >> 48 != prefix >> 48)
        return OCTA_E_DOMAIN;
    /* The lowest bits of a Morton code are those of its coordinates, and the bias is even. */
    return (id & 7) == 0 || (id & 7) == 7 ? OCTA_OK : OCTA_E_PARITY;
}

/* The 14 neighbour offsets in the order of OctaIndex3D. */
extern const int8_t octa_neighbor_offsets[OCTA_NEIGHBORS][3];

/* OCTA_OK for a finite rotation (within 1e-3) and a finite translation. */
octa_error octa_pose_check(const double *matrix);

/* OCTA_OK for a grid with values in their domains. */
octa_error octa_grid_check(const octa_grid *grid);

#endif
