/* Ids of the cells within some steps of each cell; 0, which is no id, where that is beyond the map. */
#include "galactic128.h"
#include "index64.h"
#include "rings.h"
#include "route64.h"

/* Bits of a coordinate above what a reach in half edges can change, unless a carry runs into them. */
static uint32_t bits_above(uint32_t last, uint32_t field) {
    const uint32_t reach = 2 * last;
    uint32_t low = 0;
    while (1u << low < reach)
        low++;
    return field >> low << low;
}

/* ---- Index64: steps on the axes of a Morton code */

static void load_index64(octa_rings *rings) {
    for (size_t k = 0; k < rings->count; k++)
        for (int axis = 0; axis < 3; axis++)
            rings->words[(size_t)axis * rings->count + k] = octa_morton_step(rings->offsets[k][axis], axis);
}

/* Neither all zeros nor all ones: no step leaves the axis. */
static inline int is_inner(uint64_t id, uint64_t above) { return (id & above) != 0 && (id & above) != above; }

static void index64_at_border(const octa_rings *rings, uint64_t id, uint64_t *out) {
    int32_t x, y, z;
    octa_index64_unpack(id, &x, &y, &z);
    for (size_t k = 0; k < rings->count; k++) {
        const int32_t *offset = rings->offsets[k];
        const int32_t u = x + offset[0], v = y + offset[1], w = z + offset[2];
        out[k] = octa_in_range(u, v, w) ? octa_index64_pack(id & OCTA_INDEX64_PREFIX, u, v, w) : 0;
    }
}

OCTA_HOT static void index64_around(const octa_rings *rings, uint64_t above, const uint64_t *ids, size_t n,
                                    uint64_t *out) {
    const size_t count = rings->count;
    const uint64_t *x = rings->words, *y = x + count, *z = y + count;
    for (size_t i = 0; i < n; i++, out += count) {
        const uint64_t id = ids[i], prefix = id & OCTA_INDEX64_PREFIX;
        if (is_inner(id, above) && is_inner(id, above << 1) && is_inner(id, above << 2))
            for (size_t k = 0; k < count; k++)
                out[k] = prefix | octa_morton_add(id, x[k], y[k], z[k]);
        else
            index64_at_border(rings, id, out);
    }
}

octa_error octa_index64_shells(const uint64_t *ids, size_t n, uint32_t first, uint32_t last, uint64_t *out) {
    octa_rings rings;
    OCTA_TRY(octa_index64_check_all(ids, n));
    OCTA_TRY(octa_rings_begin(&rings, first, last, 3));
    load_index64(&rings);
    index64_around(&rings, octa_spread16(bits_above(last, 0xffff)), ids, n, out);
    octa_rings_end(&rings);
    return OCTA_OK;
}

/* ---- Route64: with biased fields one sum moves all three */

#define SIGNS (1ull << 59 | 1ull << 39 | 1ull << 19)

static void load_route64(octa_rings *rings) {
    for (size_t k = 0; k < rings->count; k++) {
        const int32_t *offset = rings->offsets[k];
        rings->words[k] = ((uint64_t)(int64_t)offset[0] << 2 * OCTA_ROUTE64_FIELD) +
                          ((uint64_t)(int64_t)offset[1] << OCTA_ROUTE64_FIELD) + (uint64_t)(int64_t)offset[2];
    }
}

static void route64_at_border(const octa_rings *rings, uint64_t id, uint64_t *out) {
    int32_t x, y, z;
    octa_route64_unpack(id, &x, &y, &z);
    for (size_t k = 0; k < rings->count; k++) {
        const int32_t *offset = rings->offsets[k];
        const int32_t u = x + offset[0], v = y + offset[1], w = z + offset[2];
        out[k] = octa_route64_in_range(u, v, w) ? octa_route64_pack(id >> 60 << 60, u, v, w) : 0;
    }
}

OCTA_HOT static void route64_around(const octa_rings *rings, uint64_t above, const uint64_t *ids, size_t n,
                                    uint64_t *out) {
    const size_t count = rings->count;
    const uint64_t *steps = rings->words;
    for (size_t i = 0; i < n; i++, out += count) {
        const uint64_t biased = ids[i] ^ SIGNS;
        if (is_inner(biased, above) && is_inner(biased, above << OCTA_ROUTE64_FIELD) &&
            is_inner(biased, above << 2 * OCTA_ROUTE64_FIELD))
            for (size_t k = 0; k < count; k++)
                out[k] = (biased + steps[k]) ^ SIGNS;
        else
            route64_at_border(rings, ids[i], out);
    }
}

octa_error octa_route64_shells(const uint64_t *ids, size_t n, uint32_t first, uint32_t last, uint64_t *out) {
    octa_rings rings;
    OCTA_TRY(octa_route64_check_all(ids, n));
    OCTA_TRY(octa_rings_begin(&rings, first, last, 1));
    load_route64(&rings);
    route64_around(&rings, bits_above(last, OCTA_ROUTE64_MASK), ids, n, out);
    octa_rings_end(&rings);
    return OCTA_OK;
}

/* ---- Galactic128 */

static void galactic128_at(const int32_t *site, const int32_t *offset, uint64_t head, uint64_t *out) {
    int32_t there[3];
    for (int axis = 0; axis < 3; axis++)
        if (__builtin_add_overflow(site[axis], offset[axis], &there[axis])) {
            out[0] = out[1] = 0;
            return;
        }
    octa_galactic128_pack(head, there, out);
}

octa_error octa_galactic128_shells(const uint64_t *ids, size_t n, uint32_t first, uint32_t last,
                                   uint64_t *out) {
    octa_rings rings;
    OCTA_TRY(octa_galactic128_check_all(ids, n));
    OCTA_TRY(octa_rings_begin(&rings, first, last, 0));
    for (size_t i = 0; i < n; i++, ids += OCTA_GALACTIC128_WORDS) {
        int32_t site[3];
        octa_galactic128_unpack(ids, site);
        for (size_t k = 0; k < rings.count; k++, out += OCTA_GALACTIC128_WORDS)
            galactic128_at(site, rings.offsets[k], ids[0] & OCTA_GALACTIC128_HEAD, out);
    }
    octa_rings_end(&rings);
    return OCTA_OK;
}
