/* Galactic128: a site of 32-bit coordinates with frame, scale, LOD and four bits of the user's, in 128 bits.
 * The tree follows the lattice rule, as that of Index64. */
#include "galactic128.h"

#include "index64.h"
#include "lattice.h"

#define TIER_MAX 3
#define ATTR_MAX 15
#define VERSION 1
#define WORDS OCTA_GALACTIC128_WORDS

static octa_error check_one(const uint64_t *id) {
    int32_t s[3];
    if ((id[0] >> 36 & 15u) != VERSION)
        return OCTA_E_ID;
    octa_galactic128_unpack(id, s);
    return octa_is_site(s[0], s[1], s[2]) ? OCTA_OK : OCTA_E_PARITY;
}

octa_error octa_galactic128_check_all(const uint64_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++)
        OCTA_TRY(check_one(ids + i * WORDS));
    return OCTA_OK;
}

static inline uint64_t head_of(const octa_galactic128_fields *f) {
    return (uint64_t)f->scale_mant << 56 | (uint64_t)f->scale_tier << 54 | (uint64_t)f->lod << 48 |
           (uint64_t)f->frame << 40 | (uint64_t)VERSION << 36 | (uint64_t)f->attr_usr << 32;
}

octa_error octa_galactic128_encode(const int32_t *sites, size_t n, const octa_galactic128_fields *fields,
                                   uint64_t *ids) {
    if (fields->scale_tier > TIER_MAX || fields->lod > OCTA_GALACTIC128_LOD_MAX ||
        fields->attr_usr > ATTR_MAX)
        return OCTA_E_DOMAIN;
    for (size_t i = 0; i < n; i++)
        if (!octa_is_site(sites[3 * i], sites[3 * i + 1], sites[3 * i + 2]))
            return OCTA_E_PARITY;
    const uint64_t head = head_of(fields);
    for (size_t i = 0; i < n; i++)
        octa_galactic128_pack(head, sites + 3 * i, ids + i * WORDS);
    return OCTA_OK;
}

octa_error octa_galactic128_decode(const uint64_t *ids, size_t n, int32_t *sites,
                                   octa_galactic128_fields *fields) {
    OCTA_TRY(octa_galactic128_check_all(ids, n));
    for (size_t i = 0; i < n; i++) {
        const uint64_t high = ids[i * WORDS];
        octa_galactic128_unpack(ids + i * WORDS, sites + 3 * i);
        if (fields)
            fields[i] = (octa_galactic128_fields){.frame = (uint8_t)(high >> 40),
                                                  .scale_mant = (uint8_t)(high >> 56),
                                                  .scale_tier = (uint8_t)(high >> 54 & 3u),
                                                  .lod = (uint8_t)(high >> 48 & 63u),
                                                  .attr_usr = (uint8_t)(high >> 32 & 15u)};
    }
    return OCTA_OK;
}

/* ---- the tree */

octa_error octa_galactic128_parent(const uint64_t *ids, size_t n, uint64_t *out) {
    for (size_t i = 0; i < n; i++) {
        OCTA_TRY(check_one(ids + i * WORDS));
        if (octa_galactic128_lod(ids + i * WORDS) == 0)
            return OCTA_E_LOD;
    }
    for (size_t i = 0; i < n; i++) {
        const uint64_t head = ids[i * WORDS] & OCTA_GALACTIC128_HEAD;
        int32_t site[3], up[3];
        octa_galactic128_unpack(ids + i * WORDS, site);
        octa_parent_site(site, up);
        octa_galactic128_pack(head - OCTA_GALACTIC128_LOD_ONE, up, out + i * WORDS);
    }
    return OCTA_OK;
}

static inline int64_t child_at(int32_t v, int child, int axis) {
    return 2 * (int64_t)v + octa_child_offsets[child][axis];
}

static octa_error check_children(const uint64_t *id) {
    int32_t site[3];
    OCTA_TRY(check_one(id));
    if (octa_galactic128_lod(id) == OCTA_GALACTIC128_LOD_MAX)
        return OCTA_E_LOD;
    octa_galactic128_unpack(id, site);
    for (int k = 0; k < OCTA_CHILDREN; k++)
        for (int axis = 0; axis < 3; axis++) {
            const int64_t v = child_at(site[axis], k, axis);
            if (v < INT32_MIN || v > INT32_MAX)
                return OCTA_E_RANGE;
        }
    return OCTA_OK;
}

octa_error octa_galactic128_children(const uint64_t *ids, size_t n, uint64_t *out) {
    for (size_t i = 0; i < n; i++)
        OCTA_TRY(check_children(ids + i * WORDS));
    for (size_t i = 0; i < n; i++) {
        const uint64_t head = (ids[i * WORDS] & OCTA_GALACTIC128_HEAD) + OCTA_GALACTIC128_LOD_ONE;
        int32_t site[3], child[3];
        octa_galactic128_unpack(ids + i * WORDS, site);
        for (int k = 0; k < OCTA_CHILDREN; k++) {
            for (int axis = 0; axis < 3; axis++)
                child[axis] = (int32_t)child_at(site[axis], k, axis);
            octa_galactic128_pack(head, child, out + (i * OCTA_CHILDREN + (size_t)k) * WORDS);
        }
    }
    return OCTA_OK;
}

/* ---- from and to Index64 */

octa_error octa_galactic128_from_index64(const uint64_t *index64, size_t n, uint8_t scale_mant,
                                         uint8_t attr_usr, uint64_t *ids) {
    if (attr_usr > ATTR_MAX)
        return OCTA_E_DOMAIN;
    OCTA_TRY(octa_index64_check_all(index64, n));
    for (size_t i = 0; i < n; i++) {
        const octa_galactic128_fields fields = {.frame = (uint8_t)(index64[i] >> 52),
                                                .scale_mant = scale_mant,
                                                .scale_tier = (uint8_t)(index64[i] >> 60 & 3u),
                                                .lod = octa_index64_lod(index64[i]),
                                                .attr_usr = attr_usr};
        int32_t site[3];
        octa_index64_unpack(index64[i], &site[0], &site[1], &site[2]);
        octa_galactic128_pack(head_of(&fields), site, ids + i * WORDS);
    }
    return OCTA_OK;
}

octa_error octa_galactic128_to_index64(const uint64_t *ids, size_t n, uint64_t *index64) {
    int32_t site[3];
    for (size_t i = 0; i < n; i++) {
        OCTA_TRY(check_one(ids + i * WORDS));
        if (octa_galactic128_lod(ids + i * WORDS) > OCTA_INDEX64_LOD_MAX)
            return OCTA_E_LOD;
        octa_galactic128_unpack(ids + i * WORDS, site);
        if (!octa_in_range(site[0], site[1], site[2]))
            return OCTA_E_RANGE;
    }
    for (size_t i = 0; i < n; i++) {
        const uint64_t high = ids[i * WORDS];
        octa_galactic128_unpack(ids + i * WORDS, site);
        index64[i] = octa_index64_pack(octa_index64_prefix((uint8_t)(high >> 40), (uint8_t)(high >> 54 & 3u),
                                                           octa_galactic128_lod(ids + i * WORDS)),
                                       site[0], site[1], site[2]);
    }
    return OCTA_OK;
}
