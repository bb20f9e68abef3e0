/* The BCC lattice: nearest site, neighbours, parent and children.
 *
 * Source: Conway & Sloane, "Fast quantizing and decoding algorithms for lattice quantizers", 1982. */
#include "lattice.h"

#include "avx2.h"

#include <math.h>
#include <string.h>

#define SNAP_LIMIT 1073741824.0 /* 2^30 */
#define SITE_LIMIT (1 << 30)
#define CHILDREN_LIMIT (1 << 29)

const int8_t octa_neighbor_offsets[OCTA_NEIGHBORS][3] = {
    {1, 1, 1},    {1, 1, -1}, {1, -1, 1}, {1, -1, -1}, {-1, 1, 1}, {-1, 1, -1}, {-1, -1, 1},
    {-1, -1, -1}, {2, 0, 0},  {-2, 0, 0}, {0, 2, 0},   {0, -2, 0}, {0, 0, 2},   {0, 0, -2},
};

const int8_t octa_child_offsets[OCTA_CHILDREN][3] = {
    {0, 0, 0}, {2, 0, 0}, {0, 2, 0}, {0, 0, 2}, {1, 1, 1}, {1, 1, -1}, {1, -1, 1}, {1, -1, -1},
};

/* The nearest even integer, half rounding up. floor(v/2 + 1/2) would round the sum; the difference is exact
 * wherever it could be near one half. */
static inline double nearest_even(double v) {
    double half = 0.5 * v;
    double below = floor(half);
    return 2.0 * (half - below >= 0.5 ? below + 1.0 : below);
}

OCTA_HOT static int all_within(const double *values, size_t n, double limit) {
    int bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= !(fabs(values[i]) <= limit);
    return !bad;
}

#define BLOCK 16 /* points at a time, whose coordinates vectors take as they lie */

/* With d = v - even in [-1, 1), the odd candidate lies 1 - |d| away on each axis, so its squared distance is
 * less exactly when |dx| + |dy| + |dz| > 3/2. On an axis d = 0 is the odd sublattice's tie, and rounds up. */
static OCTA_ALWAYS_INLINE void snap_block(const double *points, int32_t *sites) {
    double even[3 * BLOCK], aside[3 * BLOCK], odd[3 * BLOCK];
    for (int k = 0; k < 3 * BLOCK; k++) {
        even[k] = nearest_even(points[k]);
        aside[k] = points[k] - even[k];
    }
    for (int k = 0; k < BLOCK; k++) {
        const double *d = aside + 3 * k;
        odd[3 * k] = odd[3 * k + 1] = odd[3 * k + 2] =
            (fabs(d[0]) + fabs(d[1])) + fabs(d[2]) > 1.5 ? 1.0 : 0.0;
    }
    for (int k = 0; k < 3 * BLOCK; k++)
        sites[k] = (int32_t)(even[k] + (aside[k] >= 0.0 ? odd[k] : -odd[k])); /* exact */
}

OCTA_HOT static void snap(const double *points, size_t n, int32_t *sites) {
    double last[3 * BLOCK] = {0};
    int32_t out[3 * BLOCK];
    size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK)
        snap_block(points + 3 * i, sites + 3 * i);
    if (i == n)
        return;
    memcpy(last, points + 3 * i, 3 * (n - i) * sizeof *last);
    snap_block(last, out);
    memcpy(sites + 3 * i, out, 3 * (n - i) * sizeof *out);
}

octa_error octa_lattice_snap(const double *points, size_t n, int32_t *sites) {
    if (!all_within(points, 3 * n, SNAP_LIMIT))
        return OCTA_E_DOMAIN;
    snap(points, n, sites);
    return OCTA_OK;
}

static octa_error check_sites(const int32_t *sites, size_t n, int64_t limit) {
    for (size_t i = 0; i < n; i++) {
        const int32_t *s = sites + 3 * i;
        for (int axis = 0; axis < 3; axis++)
            if (s[axis] < -limit || s[axis] > limit)
                return OCTA_E_DOMAIN;
        if (!octa_is_site(s[0], s[1], s[2]))
            return OCTA_E_PARITY;
    }
    return OCTA_OK;
}

octa_error octa_lattice_neighbors(const int32_t *sites, size_t n, int32_t *out) {
    OCTA_TRY(check_sites(sites, n, SITE_LIMIT));
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < OCTA_NEIGHBORS; k++)
            for (size_t axis = 0; axis < 3; axis++)
                out[(i * OCTA_NEIGHBORS + k) * 3 + axis] =
                    sites[3 * i + axis] + octa_neighbor_offsets[k][axis];
    return OCTA_OK;
}

octa_error octa_lattice_parent(const int32_t *sites, size_t n, int32_t *out) {
    OCTA_TRY(check_sites(sites, n, INT32_MAX));
    for (size_t i = 0; i < n; i++)
        octa_parent_site(sites + 3 * i, out + 3 * i);
    return OCTA_OK;
}

octa_error octa_lattice_children(const int32_t *sites, size_t n, int32_t *out) {
    OCTA_TRY(check_sites(sites, n, CHILDREN_LIMIT));
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < OCTA_CHILDREN; k++)
            for (size_t axis = 0; axis < 3; axis++)
                out[(i * OCTA_CHILDREN + k) * 3 + axis] =
                    2 * sites[3 * i + axis] + octa_child_offsets[k][axis];
    return OCTA_OK;
}
