/* The rolling window: records by slot, cells by row.
 *
 * A cell has a row while a retained record lists it, so the window is the sum of its records and nothing
 * else. Each row keeps its hits and passes per record slot, side by side, since features walk through one
 * cell's history; in-window sums are added when a record enters and subtracted, exactly, when it has grown
 * too old. */
#ifndef OCTA_WINDOW_H
#define OCTA_WINDOW_H

#include "cellmap.h"
#include "sort.h"

typedef struct {
    uint32_t hits;
    uint32_t passes;
} octa_evidence;

typedef struct {
    int used;
    int in_window;
    int64_t stamp_ns;
    int64_t age;    /* time bins before now */
    uint64_t order; /* of folding; the smallest is the oldest */
    size_t cells;
    uint32_t *rows;      /* of the listed cells */
    octa_evidence *seen; /* of each, as in its history: read in one go when the record comes and goes */
    int32_t (*sums)[OCTA_SUMS]; /* of those among them that were hit, in their order */
} octa_slot;

typedef struct {
    uint64_t id;           /* 0 for a free row */
    uint32_t listed;       /* retained records that list the cell */
    uint32_t hit;          /* and that hit it */
    uint64_t hits, passes; /* in the window */
    int64_t sums[OCTA_SUMS];
} octa_cell;

struct octa_window {
    octa_window_options options;
    uint64_t prefix;
    int started;
    int64_t now_ns;
    uint64_t folded;
    octa_cellmap map;
    octa_cell *cells;
    uint32_t *free_rows;
    size_t rows; /* rows ever used: live ones and those in free_rows */
    size_t free_count;
    size_t row_capacity;
    octa_evidence *history; /* row_capacity x slot_capacity */
    octa_slot *slots;
    size_t slot_capacity;
    size_t slot_count; /* used slots */
    size_t hit_cells;  /* cells that a retained record hit */
    size_t active;     /* cells with in-window hits */
};

static inline octa_evidence *octa_history(const octa_window *window, uint32_t row) {
    return window->history + (size_t)row * window->slot_capacity;
}

/* Remove one record: out of the window if it was in, then out of the history. */
void octa_window_drop(octa_window *window, size_t slot);

/* Count a record's evidence into the in-window sums (sign +1) or out of them (sign -1). */
void octa_window_count(octa_window *window, size_t slot, int sign);

/* Age in time bins, half rounds up; now and stamp within +-2^62. */
int64_t octa_window_age(const octa_window *window, int64_t now_ns, int64_t stamp_ns);

/* Cells that a retained record hit (or only those hit in the window), ascending by id, as pairs of id and
 * row; pairs holds twice octa_window_cells(). Returns how many. */
size_t octa_window_sorted(const octa_window *window, int only_active, octa_id_row *pairs);

#endif
