/* Index64: a site, its LOD, tier and frame in 64 bits; the tree follows the lattice rule. */
#include "index64.h"

#include "lattice.h"

#define TIER_MAX 3

/* ---- checks: all of them at once, and only if one fails, which it was */

OCTA_HOT static int any_fault(const uint64_t *ids, size_t n) {
    uint64_t fault = 0;
    for (size_t i = 0; i < n; i++)
        fault |= octa_index64_fault(ids[i]);
    return fault != 0;
}

octa_error octa_index64_check_all(const uint64_t *ids, size_t n) {
    if (!any_fault(ids, n))
        return OCTA_OK;
    for (size_t i = 0; i < n; i++)
        OCTA_TRY(octa_index64_check_one(ids[i]));
    return OCTA_OK;
}

/* Whether a LOD is not within low..high: a difference below 0 sets the top bit. */
OCTA_HOT static int any_lod_outside(const uint64_t *ids, size_t n, uint64_t low, uint64_t high) {
    uint64_t outside = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t lod = ids[i] >> 48 & 15u;
        outside |= (lod - low) | (high - lod);
    }
    return outside >> 63 != 0;
}

#define CHECKED 8 /* sites at a time, so that three vectors hold them */

/* Over numbers as they lie: a coordinate whose successor must have its parity, or not. */
OCTA_HOT static int any_no_place(const int32_t *sites, size_t n) {
    static const uint32_t parity[3 * CHECKED] = {1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0,
                                                 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0};
    uint32_t faults[3 * CHECKED] = {0}, fault = 0;
    size_t i = 0;
    for (; i + CHECKED < n; i += CHECKED) /* the last number has a successor, too */
        for (size_t k = 0; k < 3 * CHECKED; k++) {
            const uint32_t v = (uint32_t)sites[3 * i + k], next = (uint32_t)sites[3 * i + k + 1];
            faults[k] |= ((v ^ next) & parity[k]) | (v + OCTA_COORD_BIAS) >> 16;
        }
    for (; i < n; i++) {
        const uint32_t x = (uint32_t)sites[3 * i], y = (uint32_t)sites[3 * i + 1],
                       z = (uint32_t)sites[3 * i + 2];
        fault |= (((x ^ y) | (y ^ z)) & 1u) |
                 ((x + OCTA_COORD_BIAS) | (y + OCTA_COORD_BIAS) | (z + OCTA_COORD_BIAS)) >> 16;
    }
    for (size_t k = 0; k < 3 * CHECKED; k++)
        fault |= faults[k];
    return fault != 0;
}

static octa_error check_sites(const int32_t *sites, size_t n) {
    if (!any_no_place(sites, n))
        return OCTA_OK;
    for (size_t i = 0; i < n; i++) {
        const int32_t *s = sites + 3 * i;
        if (!octa_is_site(s[0], s[1], s[2]))
            return OCTA_E_PARITY;
        if (!octa_in_range(s[0], s[1], s[2]))
            return OCTA_E_RANGE;
    }
    return OCTA_OK;
}

/* ---- sites and ids */

octa_error octa_index64_encode(const int32_t *sites, size_t n, uint8_t frame, uint8_t tier, uint8_t lod,
                               uint64_t *ids) {
    if (tier > TIER_MAX || lod > OCTA_INDEX64_LOD_MAX)
        return OCTA_E_DOMAIN;
    OCTA_TRY(check_sites(sites, n));
    octa_morton_pack(sites, n, octa_index64_prefix(frame, tier, lod), ids);
    return OCTA_OK;
}

#define BLOCK 64

/* Fields above the codes, by way of 16 bits that vectors narrow well; any of the outputs may be NULL. */
OCTA_HOT static void take_fields(const uint64_t *ids, size_t n, uint8_t *frames, uint8_t *tiers,
                                 uint8_t *lods) {
    uint16_t top[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK) {
        const size_t m = n - i < BLOCK ? n - i : BLOCK;
        for (size_t k = 0; k < m; k++)
            top[k] = (uint16_t)(ids[i + k] >> 48);
        for (size_t k = 0; frames && k < m; k++)
            frames[i + k] = (uint8_t)(top[k] >> 4);
        for (size_t k = 0; tiers && k < m; k++)
            tiers[i + k] = (uint8_t)(top[k] >> 12 & 3u);
        for (size_t k = 0; lods && k < m; k++)
            lods[i + k] = (uint8_t)(top[k] & 15u);
    }
}

octa_error octa_index64_decode(const uint64_t *ids, size_t n, int32_t *sites, uint8_t *frames, uint8_t *tiers,
                               uint8_t *lods) {
    OCTA_TRY(octa_index64_check_all(ids, n));
    octa_morton_unpack(ids, n, sites);
    if (frames || tiers || lods)
        take_fields(ids, n, frames, tiers, lods);
    return OCTA_OK;
}

/* ---- the tree
 *
 * With u = coordinate + 2^15, half of an even coordinate is u / 2 + 2^14: the code moves down by one digit
 * (of three bits, one an axis), its top digit stays and is followed by its complement. Then the rule of the
 * lattice, told by the lowest digit of the halves: bits that differ from x's. */

#define SECOND_DIGIT 42
#define BELOW_SECOND ((1ull << SECOND_DIGIT) - 1)

static inline uint64_t halved(uint64_t id) {
    const uint64_t top = id >> 45 & 7u;
    return top << 45 | (top ^ 7u) << SECOND_DIGIT | (id >> 3 & BELOW_SECOND);
}

static inline uint64_t parent_of(uint64_t id) {
    const uint64_t half = halved(id), digit = half & 7u, odd = 0 - (id & 1u);
    const uint64_t differ = digit ^ ((0 - (digit & 1u)) & 7u); /* y is 2, z is 4 */
    const uint64_t minority = differ == 6 ? 1 : differ;        /* both differ from x: it is x */
    const uint64_t up = differ & odd, down = minority & ~odd;
    const uint64_t x = (half & OCTA_MORTON_X) - (down & 1u), y = (half | ~OCTA_MORTON_Y) + (up & 2u),
                   z = (half | ~OCTA_MORTON_Z) + (up & 4u);
    return ((id & OCTA_INDEX64_PREFIX) - OCTA_INDEX64_LOD_ONE) | (x & OCTA_MORTON_X) |
           (((y & OCTA_MORTON_Y) - (down & 2u)) & OCTA_MORTON_Y) |
           (((z & OCTA_MORTON_Z) - (down & 4u)) & OCTA_MORTON_Z);
}

OCTA_HOT static void parents_of(const uint64_t *ids, size_t n, uint64_t *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = parent_of(ids[i]);
}

/* Every id at a LOD or finer; the first fault decides. */
static octa_error check_at_least(const uint64_t *ids, size_t n, uint8_t lod) {
    if (!any_fault(ids, n) && !any_lod_outside(ids, n, lod, OCTA_INDEX64_LOD_MAX))
        return OCTA_OK;
    for (size_t i = 0; i < n; i++) {
        OCTA_TRY(octa_index64_check_one(ids[i]));
        if (octa_index64_lod(ids[i]) < lod)
            return OCTA_E_LOD;
    }
    return OCTA_OK;
}

octa_error octa_index64_parent(const uint64_t *ids, size_t n, uint64_t *out) {
    OCTA_TRY(check_at_least(ids, n, 1));
    parents_of(ids, n, out);
    return OCTA_OK;
}

octa_error octa_index64_ancestor(const uint64_t *ids, size_t n, uint8_t lod, uint64_t *out) {
    if (lod > OCTA_INDEX64_LOD_MAX)
        return OCTA_E_DOMAIN;
    OCTA_TRY(check_at_least(ids, n, lod));
    for (size_t i = 0; i < n; i++) {
        uint64_t id = ids[i];
        while (octa_index64_lod(id) > lod)
            id = parent_of(id);
        out[i] = id;
    }
    return OCTA_OK;
}

/* After so many levels the outermost descendants of s are 2^levels s, and from there 2 (2^levels - 1) up on
 * any axis and 2^levels - 1 down on y and z. */
static inline int descendants_fit(uint64_t id, int levels) {
    const int32_t scale = 1 << levels, reach = scale - 1;
    int32_t x, y, z;
    octa_index64_unpack(id, &x, &y, &z);
    return x * scale >= OCTA_COORD_MIN && x * scale + 2 * reach <= OCTA_COORD_MAX &&
           y * scale - reach >= OCTA_COORD_MIN && y * scale + 2 * reach <= OCTA_COORD_MAX &&
           z * scale - reach >= OCTA_COORD_MIN && z * scale + 2 * reach <= OCTA_COORD_MAX;
}

OCTA_HOT static int all_descendants_fit(const uint64_t *ids, size_t n, int levels) {
    int fit = 1;
    for (size_t i = 0; i < n; i++)
        fit &= descendants_fit(ids[i], levels);
    return fit;
}

static octa_error check_descendants(const uint64_t *ids, size_t n, int levels) {
    const uint64_t finest = (uint64_t)(OCTA_INDEX64_LOD_MAX - levels);
    for (size_t i = 0; i < n; i++) {
        OCTA_TRY(octa_index64_check_one(ids[i]));
        if (octa_index64_lod(ids[i]) > finest)
            return OCTA_E_LOD;
        if (!descendants_fit(ids[i], levels))
            return OCTA_E_RANGE;
    }
    return OCTA_OK;
}

typedef struct {
    uint64_t x[OCTA_CHILDREN], y[OCTA_CHILDREN], z[OCTA_CHILDREN];
} child_steps;

static child_steps steps_to_children(void) {
    child_steps steps;
    for (int k = 0; k < OCTA_CHILDREN; k++) {
        steps.x[k] = octa_morton_step(octa_child_offsets[k][0], 0);
        steps.y[k] = octa_morton_step(octa_child_offsets[k][1], 1);
        steps.z[k] = octa_morton_step(octa_child_offsets[k][2], 2);
    }
    return steps;
}

/* Twice the site takes the second digit out of the code; it is the complement of the first. */
static inline void put_children(const child_steps *steps, uint64_t id, uint64_t *out) {
    const uint64_t code = (id & 7ull << 45) | (id & BELOW_SECOND) << 3;
    const uint64_t prefix = (id & OCTA_INDEX64_PREFIX) + OCTA_INDEX64_LOD_ONE;
    for (int k = 0; k < OCTA_CHILDREN; k++)
        out[k] = prefix | octa_morton_add(code, steps->x[k], steps->y[k], steps->z[k]);
}

OCTA_HOT static void children_of(const uint64_t *ids, size_t n, uint64_t *out) {
    const child_steps steps = steps_to_children();
    for (size_t i = 0; i < n; i++)
        put_children(&steps, ids[i], out + i * OCTA_CHILDREN);
}

octa_error octa_index64_children(const uint64_t *ids, size_t n, uint64_t *out) {
    if (any_fault(ids, n) || any_lod_outside(ids, n, 0, OCTA_INDEX64_LOD_MAX - 1) ||
        !all_descendants_fit(ids, n, 1))
        OCTA_TRY(check_descendants(ids, n, 1));
    children_of(ids, n, out);
    return OCTA_OK;
}

octa_error octa_index64_descendants(const uint64_t *ids, size_t n, uint8_t levels, uint64_t *out) {
    if (levels > OCTA_INDEX64_LOD_MAX)
        return OCTA_E_DOMAIN;
    OCTA_TRY(check_descendants(ids, n, levels));
    const child_steps steps = steps_to_children();
    const size_t each = (size_t)1 << 3 * levels;
    for (size_t i = 0; i < n; i++) {
        uint64_t *block = out + i * each;
        block[0] = ids[i];
        for (size_t count = 1; count < each; count *= OCTA_CHILDREN)
            for (size_t j = count; j-- > 0;) /* from the end, so that none is overwritten before its turn */
                put_children(&steps, block[j], block + j * OCTA_CHILDREN);
    }
    return OCTA_OK;
}
