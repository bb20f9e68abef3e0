/* Directions as bins on the six faces of a cube around the sensor: no trigonometry, and a box of cells is an
 * interval of columns and rows on each face it touches. */
#ifndef OCTA_DIRECTIONS_H
#define OCTA_DIRECTIONS_H

#include "avx2.h"
#include "internal.h"

#include <math.h>

#define OCTA_FACES 6
#define OCTA_SLABS 7

/* A cell is the intersection of |n . x| <= bound over these normals: x, y, z and the four diagonals. */
static const float octa_slab_bound[OCTA_SLABS] = {1.0f, 1.0f, 1.0f, 1.5f, 1.5f, 1.5f, 1.5f};

/* The axes of a face: major, then the two that span it. */
static const uint8_t octa_face_axes[OCTA_FACES][3] = {{0, 1, 2}, {0, 1, 2}, {1, 0, 2},
                                                      {1, 0, 2}, {2, 0, 1}, {2, 0, 1}};

/* Products of a vector with the slab normals. */
static inline void octa_along_slabs(const float *d, float *along) {
    along[0] = d[0];
    along[1] = d[1];
    along[2] = d[2];
    along[3] = d[0] + d[1] + d[2];
    along[4] = d[0] + d[1] - d[2];
    along[5] = d[0] - d[1] + d[2];
    along[6] = -d[0] + d[1] + d[2];
}

/* A direction parallel to a slab crosses it "at infinity"; a large finite number avoids 0 * inf. */
static inline float octa_inverse(float x) { return fabsf(x) < 1e-30f ? 1e30f : 1.0f / x; }

/* Bin of a slope in [-1, 1]; monotone, so an interval of slopes is an interval of bins. */
static inline int octa_slope_bin(float slope, int bins) {
    int bin = (int)((slope + 1.0f) * (0.5f * (float)bins));
    return bin < 0 ? 0 : bin >= bins ? bins - 1 : bin;
}

/* Bin of a direction other than 0 on faces of rows x columns. */
static inline uint32_t octa_direction_bin(const float *d, int rows, int columns) {
    float size[3] = {fabsf(d[0]), fabsf(d[1]), fabsf(d[2])};
    int major = size[0] >= size[1] ? (size[0] >= size[2] ? 0 : 2) : (size[1] >= size[2] ? 1 : 2);
    int face = 2 * major + (d[major] < 0.0f);
    int column = octa_slope_bin(d[octa_face_axes[face][1]] / size[major], columns);
    int row = octa_slope_bin(d[octa_face_axes[face][2]] / size[major], rows);
    return (uint32_t)((face * rows + row) * columns + column);
}

/* Relative, and far more than float32 rounding: only exact tests may leave out a ray. */
#define OCTA_SLACK 1e-5f

static inline float octa_larger(float a, float b) { return a > b ? a : b; }
static inline float octa_smaller(float a, float b) { return a < b ? a : b; }

/* An interval of slopes, kept a little wider than computed, so that rounding never leaves out a ray. */
typedef struct {
    float low, high;
} octa_interval;

/* Slopes under which [b - half, b + half] is seen at depths [near, far], 0 < near. */
static inline octa_interval octa_seen(float b, float half, float near, float far) {
    float low = b - half, high = b + half;
    return (octa_interval){low / (low >= 0.0f ? far : near) - OCTA_SLACK,
                           high / (high >= 0.0f ? near : far) + OCTA_SLACK};
}

/* Slopes of a cell's silhouette along one direction of a face. Seen along the other one the cell is an
 * octagon with corners at (+-1, +-1/2) and (+-1/2, +-1); its box would be up to a third wider. */
static inline octa_interval octa_silhouette(float b, float depth) {
    octa_interval a = octa_seen(b, 0.5f, depth - 1.0f, depth + 1.0f),
                  c = octa_seen(b, 1.0f, depth - 0.5f, depth + 0.5f);
    return (octa_interval){octa_smaller(a.low, c.low), octa_larger(a.high, c.high)};
}

static inline int octa_clip_bin(float slope, int bins) {
    return octa_slope_bin(slope < -1.0f ? -1.0f : slope > 1.0f ? 1.0f : slope, bins);
}

/* Rows and columns of one face, all inclusive. */
typedef struct {
    int first_row, last_row, first_column, last_column;
} octa_patch;

/* The bins of a face whose rays may cross a cell; center is its site relative to the sensor.  @return 0 if
 * there are none */
static inline int octa_face_patch(int face, const float *center, int rows, int columns, octa_patch *out) {
    const uint8_t *axes = octa_face_axes[face];
    float depth = face & 1 ? -center[axes[0]] : center[axes[0]];
    float u = center[axes[1]], v = center[axes[2]];
    float distance = octa_larger(fabsf(depth), octa_larger(fabsf(u), fabsf(v)));
    /* On a face no coordinate exceeds the depth, so rays have at least this depth inside the cell. */
    float far = depth + 1.0f, near = distance - 1.0f - OCTA_SLACK * far;
    if (far <= 0.0f || near > far)
        return 0;
    octa_interval column = {-1.0f, 1.0f}, row = {-1.0f, 1.0f};
    /* Nearer, the rounding of the diagonal planes would count for more than the slack. */
    if (depth > 2.0f) {
        column = octa_silhouette(u, depth);
        row = octa_silhouette(v, depth);
    } else if (near > 1e-3f) {
        column = octa_seen(u, 1.0f, near, far);
        row = octa_seen(v, 1.0f, near, far);
    }
    if (column.low > 1.0f || column.high < -1.0f || row.low > 1.0f || row.high < -1.0f)
        return 0;
    out->first_column = octa_clip_bin(column.low, columns);
    out->last_column = octa_clip_bin(column.high, columns);
    out->first_row = octa_clip_bin(row.low, rows);
    out->last_row = octa_clip_bin(row.high, rows);
    return 1;
}

/* Rays or beams in the order of their direction bins. */
typedef struct {
    const uint32_t
        *start; /* first of each bin, rows of stride; the one behind a row's last bin ends the row */
    int rows, columns, stride;
} octa_direction_index;

typedef void octa_run(void *context, size_t begin, size_t end);

/* Give every run of rays that may cross a cell, none of them empty; center as in octa_face_patch. */
static OCTA_ALWAYS_INLINE void octa_each_run(const octa_direction_index *index, const float *center,
                                             octa_run *run, void *context) {
    octa_patch patch;
    for (int face = 0; face < OCTA_FACES; face++) {
        if (!octa_face_patch(face, center, index->rows, index->columns, &patch))
            continue;
        for (int row = patch.first_row; row <= patch.last_row; row++) {
            const uint32_t *start = index->start + (size_t)(face * index->rows + row) * (size_t)index->stride;
            const size_t begin = start[patch.first_column], end = start[patch.last_column + 1];
            if (begin < end)
                run(context, begin, end);
        }
    }
}

#endif
