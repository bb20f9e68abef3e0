/* The rays of a sweep behind a direction index: rays.c fills it, visibility.c asks it.
 *
 * Rays are sorted into a grid over the six faces of a cube around the sensor (no trigonometry). The index
 * only leaves out rays that cannot cross a cell; it never decides. */
#ifndef OCTA_RAYS_H
#define OCTA_RAYS_H

#include "cellview.h"
#include "sensor.h"

/* A row holds a few rings of a spinning LiDAR, so that a cell asks for few, long runs of rays. */
#define OCTA_FACE_ROWS 128
#define OCTA_FACE_COLUMNS 512
#define OCTA_RAY_ROWS (OCTA_FACES * OCTA_FACE_ROWS)
/* A row of starts ends with the end of its last bin. The odd stride also spreads rows over the cache sets. */
#define OCTA_ROW_STRIDE (OCTA_FACE_COLUMNS + 1)
#define OCTA_RAY_BINS (OCTA_RAY_ROWS * OCTA_ROW_STRIDE)
struct octa_rays {
    octa_grid grid;
    octa_sensor sensor;
    size_t n;
    size_t capacity;
    octa_ray_block *blocks;          /* rays in the order of their bins, blocks aligned to vectors */
    float *reach;                    /* squared length of the longest ray of each block, half edges */
    void *memory;                    /* owns both */
    uint32_t *start;                 /* OCTA_RAY_BINS: first ray of each bin; zeros in a row without rays */
    uint8_t used[OCTA_RAY_ROWS + 1]; /* row holds a ray; the last: some points are unusable */
    /* scratch of load, one a point */
    float *direction[3];
    uint32_t *bin;
    uint32_t *rank; /* place within the bin */
    int32_t *order;
};

/* What one cell asks of the rays. */
typedef struct {
    octa_cell_view view;
    float reach; /* squared length under which a ray surely ends before the cell */
} octa_ray_query;

static inline octa_direction_index octa_rays_index(const octa_rays *rays) {
    return (octa_direction_index){rays->start, OCTA_FACE_ROWS, OCTA_FACE_COLUMNS, OCTA_ROW_STRIDE};
}

static inline void octa_query_cell(const octa_rays *rays, const int32_t *site, octa_ray_query *query) {
    float *c = query->view.center;
    for (int axis = 0; axis < 3; axis++)
        c[axis] = (float)(site[axis] - rays->sensor.site[axis]) - rays->sensor.origin[axis];
    octa_view_cell(&query->view);
    /* The corners are sqrt(5/4) from the site; the rest is slack for rounding. */
    float nearest = sqrtf(c[0] * c[0] + c[1] * c[1] + c[2] * c[2]) * (1.0f - OCTA_SLACK) - 1.2f;
    query->reach = nearest > 0.0f ? nearest * nearest : 0.0f;
}

#endif
