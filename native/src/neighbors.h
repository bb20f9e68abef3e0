/* Where the neighbours of cells are among those cells, for cells in the order of their ids. */
#ifndef OCTA_NEIGHBORS_H
#define OCTA_NEIGHBORS_H

#include "internal.h"

/* Words of scratch for n cells, were each a brick of its own: 3 for the brick, fewer than 4 for its slots. */
static inline size_t octa_neighbor_scratch(size_t n) { return 7 * n + 2; }

/* OCTA_OK for at most INT32_MAX ids of one grid, strictly ascending. */
octa_error octa_cells_check(const uint64_t *ids, size_t n);

/** Rows of the 14 neighbours of each cell, n where a neighbour is not among the cells; cannot fail.
 *  @param ids      n, which pass octa_cells_check
 *  @param scratch  octa_neighbor_scratch(n) words
 *  @param rows     n x OCTA_NEIGHBORS */
void octa_neighbor_rows(const uint64_t *ids, size_t n, uint64_t *scratch, int32_t *rows);

#endif
