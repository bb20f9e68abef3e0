/* Index64: a site, its LOD, tier and frame in 64 bits; the tree follows the lattice rule. */
#include "internal.h"

#define LOD_MAX 15
#define TIER_MAX 3
#define PREFIX_MASK (~((1ull << 48) - 1))
#define LOD_ONE (1ull << 48)

static inline uint8_t lod_of(uint64_t id) { return (uint8_t)(id >> 48 & 15u); }

static octa_error check_id(uint64_t id) {
    if (id >> 62 != 2)
        return OCTA_E_ID;
    /* The lowest bit of each coordinate; the bias is even, so parity is that of the site. */
    uint64_t low = id & 7u;
    return low == 0 || low == 7 ? OCTA_OK : OCTA_E_PARITY;
}

octa_error octa_index64_encode(const int32_t *sites, size_t n, uint8_t frame, uint8_t tier, uint8_t lod,
                               uint64_t *ids) {
    if (tier > TIER_MAX || lod > LOD_MAX)
        return OCTA_E_DOMAIN;
    for (size_t i = 0; i < n; i++) {
        const int32_t *s = sites + 3 * i;
        if (!octa_is_site(s[0], s[1], s[2]))
            return OCTA_E_PARITY;
        if (!octa_in_range(s[0], s[1], s[2]))
            return OCTA_E_RANGE;
    }
    uint64_t prefix = octa_index64_prefix(frame, tier, lod);
    for (size_t i = 0; i < n; i++)
        ids[i] = octa_index64_pack(prefix, sites[3 * i], sites[3 * i + 1], sites[3 * i + 2]);
    return OCTA_OK;
}

octa_error octa_index64_decode(const uint64_t *ids, size_t n, int32_t *sites, uint8_t *frames, uint8_t *tiers,
                               uint8_t *lods) {
    for (size_t i = 0; i < n; i++)
        OCTA_TRY(check_id(ids[i]));
    for (size_t i = 0; i < n; i++) {
        octa_index64_unpack(ids[i], sites + 3 * i, sites + 3 * i + 1, sites + 3 * i + 2);
        if (frames)
            frames[i] = (uint8_t)(ids[i] >> 52);
        if (tiers)
            tiers[i] = (uint8_t)(ids[i] >> 60 & 3u);
        if (lods)
            lods[i] = lod_of(ids[i]);
    }
    return OCTA_OK;
}

octa_error octa_index64_parent(const uint64_t *ids, size_t n, uint64_t *out) {
    for (size_t i = 0; i < n; i++) {
        OCTA_TRY(check_id(ids[i]));
        if (lod_of(ids[i]) == 0)
            return OCTA_E_LOD;
    }
    for (size_t i = 0; i < n; i++) {
        int32_t site[3], up[3];
        octa_index64_unpack(ids[i], &site[0], &site[1], &site[2]);
        OCTA_TRY(octa_lattice_parent(site, 1, up));
        out[i] = octa_index64_pack((ids[i] & PREFIX_MASK) - LOD_ONE, up[0], up[1], up[2]);
    }
    return OCTA_OK;
}

/* The children of one valid id below LOD 15 as sites. */
static octa_error child_sites(uint64_t id, int32_t children[OCTA_CHILDREN][3]) {
    int32_t site[3];
    octa_index64_unpack(id, &site[0], &site[1], &site[2]);
    return octa_lattice_children(site, 1, &children[0][0]);
}

static octa_error check_has_children(uint64_t id) {
    int32_t children[OCTA_CHILDREN][3];
    OCTA_TRY(check_id(id));
    if (lod_of(id) == LOD_MAX)
        return OCTA_E_LOD;
    OCTA_TRY(child_sites(id, children));
    for (size_t k = 0; k < OCTA_CHILDREN; k++)
        if (!octa_in_range(children[k][0], children[k][1], children[k][2]))
            return OCTA_E_RANGE;
    return OCTA_OK;
}

octa_error octa_index64_children(const uint64_t *ids, size_t n, uint64_t *out) {
    for (size_t i = 0; i < n; i++)
        OCTA_TRY(check_has_children(ids[i]));
    for (size_t i = 0; i < n; i++) {
        int32_t children[OCTA_CHILDREN][3];
        OCTA_TRY(child_sites(ids[i], children));
        uint64_t prefix = (ids[i] & PREFIX_MASK) + LOD_ONE;
        for (size_t k = 0; k < OCTA_CHILDREN; k++)
            out[i * OCTA_CHILDREN + k] =
                octa_index64_pack(prefix, children[k][0], children[k][1], children[k][2]);
    }
    return OCTA_OK;
}
