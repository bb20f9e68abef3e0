/* Rings: a step leads to one of the 14 neighbours, and a shell holds the sites so many steps away.
 *
 * p diagonal steps reach any site within p on each axis, an axial step brings one axis two nearer; so with
 * |offsets| sorted a >= b >= c the fewest are b diagonal and (a - b) / 2 axial ones: (a + b) / 2. */
#include "rings.h"

#include <string.h>

static size_t up_to(size_t k) { return (k + 1) * (k + 1) * (k + 1) * (k + 1) - k * k * k * k; }

size_t octa_rings_count(uint32_t first, uint32_t last) {
    if (first > last || last > OCTA_RINGS_MAX)
        return 0;
    return up_to(last) - (first ? up_to(first - 1) : 0);
}

/* One offset with every sign that makes another, plus before minus. */
static int32_t *put_signs(int32_t *out, int32_t x, int32_t y, int32_t z) {
    for (int i = 0; i < (x ? 2 : 1); i++)
        for (int j = 0; j < (y ? 2 : 1); j++)
            for (int k = 0; k < (z ? 2 : 1); k++, out += 3) {
                out[0] = i ? -x : x;
                out[1] = j ? -y : y;
                out[2] = k ? -z : z;
            }
    return out;
}

/* All z >= 0 that make (x, y, z) one whose largest two are large and small, the greatest first. */
static int32_t *put_column(int32_t *out, int32_t x, int32_t y, int32_t large, int32_t small) {
    const int32_t high = x > y ? x : y, low = x > y ? y : x;
    if (high == large && low == small)
        for (int32_t z = small; z >= 0; z -= 2)
            out = put_signs(out, x, y, z);
    else if (high == large && low < small)
        out = put_signs(out, x, y, small);
    else if (high < large && high == small)
        out = put_signs(out, x, y, large);
    return out;
}

/* From one coordinate's value to the next lower one that an offset can have. */
static int32_t below(int32_t v, int32_t large, int32_t small) {
    return v == large && small < large ? small : v - 2;
}

static int32_t *put_shell(int32_t *out, int32_t k) {
    for (int32_t large = k; large <= 2 * k; large++) {
        const int32_t small = 2 * k - large;
        for (int32_t x = large; x >= 0; x = below(x, large, small))
            for (int32_t y = large; y >= 0; y = below(y, large, small))
                out = put_column(out, x, y, large, small);
    }
    return out;
}

octa_error octa_rings_offsets(uint32_t first, uint32_t last, int32_t *out) {
    if (first > last || last > OCTA_RINGS_MAX)
        return OCTA_E_DOMAIN;
    for (uint32_t k = first; k <= last; k++)
        out = put_shell(out, (int32_t)k);
    return OCTA_OK;
}

octa_error octa_rings_begin(octa_rings *rings, uint32_t first, uint32_t last, size_t words) {
    memset(rings, 0, sizeof *rings);
    rings->count = octa_rings_count(first, last);
    if (!rings->count)
        return OCTA_E_DOMAIN;
    rings->words = OCTA_MALLOC(rings->count * (words * sizeof *rings->words + sizeof *rings->offsets));
    if (!rings->words)
        return OCTA_E_MEMORY;
    rings->offsets = (int32_t (*)[3])(void *)(rings->words + rings->count * words);
    return octa_rings_offsets(first, last, rings->offsets[0]);
}

void octa_rings_end(octa_rings *rings) {
    OCTA_FREE(rings->words);
    memset(rings, 0, sizeof *rings);
}

static inline uint64_t apart(int32_t a, int32_t b) {
    const int64_t d = (int64_t)a - b;
    return (uint64_t)(d < 0 ? -d : d);
}

static inline uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

octa_error octa_lattice_distance(const int32_t *a, const int32_t *b, size_t n, uint32_t *out) {
    for (size_t i = 0; i < 3 * n; i += 3)
        if (!octa_is_site(a[i], a[i + 1], a[i + 2]) || !octa_is_site(b[i], b[i + 1], b[i + 2]))
            return OCTA_E_PARITY;
    for (size_t i = 0; i < n; i++) {
        const uint64_t x = apart(a[3 * i], b[3 * i]), y = apart(a[3 * i + 1], b[3 * i + 1]),
                       z = apart(a[3 * i + 2], b[3 * i + 2]);
        out[i] = (uint32_t)((x + y + z - least(x, least(y, z))) / 2);
    }
    return OCTA_OK;
}
