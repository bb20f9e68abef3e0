/* Hilbert64: the fields of an Index64 with a key in place of its Morton code: each digit of three bits, one
 * an axis, as a Gray code. What an id means, and so its tree, is that of its Index64. */
#include "index64.h"

#define HEADER_BIT (1ull << 62) /* 11 where an Index64 has 10 */

/* The lower bits of each digit that take in the bit one, or two, above them. */
#define LOWER_TWO (OCTA_MORTON_X | OCTA_MORTON_Y)
#define LOWEST OCTA_MORTON_X

static inline uint64_t key_of(uint64_t code) { return code ^ (code >> 1 & LOWER_TWO); }

static inline uint64_t code_of(uint64_t key) { return key ^ (key >> 1 & LOWER_TWO) ^ (key >> 2 & LOWEST); }

static inline uint64_t to_index64(uint64_t id) {
    return (id & ~HEADER_BIT & OCTA_INDEX64_PREFIX) | code_of(id & OCTA_MORTON_ALL);
}

OCTA_HOT static int any_fault(const uint64_t *ids, size_t n) {
    uint64_t fault = 0;
    for (size_t i = 0; i < n; i++)
        fault |= (ids[i] >> 62 ^ 3u) | octa_index64_fault(to_index64(ids[i]));
    return fault != 0;
}

OCTA_HOT static void all_to_index64(const uint64_t *ids, size_t n, uint64_t *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = to_index64(ids[i]);
}

OCTA_HOT static void all_from_index64(const uint64_t *ids, size_t n, uint64_t *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = (ids[i] & OCTA_INDEX64_PREFIX) | HEADER_BIT | key_of(ids[i] & OCTA_MORTON_ALL);
}

octa_error octa_hilbert64_to_index64(const uint64_t *ids, size_t n, uint64_t *index64) {
    if (any_fault(ids, n))
        for (size_t i = 0; i < n; i++) {
            if (ids[i] >> 62 != 3)
                return OCTA_E_ID;
            OCTA_TRY(octa_index64_check_one(to_index64(ids[i])));
        }
    all_to_index64(ids, n, index64);
    return OCTA_OK;
}

octa_error octa_hilbert64_from_index64(const uint64_t *index64, size_t n, uint64_t *ids) {
    OCTA_TRY(octa_index64_check_all(index64, n));
    all_from_index64(index64, n, ids);
    return OCTA_OK;
}

static octa_error check_codes(const uint64_t *codes, size_t n) {
    uint64_t all = 0;
    for (size_t i = 0; i < n; i++)
        all |= codes[i];
    return all > OCTA_MORTON_ALL ? OCTA_E_DOMAIN : OCTA_OK;
}

octa_error octa_hilbert64_keys(const uint64_t *morton, size_t n, uint64_t *keys) {
    OCTA_TRY(check_codes(morton, n));
    for (size_t i = 0; i < n; i++)
        keys[i] = key_of(morton[i]);
    return OCTA_OK;
}

octa_error octa_hilbert64_morton(const uint64_t *keys, size_t n, uint64_t *morton) {
    OCTA_TRY(check_codes(keys, n));
    for (size_t i = 0; i < n; i++)
        morton[i] = code_of(keys[i]);
    return OCTA_OK;
}
