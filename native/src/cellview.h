/* A cell as a sensor sees it, for tests of rays against its seven slabs. */
#ifndef OCTA_CELLVIEW_H
#define OCTA_CELLVIEW_H

#include "directions.h"

#ifdef OCTA_HAVE_AVX2
#include <immintrin.h>
#endif

/* Rays are tested in blocks of this many. */
#define OCTA_RAY_LANES 8

/* 1 / (normal . direction) of eight rays for each slab, the direction from origin to return. */
typedef struct {
    float inverse[OCTA_SLABS][OCTA_RAY_LANES];
} octa_ray_block;

/* A ray with inverse v meets a slab's planes p at p * v, in units of its length. */
typedef struct {
    float center[3]; /* of the cell relative to the sensor, half edges */
    /* Where the ray enters: the nearer plane, 0 (at once) for a slab that holds the sensor. */
    float near[OCTA_SLABS];
    /* Where it leaves: the larger of far * v and back * v. Both are the farther plane, unless the slab holds
     * the sensor: then the ray's sign chooses. */
    float far[OCTA_SLABS], back[OCTA_SLABS];
    int outside; /* no slab holds the sensor: far and back are equal */
} octa_cell_view;

/* center must be set. */
static inline void octa_view_cell(octa_cell_view *cell) {
    float along[OCTA_SLABS];
    octa_along_slabs(cell->center, along);
    int within = 0;
    for (int slab = 0; slab < OCTA_SLABS; slab++) {
        float low = along[slab] - octa_slab_bound[slab], high = along[slab] + octa_slab_bound[slab];
        int ahead = low >= 0.0f, behind = high <= 0.0f;
        cell->near[slab] = octa_larger(low, 0.0f) + octa_smaller(high, 0.0f);
        cell->far[slab] = behind ? low : high;
        cell->back[slab] = ahead ? high : low;
        within += !(ahead | behind);
    }
    cell->outside = !within;
}

/* Where one ray of a block enters and leaves the cell. It crosses the cell ahead of the sensor if it enters
 * before it leaves: one that points away from a slab meets the farther plane at a negative place. */
static inline void octa_crossing(const octa_ray_block *block, size_t lane, const octa_cell_view *cell,
                                 float *enter, float *leave) {
    *enter = 0.0f;
    *leave = INFINITY;
    for (size_t slab = 0; slab < OCTA_SLABS; slab++) {
        float v = block->inverse[slab][lane];
        float far = octa_larger(cell->far[slab] * v, cell->back[slab] * v);
        *enter = octa_larger(*enter, cell->near[slab] * v);
        *leave = octa_smaller(*leave, far);
    }
}

#ifdef OCTA_HAVE_AVX2
/* The same for the eight rays of a block. */
OCTA_AVX2 static OCTA_ALWAYS_INLINE void octa_crossings_avx2(const octa_ray_block *block,
                                                             const octa_cell_view *cell, int outside,
                                                             __m256 *enter, __m256 *leave) {
    *enter = _mm256_setzero_ps();
    for (size_t slab = 0; slab < OCTA_SLABS; slab++) {
        __m256 v = _mm256_loadu_ps(block->inverse[slab]);
        __m256 far = _mm256_mul_ps(v, _mm256_set1_ps(cell->far[slab]));
        if (!outside)
            far = _mm256_max_ps(far, _mm256_mul_ps(v, _mm256_set1_ps(cell->back[slab])));
        *enter = _mm256_max_ps(*enter, _mm256_mul_ps(v, _mm256_set1_ps(cell->near[slab])));
        *leave = slab ? _mm256_min_ps(*leave, far) : far;
    }
}
#endif

#endif
