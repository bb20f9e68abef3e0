/* The grid: which lattice, and which returns fill it. */
#include "internal.h"

#include <math.h>

/* A point 10 km away on each axis then lies within 2^25 half edges: its site fits an int32 with ease. */
#define MIN_HALF_EDGE_M 1e-3

octa_error octa_grid_check(const octa_grid *grid) {
    if (!(grid->half_edge_m >= MIN_HALF_EDGE_M) || !isfinite(grid->half_edge_m))
        return OCTA_E_DOMAIN;
    if (grid->tier > 3 || grid->lod > 15)
        return OCTA_E_DOMAIN;
    if (!(grid->range_min_m >= 0.0) || !(grid->range_min_m < grid->range_max_m) ||
        !isfinite(grid->range_max_m))
        return OCTA_E_DOMAIN;
    if (!(grid->intensity_max > 0.0) || !isfinite(grid->intensity_max))
        return OCTA_E_DOMAIN;
    return OCTA_OK;
}
