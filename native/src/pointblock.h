/* A block of points between the phases of binning: the cell of each point, and running totals of what the
 * points add to their cells. All kernels agree on every bit that a result depends on. */
#ifndef OCTA_POINTBLOCK_H
#define OCTA_POINTBLOCK_H

#include "avx2.h"
#include "sensor.h"

#define OCTA_BLOCK 512 /* points; a multiple of 64 */
#define OCTA_BEFORE 8  /* keys in front of those of a block; only the last counts */
#define OCTA_LANES 16  /* OCTA_SUMS, then the number of points, then room */

/* A point's cell: biased map coordinates x and y in low, z in high. Points in no cell share a key that no
 * cell has, so they form runs like any others. */
#define OCTA_NO_CELL_LOW 0u
#define OCTA_NO_CELL_HIGH UINT32_MAX

/* What a kernel needs beside the points. */
typedef struct {
    octa_sensor sensor;
    float range2_min, range2_max; /* squares, m2 */
    float full;                   /* intensity that counts as 1 */
} octa_snap;

/* Numbers of points; each but clamped counts those that got at least that far. */
typedef struct {
    uint64_t finite, rays, in_range, binned, clamped;
} octa_fates;

/* A run is a maximal stretch of points in one cell. */
typedef struct {
    _Alignas(64) uint16_t totals[OCTA_BLOCK + 1][OCTA_LANES]; /* of the points before, modulo 2^16 */
    uint32_t low[OCTA_BEFORE + OCTA_BLOCK],
        high[OCTA_BEFORE + OCTA_BLOCK]; /* from the last of the block before */
    uint64_t begins[OCTA_BLOCK / 64];   /* bit i is set where point i begins a run */
} octa_block;

/** Fill a block from n <= OCTA_BLOCK points; the rest becomes points in no cell. */
typedef void octa_fill_block(const octa_snap *snap, const float *points, const float *intensity, size_t n,
                             octa_block *block, octa_fates *fates);

/** Add a block to the sums of cells: lines holds OCTA_LANES values a cell, run_lines the line of each run
 * that begins in the block and, before them, that of the last run. */
typedef void octa_add_block(const octa_block *block, const uint32_t *run_lines, int32_t *lines);

/* Where to cut the points of a word of begins, so that no stretch has more than 7 of them and its totals fit
 * 16 bits: a point adds at most 4096 to a lane, and eight could reach 32768. Cuts are the begins, the first
 * point of every group of 8, and the middle of groups in which no run begins later. */
static inline uint64_t octa_block_cuts(uint64_t begins) {
    const uint64_t first = 0x0101010101010101u, later = begins & ~first;
    uint64_t some = (((later & ~(first << 7)) + ~(first << 7)) | later) & first << 7;
    return begins | first | (some ^ first << 7) >> 3;
}

/* The two hot phases for one instruction set. */
typedef struct {
    octa_fill_block *fill;
    octa_add_block *add;
} octa_block_kernel;

extern const octa_block_kernel octa_block_portable;

#ifdef OCTA_HAVE_AVX2
extern const octa_block_kernel octa_block_avx2;
#endif

/** The fastest kernel that this machine runs. */
const octa_block_kernel *octa_block_kernel_here(void);

#endif
