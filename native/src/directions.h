/* Directions as bins on the six faces of a cube around the sensor: no trigonometry, and a box of cells is an
 * interval of columns and rows on each face it touches. */
#ifndef OCTA_DIRECTIONS_H
#define OCTA_DIRECTIONS_H

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

/* Rows and columns of a face that a cell's bounding box covers, all inclusive. */
typedef struct {
    int first_row, last_row, first_column, last_column;
} octa_patch;

/* Slopes under which an interval [b - 1, b + 1] is seen at depths [near, far], 0 < near. A little wider, so
 * that rounding never leaves out a ray. */
static inline void octa_slope_interval(float b, float near, float far, float *low, float *high) {
    *low = (b - 1.0f) / (b - 1.0f >= 0.0f ? far : near) - 1e-5f;
    *high = (b + 1.0f) / (b + 1.0f >= 0.0f ? near : far) + 1e-5f;
}

/* The patch of one face; center is the cell's site relative to the sensor.  @return 0 if the face sees none
 */
static inline int octa_face_patch(int face, const float *center, int rows, int columns, octa_patch *out) {
    const uint8_t *axes = octa_face_axes[face];
    float depth = face & 1 ? -center[axes[0]] : center[axes[0]];
    float column_low = -1.0f, column_high = 1.0f, row_low = -1.0f, row_high = 1.0f;
    if (depth + 1.0f <= 0.0f)
        return 0;
    if (depth - 1.0f > 1e-3f) {
        octa_slope_interval(center[axes[1]], depth - 1.0f, depth + 1.0f, &column_low, &column_high);
        octa_slope_interval(center[axes[2]], depth - 1.0f, depth + 1.0f, &row_low, &row_high);
        if (column_low > 1.0f || column_high < -1.0f || row_low > 1.0f || row_high < -1.0f)
            return 0;
    }
    out->first_column = octa_slope_bin(column_low < -1.0f ? -1.0f : column_low, columns);
    out->last_column = octa_slope_bin(column_high > 1.0f ? 1.0f : column_high, columns);
    out->first_row = octa_slope_bin(row_low < -1.0f ? -1.0f : row_low, rows);
    out->last_row = octa_slope_bin(row_high > 1.0f ? 1.0f : row_high, rows);
    return 1;
}

#endif
