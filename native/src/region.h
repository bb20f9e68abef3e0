/* A region in half edges, prepared so that one cell is decided at once. */
#ifndef OCTA_REGION_H
#define OCTA_REGION_H

#include "cellshape.h"
#include "internal.h"
#include "solid.h"

#define OCTA_REGION_PLANES 6
#define OCTA_REGION_SLABS 64 /* of a frustum and a cell: 7 + 5 + 6 x 6 */

/* low <= normal . site <= high; the normal need not be of unit length. */
typedef struct {
    double normal[3], low, high;
} octa_slab;

/* What lies within a region's faces: normal . x <= offset. */
typedef struct {
    double normal[3], offset;
} octa_plane;

/* The sites of the cells of a region are those of a convex body: all slabs, or what is near a segment.
 * Numbers are taken from a site in the middle, so that they are small. */
typedef struct {
    int32_t anchor[3];
    double low[3], high[3]; /* box about the body, from the anchor */
    int intersects;         /* every cell that the region meets, not only those whose site it holds */
    int slabs, planes;      /* 0 slabs: a ball or a capsule */
    octa_slab slab[OCTA_REGION_SLABS];
    octa_plane plane[OCTA_REGION_PLANES];
    double from[3], to[3], radius;
    const octa_cell_edges *edges;
} octa_region;

/** Prepare a region of a kind.
 *  @param values  octa_region_values(kind) numbers, metres
 *  @return OCTA_E_DOMAIN, OCTA_E_POSE, OCTA_E_RANGE (it reaches beyond the map) */
octa_error octa_region_prepare(octa_region *region, uint32_t kind, const double *values, double half_edge_m,
                               int intersects, const octa_cell_edges *edges);

enum { OCTA_BLOCK_OUT, OCTA_BLOCK_CUT, OCTA_BLOCK_IN, OCTA_BLOCK_WHOLE };

/** What is known of all sites of a box, given by its middle and half its edge (from the anchor): none is in
 * the body, all are, or the region even holds their cells. OCTA_BLOCK_CUT where that is not sure. */
int octa_region_block(const octa_region *region, const double *middle, double half);

/** Whether a site, from the anchor, is in the body. */
int octa_region_holds(const octa_region *region, const double *site);

/** The share of the cell about a site that lies in the region, 0 .. 1. */
double octa_region_coverage(const octa_region *region, const octa_solid *cell, const double *site);

#endif
