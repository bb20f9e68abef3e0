/* One extraction of features: the window's cells in output order, and what several columns share. */
#ifndef OCTA_EXTRACTION_H
#define OCTA_EXTRACTION_H

#include "casts.h"
#include "feature_columns.h"
#include "window.h"

#include <math.h>

#define OCTA_MAX_BINS 64

/* Moments of returns about a site: count, first, second (xx yy zz xy xz yz). */
typedef struct {
    double n, first[3], second[6];
} octa_moments;

typedef struct {
    const octa_window *window;
    const octa_view *view;
    size_t count;          /* window cells */
    size_t width;          /* columns */
    size_t history;        /* columns before the named ones */
    octa_id_row *order;    /* ascending by id, then scratch of as many pairs */
    int32_t (*sites)[3];   /* of each output row */
    int32_t *position;     /* row of the window to row of the output, count where absent */
    octa_cellmap groups;   /* scratch: key of a group of cells to its index */
    float *group_values;   /* scratch: what a group sums, OCTA_GROUP_VALUES for each */
    uint32_t *group_of;    /* scratch: group of each output row */
    int32_t (*parents)[3]; /* scratch: coarser site of each output row */
    float *stop;           /* scratch: share of beams that end in each output row's cell */
    octa_moments *moments; /* scratch: of each output row */
    octa_cast cast;
    float sweeps[OCTA_MAX_BINS]; /* records a bin */
    float *logs;                 /* log(1 + i): counts are mostly small integers */
} octa_extraction;

#define OCTA_GROUP_VALUES 9
#define OCTA_LOGS 1024

static inline float octa_log1p(const octa_extraction *e, float count) {
    return count < OCTA_LOGS && count == (float)(int)count ? e->logs[(int)count] : log1pf(count);
}

/* The named columns of an output row. */
static inline float *octa_row_columns(const octa_extraction *e, float *x, size_t row) {
    return x + row * e->width + e->history;
}

/* A stage fills its columns of every row; x, neighbors and before as in octa_window_features. */
void octa_cell_columns(const octa_extraction *e, float *x, uint8_t *before);
void octa_height_columns(octa_extraction *e, float *x);
void octa_neighbor_columns(const octa_extraction *e, float *x, int32_t *neighbors, const uint8_t *before);
void octa_shape_columns(octa_extraction *e, float *x, const int32_t *neighbors);
void octa_coarse_columns(octa_extraction *e, float *x);
void octa_cast_columns(octa_extraction *e, float *x);

#endif
