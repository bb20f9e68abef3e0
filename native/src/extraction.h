/* One extraction of features: the window's cells in output order, and what several columns share.
 *
 * Columns are computed for blocks of cells side by side, a column of a block contiguous, and stored as rows.
 */
#ifndef OCTA_EXTRACTION_H
#define OCTA_EXTRACTION_H

#include "casts.h"
#include "columns.h"
#include "feature_columns.h"
#include "neighbors.h"
#include "pool.h"
#include "window.h"

#define OCTA_MAX_BINS 64
#define OCTA_CELL_LANES 16 /* cells side by side */

/* Moments of a cell's returns about the extraction's origin, half edges: second (xx yy zz xy xz yz), first,
 * count; the rest pads a cell to whole vectors, so that moments of several cells are added as they lie. */
enum { MOMENT_SECOND, MOMENT_FIRST = 6, MOMENT_COUNT = 9, MOMENTS = 12 };

typedef double octa_doubles __attribute__((vector_size(32), aligned(8)));
typedef octa_doubles octa_moments[MOMENTS / 4];

/* What neighbours count of a cell, side by side so that they are added as they lie. */
enum { NOTE_EVIDENCE, NOTE_HIT, NOTE_PRESENT }; /* and nothing */
typedef float octa_notes __attribute__((vector_size(16)));

typedef float octa_column[OCTA_CELL_LANES];

typedef struct {
    const octa_window *window;
    const octa_view *view;
    size_t count;                 /* window cells */
    size_t width;                 /* columns */
    size_t history;               /* columns before the named ones */
    octa_id_row *order;           /* ascending by id, then scratch of as many pairs */
    int32_t (*sites)[3];          /* of each output row */
    octa_column *block;           /* the columns of one block */
    double origin[3];             /* of moments: the site by the sensor */
    octa_moments *moments;        /* of each output row; all zero behind the last */
    octa_notes *notes;            /* of each output row; zeros behind the last */
    float (*pooled)[OCTA_POOLED]; /* what coarser levels take the mean of */
    octa_target *targets;         /* what beams to come meet */
    octa_columns columns;
    uint64_t *scratch; /* of the neighbours */
    octa_pool pool;    /* two coarser levels */
    octa_cast cast;
    float sweeps[OCTA_MAX_BINS]; /* records a bin, at least 1 */
} octa_extraction;

/* Cells of the block that begins there. */
static inline size_t octa_block_cells(const octa_extraction *e, size_t begin) {
    return e->count - begin < OCTA_CELL_LANES ? e->count - begin : OCTA_CELL_LANES;
}

/* The named columns of the block. */
static inline octa_column *octa_named(const octa_extraction *e) { return e->block + e->history; }

/* Columns up to FEATURE_forecast_elevation: what a cell's own history, sums and place decide. Also fills what
 * others read of it. */
void octa_cell_columns(octa_extraction *e, size_t begin, uint8_t *before);

/* The columns after those: the local surface, then the rest. neighbors as in octa_window_features. */
void octa_shape_columns(const octa_extraction *e, size_t begin, const int32_t *neighbors);
void octa_context_columns(const octa_extraction *e, size_t begin, const int32_t *neighbors);

#endif
