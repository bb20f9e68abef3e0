/* A container: tables by level, and the records that they are the sum of, where those are kept. */
#ifndef OCTA_CONTAINER_H
#define OCTA_CONTAINER_H

#include "celltable.h"

/* Values of a row: these, then the user's columns. */
enum {
    OCTA_LANE_HITS = 0,
    OCTA_LANE_PASSES,
    OCTA_LANE_FREE_PASSES,
    OCTA_LANE_FREE_MISSES,
    OCTA_LANE_SUMS,
    OCTA_LANE_USER = OCTA_LANE_SUMS + OCTA_SUMS
};

/* What a record says, or a sum: rows that say something, in one block. The rows of the free cells hold their
 * passes and misses. */
typedef struct {
    octa_record_key key;
    size_t cells, free_cells;
    uint64_t *ids;
    int64_t *values; /* cells x lanes */
    uint64_t *free_ids;
    int64_t (*free_values)[2];
} octa_item;

struct octa_container {
    octa_container_options options;
    octa_extent extent;
    uint64_t prefix, free_prefix;
    size_t lanes;
    int has_order;  /* a column is no sum: it cannot be subtracted from */
    int can_cancel; /* a column is a sum, of values of either sign */
    int64_t neutral[OCTA_LANE_USER + OCTA_MAX_WIDTH];
    octa_celltable tables[OCTA_LEVELS];
    octa_item **items; /* records kept, ascending by key */
    size_t count, capacity;
    size_t rows; /* of the records kept */
    int64_t now_ns;
    int has_limit; /* records up to the limit were evicted once, and are not taken back */
    octa_record_key limit;
    uint32_t *places; /* scratch: rows of an item in the tables, level by level, then of its free cells */
    size_t places_capacity;
};

/* ---- items ---- */

static inline size_t octa_item_rows(const octa_item *item) { return item->cells + item->free_cells; }

/* By stamp, then source, then part: less than, equal to or greater than 0. */
int octa_key_compare(const octa_record_key *a, const octa_record_key *b);

/** Check rows and take those that say something.  @return as octa_container_add */
octa_error octa_item_new(const octa_container *container, const octa_record_key *key, const octa_rows *rows,
                         octa_item **out);

/** The whole content of a container as one item.  @return OCTA_E_DOMAIN (too many hits in one cell for one
 *  record), OCTA_E_MEMORY */
octa_error octa_item_of_total(const octa_container *container, octa_item **out);

/** @return OCTA_E_MEMORY */
octa_error octa_item_copy(const octa_container *container, const octa_item *item, octa_item **out);

void octa_item_free(octa_item *item);

int octa_items_equal(const octa_container *container, const octa_item *a, const octa_item *b);

/* ---- folding ---- */

/** Begin tables of their own for a container, over its extent.  @return OCTA_E_MEMORY, with nothing to free
 */
octa_error octa_tables_begin(const octa_container *container, octa_celltable *tables);
void octa_tables_free(octa_celltable *tables);

/** Room to add these items one after the other, or to take them away.
 *  @param sign  +1 or -1
 *  @return OCTA_E_MEMORY */
octa_error octa_fold_reserve(octa_container *container, octa_item *const *items, size_t count, int sign);

/** Add an item to the tables, or take it away; room must have been reserved.
 *  @param sign     +1 or -1
 *  @param outside  receives its cells outside the extent; may be NULL
 *  @return OCTA_E_DOMAIN (a total beyond its bounds), OCTA_E_CAPACITY (a sum's table is full); then nothing
 * has changed */
octa_error octa_fold(octa_container *container, const octa_item *item, int sign, uint64_t *outside);

/* After items were taken away: find the values of columns that are no sums again, from the records left. */
void octa_fold_order(octa_container *container);

/** Tables anew from items; those of the container stay as they are when it fails.
 *  @return as octa_fold, OCTA_E_MEMORY */
octa_error octa_fold_all(octa_container *container, octa_item *const *items, size_t count);

/** Add an item to a container's sum, or subtract it; the item is freed.
 *  @return as octa_fold, OCTA_E_MEMORY */
octa_error octa_sum_fold(octa_container *container, octa_item *item, int sign, uint64_t *outside);

/* Rows of an item outside the extent. */
uint64_t octa_item_outside(const octa_container *container, const octa_item *item);

/* ---- records ---- */

octa_item *octa_record_find(const octa_container *container, const octa_record_key *key);

/* How many of the oldest of these records have to go: those too old, then those beyond the caps. */
typedef struct {
    size_t expired, evicted;
    uint64_t rows; /* of those evicted */
} octa_excess;

octa_excess octa_records_excess(const octa_container *container, octa_item *const *items, size_t count,
                                int64_t now_ns);

/* Records up to the last one evicted are not taken back: what is kept never depends on who came when. */
void octa_records_limit(octa_container *container, const octa_record_key *key);

#endif
