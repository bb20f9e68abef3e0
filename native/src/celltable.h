/* Rows of a fixed number of 64-bit values by cell: a hash table, or an array over every site of an extent. */
#ifndef OCTA_CELLTABLE_H
#define OCTA_CELLTABLE_H

#include "cellmap.h"
#include "sort.h"

/* A box of the lattice: the sites s with origin <= s < origin + 2 * shape on every axis. */
typedef struct {
    int32_t origin[3]; /* an even site */
    uint32_t shape[3]; /* in cubic unit cells of two half edges; all 0 for no box: then every site is in it */
} octa_extent;

/* A row without a cell has the id 0. In an array every site has its row, with or without a cell. */
typedef struct {
    octa_cellmap map;
    octa_extent extent; /* of an array */
    int dense;
    size_t lanes; /* values of a row */
    uint64_t *ids;
    int64_t *values; /* capacity x lanes */
    uint32_t *free_rows;
    size_t rows; /* ever used: those with a cell and those in free_rows */
    size_t free_count;
    size_t capacity;
    size_t used; /* with a cell */
} octa_celltable;

static inline int octa_extent_is_whole(const octa_extent *extent) { return extent->shape[0] == 0; }

static inline int octa_extent_holds(const octa_extent *extent, const int32_t *site) {
    if (octa_extent_is_whole(extent))
        return 1;
    for (int axis = 0; axis < 3; axis++) {
        const int64_t at = (int64_t)site[axis] - extent->origin[axis];
        if (at < 0 || at >= 2 * (int64_t)extent->shape[axis])
            return 0;
    }
    return 1;
}

/* Sites of an extent: even ones, then odd ones; x fastest. */
static inline size_t octa_extent_sites(const octa_extent *extent) {
    return (size_t)2 * extent->shape[0] * extent->shape[1] * extent->shape[2];
}

/* Row of a site within the extent. */
static inline uint32_t octa_extent_row(const octa_extent *extent, const int32_t *site) {
    const uint32_t odd = (uint32_t)site[0] & 1u;
    size_t at[3];
    for (int axis = 0; axis < 3; axis++)
        at[axis] = (size_t)(site[axis] - extent->origin[axis]) / 2;
    const size_t plane = at[2] + odd * (size_t)extent->shape[2];
    return (uint32_t)((plane * extent->shape[1] + at[1]) * extent->shape[0] + at[0]);
}

static inline int64_t *octa_celltable_row(const octa_celltable *table, uint32_t row) {
    return table->values + (size_t)row * table->lanes;
}

/** A hash table without rows; nothing to free yet. */
void octa_celltable_begin(octa_celltable *table, size_t lanes);

/** An array over an extent that is not whole, every row neutral.  @return OCTA_E_MEMORY, with nothing to free
 */
octa_error octa_celltable_begin_dense(octa_celltable *table, size_t lanes, const octa_extent *extent,
                                      const int64_t *neutral);

void octa_celltable_free(octa_celltable *table);

/** Room for that many more cells; the table is unchanged when it fails. */
octa_error octa_celltable_reserve(octa_celltable *table, size_t more);

/** Row of a cell, OCTA_NO_ROW where a hash table has none. site is the cell's, within the extent of an array.
 */
uint32_t octa_celltable_find(const octa_celltable *table, uint64_t id, const int32_t *site);

/** Row of a cell; a new one is neutral. Room must have been reserved. */
uint32_t octa_celltable_place(octa_celltable *table, uint64_t id, const int32_t *site,
                              const int64_t *neutral);

/** Give a row its cell or take it away, as its values are neutral or not. */
void octa_celltable_settle(octa_celltable *table, uint32_t row, uint64_t id, const int64_t *neutral);

/** The cells ascending by id, as pairs of id and row; pairs holds twice table->used. */
void octa_celltable_sorted(const octa_celltable *table, octa_id_row *pairs);

#endif
