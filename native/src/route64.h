/* One Route64 at a time. */
#ifndef OCTA_ROUTE64_H
#define OCTA_ROUTE64_H

#include "internal.h"

#define OCTA_ROUTE64_MIN (-(1 << 19))
#define OCTA_ROUTE64_MAX ((1 << 19) - 1)
#define OCTA_ROUTE64_FIELD 20
#define OCTA_ROUTE64_MASK ((1u << OCTA_ROUTE64_FIELD) - 1)

static inline int octa_route64_in_range(int32_t x, int32_t y, int32_t z) {
    return x >= OCTA_ROUTE64_MIN && x <= OCTA_ROUTE64_MAX && y >= OCTA_ROUTE64_MIN && y <= OCTA_ROUTE64_MAX &&
           z >= OCTA_ROUTE64_MIN && z <= OCTA_ROUTE64_MAX;
}

static inline uint64_t octa_route64_prefix(uint8_t tier) { return 1ull << 62 | (uint64_t)tier << 60; }

static inline uint64_t octa_route64_pack(uint64_t prefix, int32_t x, int32_t y, int32_t z) {
    return prefix | (uint64_t)((uint32_t)x & OCTA_ROUTE64_MASK) << 2 * OCTA_ROUTE64_FIELD |
           (uint64_t)((uint32_t)y & OCTA_ROUTE64_MASK) << OCTA_ROUTE64_FIELD |
           ((uint32_t)z & OCTA_ROUTE64_MASK);
}

/* A field of 20 bits as a number: flipping its sign bit makes it biased. */
static inline int32_t octa_route64_field(uint64_t bits) {
    return (int32_t)(((uint32_t)bits & OCTA_ROUTE64_MASK) ^ 1u << (OCTA_ROUTE64_FIELD - 1)) +
           OCTA_ROUTE64_MIN;
}

static inline void octa_route64_unpack(uint64_t id, int32_t *x, int32_t *y, int32_t *z) {
    *x = octa_route64_field(id >> 2 * OCTA_ROUTE64_FIELD);
    *y = octa_route64_field(id >> OCTA_ROUTE64_FIELD);
    *z = octa_route64_field(id);
}

/* OCTA_OK, or why the first id that has a fault is none. */
octa_error octa_route64_check_all(const uint64_t *ids, size_t n);

#endif
