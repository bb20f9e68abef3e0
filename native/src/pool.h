/* Means of cell values over coarser levels of the lattice: over cells with the same parent, and with the same
 * grandparent. */
#ifndef OCTA_POOL_H
#define OCTA_POOL_H

#include "cellmap.h"

#define OCTA_POOLED 8      /* values of a cell */
#define OCTA_POOL_LEVELS 2 /* coarser levels */

/* One coarser level: its cells in order of first sight. */
typedef struct {
    size_t count;
    int32_t (*sites)[3];
    float (*mean)[OCTA_POOLED];
    float *size;       /* cells that a mean is over */
    uint32_t *cell_of; /* of each cell of the finest level */
} octa_pool_level;

typedef struct {
    octa_pool_level levels[OCTA_POOL_LEVELS];
    octa_cellmap map; /* scratch */
    void *memory;
} octa_pool;

/** Room for n cells; nothing to free when it fails. */
octa_error octa_pool_begin(octa_pool *pool, size_t n);
void octa_pool_end(octa_pool *pool);

/** Pool the values of n cells at sites within the range of ids. */
void octa_pool_run(octa_pool *pool, const int32_t (*sites)[3], const float (*values)[OCTA_POOLED], size_t n);

#endif
