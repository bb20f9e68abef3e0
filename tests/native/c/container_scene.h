/* Records of cells for the C tests of containers, always the same for one seed. */
#ifndef OCTA_TEST_CONTAINER_SCENE_H
#define OCTA_TEST_CONTAINER_SCENE_H

#include "scene.h"

/* A record with its own arrays; rows point into them. */
typedef struct {
    octa_record_key key;
    octa_rows rows;
    uint64_t *ids, *hits, *passes, *free_ids, *free_passes, *free_misses;
    int64_t *sums, *values;
} cell_record;

/** Three levels, free cells one above the finest, and a column of each rule: sum, least, greatest, latest. */
octa_container_options container_scene_options(void);

/** A record of some 60 cells around the origin. The options say which columns it has. */
cell_record cell_record_of(const octa_container_options *options, uint32_t seed, int64_t stamp_ns,
                           uint64_t source, uint32_t part);
void cell_record_free(cell_record *record);

/** From a cell's ancestor so many levels up to the cell, along x, in half edges of the cell. */
int64_t cell_offset_x(uint64_t id, uint8_t level);

/** What a level holds. */
typedef struct {
    size_t cells;
    uint64_t *ids, *hits, *passes, *free_passes, *free_misses;
    int64_t *sums, *values;
} container_state;

container_state container_state_of(const octa_container *container, const octa_container_options *options,
                                   uint8_t level);
void container_state_free(container_state *state);

/** CHECK that two containers hold the same at every level, to the bit. */
void container_check_equal(const octa_container *a, const octa_container *b,
                           const octa_container_options *options);

/** CHECK that a container is valid, with the reason if it is not. */
void container_check_valid(const octa_container *container);

#endif
