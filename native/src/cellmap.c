#include "cellmap.h"

#include <string.h>

void octa_cellmap_free(octa_cellmap *map) {
    OCTA_FREE(map->keys);
    OCTA_FREE(map->rows);
    memset(map, 0, sizeof *map);
}

octa_error octa_cellmap_reserve(octa_cellmap *map, size_t keys) {
    size_t slots = 64;
    while (slots < 2 * keys)
        slots *= 2;
    if (map->keys && slots <= map->mask + 1)
        return OCTA_OK;
    octa_cellmap bigger = {OCTA_MALLOC(slots * sizeof(uint64_t)), OCTA_MALLOC(slots * sizeof(uint32_t)),
                           slots - 1, 0};
    if (!bigger.keys || !bigger.rows) {
        octa_cellmap_free(&bigger);
        return OCTA_E_MEMORY;
    }
    memset(bigger.keys, 0, slots * sizeof(uint64_t));
    if (map->keys)
        for (size_t slot = 0; slot <= map->mask; slot++)
            if (map->keys[slot])
                octa_cellmap_insert(&bigger, map->keys[slot], map->rows[slot]);
    octa_cellmap_free(map);
    *map = bigger;
    return OCTA_OK;
}

void octa_cellmap_clear(octa_cellmap *map) {
    if (map->keys && map->used)
        memset(map->keys, 0, (map->mask + 1) * sizeof(uint64_t));
    map->used = 0;
}

void octa_cellmap_remove(octa_cellmap *map, uint64_t key) {
    size_t hole = octa_cellmap_slot(map, key);
    while (map->keys[hole] != key)
        hole = (hole + 1) & map->mask;
    /* Shift later members of the probe chain back, so that no search ends early at the hole. */
    for (size_t slot = (hole + 1) & map->mask; map->keys[slot]; slot = (slot + 1) & map->mask) {
        size_t home = octa_cellmap_slot(map, map->keys[slot]);
        if (((slot - home) & map->mask) >= ((slot - hole) & map->mask)) {
            map->keys[hole] = map->keys[slot];
            map->rows[hole] = map->rows[slot];
            hole = slot;
        }
    }
    map->keys[hole] = 0;
    map->used--;
}
