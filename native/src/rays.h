/* The rays of a sweep behind a direction index: rays.c fills it, visibility.c asks it.
 *
 * Rays are sorted into a grid over the six faces of a cube around the sensor (no trigonometry). The index
 * only leaves out rays that cannot cross a cell; it never decides. */
#ifndef OCTA_RAYS_H
#define OCTA_RAYS_H

#include "directions.h"
#include "sensor.h"

/* A row holds a few rings of a spinning LiDAR, so that a cell asks for few, long runs of rays. */
#define OCTA_FACE_ROWS 128
#define OCTA_FACE_COLUMNS 512
#define OCTA_RAY_ROWS (OCTA_FACES * OCTA_FACE_ROWS)
/* A row of starts ends with the end of its last bin. The odd stride also spreads rows over the cache sets. */
#define OCTA_ROW_STRIDE (OCTA_FACE_COLUMNS + 1)
#define OCTA_RAY_BINS (OCTA_RAY_ROWS * OCTA_ROW_STRIDE)
/* Rays are tested in blocks of this many. */
#define OCTA_RAY_LANES 8

/* 1 / (normal . direction) of eight rays for each slab, the direction from origin to return. */
typedef struct {
    float inverse[OCTA_SLABS][OCTA_RAY_LANES];
} octa_ray_block;

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

#endif
