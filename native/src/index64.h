/* One Index64 at a time, and a tree that never leaves its Morton code. */
#ifndef OCTA_INDEX64_H
#define OCTA_INDEX64_H

#include "morton.h"

#define OCTA_INDEX64_LOD_MAX 15
#define OCTA_INDEX64_LOD_ONE (1ull << 48)
#define OCTA_INDEX64_PREFIX (~OCTA_MORTON_ALL)

static inline uint8_t octa_index64_lod(uint64_t id) { return (uint8_t)(id >> 48 & 15u); }

/* Not 0 unless the value is an Index64 whose coordinates have one parity; the bias is even, so it is that of
 * the site, and the three lowest bits are those of the coordinates. */
static inline uint64_t octa_index64_fault(uint64_t id) { return (id >> 62 ^ 2u) | ((id ^ id >> 1) & 3u); }

/* OCTA_OK, OCTA_E_ID or OCTA_E_PARITY. */
static inline octa_error octa_index64_check_one(uint64_t id) {
    if (id >> 62 != 2)
        return OCTA_E_ID;
    return octa_index64_fault(id) ? OCTA_E_PARITY : OCTA_OK;
}

/* OCTA_OK, or why the first id that has a fault is none. */
octa_error octa_index64_check_all(const uint64_t *ids, size_t n);

#endif
