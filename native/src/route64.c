/* Route64: a site within +-2^19 and its tier, in 64 bits; no frame, no LOD. */
#include "route64.h"

#include "index64.h"

#define TIER_MAX 3

static inline uint64_t fault_of(uint64_t id) {
    return (id >> 62 ^ 1u) | ((id ^ id >> 20) & 1u) | ((id ^ id >> 40) & 1u);
}

OCTA_HOT static int any_fault(const uint64_t *ids, size_t n) {
    uint64_t fault = 0;
    for (size_t i = 0; i < n; i++)
        fault |= fault_of(ids[i]);
    return fault != 0;
}

octa_error octa_route64_check_all(const uint64_t *ids, size_t n) {
    if (any_fault(ids, n))
        for (size_t i = 0; i < n; i++) {
            if (ids[i] >> 62 != 1)
                return OCTA_E_ID;
            if (fault_of(ids[i]))
                return OCTA_E_PARITY;
        }
    return OCTA_OK;
}

static octa_error check_sites(const int32_t *sites, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const int32_t *s = sites + 3 * i;
        if (!octa_is_site(s[0], s[1], s[2]))
            return OCTA_E_PARITY;
        if (!octa_route64_in_range(s[0], s[1], s[2]))
            return OCTA_E_RANGE;
    }
    return OCTA_OK;
}

OCTA_HOT static void pack(const int32_t *sites, size_t n, uint64_t prefix, uint64_t *ids) {
    for (size_t i = 0; i < n; i++)
        ids[i] = octa_route64_pack(prefix, sites[3 * i], sites[3 * i + 1], sites[3 * i + 2]);
}

OCTA_HOT static void unpack(const uint64_t *ids, size_t n, int32_t *sites) {
    for (size_t i = 0; i < n; i++)
        octa_route64_unpack(ids[i], sites + 3 * i, sites + 3 * i + 1, sites + 3 * i + 2);
}

octa_error octa_route64_encode(const int32_t *sites, size_t n, uint8_t tier, uint64_t *ids) {
    if (tier > TIER_MAX)
        return OCTA_E_DOMAIN;
    OCTA_TRY(check_sites(sites, n));
    pack(sites, n, octa_route64_prefix(tier), ids);
    return OCTA_OK;
}

octa_error octa_route64_decode(const uint64_t *ids, size_t n, int32_t *sites, uint8_t *tiers) {
    OCTA_TRY(octa_route64_check_all(ids, n));
    unpack(ids, n, sites);
    for (size_t i = 0; tiers && i < n; i++)
        tiers[i] = (uint8_t)(ids[i] >> 60 & 3u);
    return OCTA_OK;
}

octa_error octa_route64_from_index64(const uint64_t *index64, size_t n, uint64_t *ids) {
    OCTA_TRY(octa_index64_check_all(index64, n));
    for (size_t i = 0; i < n; i++) {
        int32_t x, y, z;
        octa_index64_unpack(index64[i], &x, &y, &z);
        ids[i] = octa_route64_pack(octa_route64_prefix((uint8_t)(index64[i] >> 60 & 3u)), x, y, z);
    }
    return OCTA_OK;
}

octa_error octa_route64_to_index64(const uint64_t *ids, size_t n, uint8_t frame, uint8_t lod,
                                   uint64_t *index64) {
    int32_t x, y, z;
    if (lod > OCTA_INDEX64_LOD_MAX)
        return OCTA_E_DOMAIN;
    OCTA_TRY(octa_route64_check_all(ids, n));
    for (size_t i = 0; i < n; i++) {
        octa_route64_unpack(ids[i], &x, &y, &z);
        if (!octa_in_range(x, y, z))
            return OCTA_E_RANGE;
    }
    for (size_t i = 0; i < n; i++) {
        octa_route64_unpack(ids[i], &x, &y, &z);
        index64[i] = octa_index64_pack(octa_index64_prefix(frame, ids[i] >> 60 & 3u, lod), x, y, z);
    }
    return OCTA_OK;
}
