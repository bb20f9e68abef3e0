/* Hash map from cell id to row: open addressing, linear probing, no tombstones. Key 0 marks an empty slot
 * (no Index64 is 0). */
#ifndef OCTA_CELLMAP_H
#define OCTA_CELLMAP_H

#include "internal.h"

#define OCTA_NO_ROW UINT32_MAX

typedef struct {
    uint64_t *keys;
    uint32_t *rows;
    size_t mask; /* slots - 1; slots is a power of two, 0 slots before the first reserve */
    size_t used;
} octa_cellmap;

void octa_cellmap_free(octa_cellmap *map);

/** Make room for that many keys in all; the map is unchanged when it fails. */
octa_error octa_cellmap_reserve(octa_cellmap *map, size_t keys);

void octa_cellmap_clear(octa_cellmap *map);

/** Remove a key that is present. */
void octa_cellmap_remove(octa_cellmap *map, uint64_t key);

static inline size_t octa_cellmap_slot(const octa_cellmap *map, uint64_t key) {
    return (size_t)((key * 0x9e3779b97f4a7c15ull) >> 20) & map->mask;
}

static inline uint32_t octa_cellmap_find(const octa_cellmap *map, uint64_t key) {
    if (!map->keys)
        return OCTA_NO_ROW;
    for (size_t slot = octa_cellmap_slot(map, key);; slot = (slot + 1) & map->mask) {
        if (map->keys[slot] == key)
            return map->rows[slot];
        if (!map->keys[slot])
            return OCTA_NO_ROW;
    }
}

/* Row of the key; a new key gets `row`. Room must have been reserved. */
static inline uint32_t octa_cellmap_insert(octa_cellmap *map, uint64_t key, uint32_t row) {
    size_t slot = octa_cellmap_slot(map, key);
    for (; map->keys[slot]; slot = (slot + 1) & map->mask)
        if (map->keys[slot] == key)
            return map->rows[slot];
    map->keys[slot] = key;
    map->rows[slot] = row;
    map->used++;
    return row;
}

#endif
