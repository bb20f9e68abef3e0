/* One Galactic128 at a time: two words, the high one first. */
#ifndef OCTA_GALACTIC128_H
#define OCTA_GALACTIC128_H

#include "internal.h"

#define OCTA_GALACTIC128_WORDS 2
#define OCTA_GALACTIC128_LOD_MAX 63

/* The high word without its low half, which is x. */
#define OCTA_GALACTIC128_HEAD (~0ull << 32)
#define OCTA_GALACTIC128_LOD_ONE (1ull << 48)

static inline uint8_t octa_galactic128_lod(const uint64_t *id) { return (uint8_t)(id[0] >> 48 & 63u); }

static inline void octa_galactic128_pack(uint64_t head, const int32_t *site, uint64_t *id) {
    id[0] = head | (uint32_t)site[0];
    id[1] = (uint64_t)(uint32_t)site[1] << 32 | (uint32_t)site[2];
}

static inline void octa_galactic128_unpack(const uint64_t *id, int32_t *site) {
    site[0] = (int32_t)(uint32_t)id[0];
    site[1] = (int32_t)(uint32_t)(id[1] >> 32);
    site[2] = (int32_t)(uint32_t)id[1];
}

/* OCTA_OK, or why the first id that has a fault is none. */
octa_error octa_galactic128_check_all(const uint64_t *ids, size_t n);

#endif
