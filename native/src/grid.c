/* The grid: which lattice, and which returns fill it. */
#include "internal.h"

/* Limits within which float32 holds every value with room to spare; NaN is within none. With a half edge of a
 * millimetre a point 10 km away still lies within 2^25 half edges, so its site fits an int32. */
static int within(double value, double low, double high) { return value >= low && value <= high; }

octa_error octa_grid_check(const octa_grid *grid) {
    int ok = within(grid->half_edge_m, 1e-3, 1e6) && grid->tier <= 3 && grid->lod <= 15 &&
             within(grid->range_min_m, 0.0, 1e6) && within(grid->range_max_m, 0.0, 1e6) &&
             grid->range_min_m < grid->range_max_m && within(grid->intensity_max, 1e-6, 1e9);
    return ok ? OCTA_OK : OCTA_E_DOMAIN;
}
