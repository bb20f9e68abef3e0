/* Features of every window cell, from the window and the view alone. */
#include "extraction.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static const char *const history_names[HISTORY_KINDS] = {"hits", "passes"};
#define OCTA_FEATURE_NAME(name) #name,
static const char *const column_names[FEATURE_COLUMNS] = {OCTA_FEATURE_COLUMNS(OCTA_FEATURE_NAME)};
#undef OCTA_FEATURE_NAME

static size_t history_bins(uint32_t bins) { return bins < HISTORY_BINS ? bins : HISTORY_BINS; }

size_t octa_features_count(uint32_t bins) { return HISTORY_KINDS * history_bins(bins) + FEATURE_COLUMNS; }

octa_error octa_features_name(uint32_t bins, size_t i, char *name, size_t capacity) {
    if (bins < 1 || bins > OCTA_MAX_BINS || i >= octa_features_count(bins))
        return OCTA_E_DOMAIN;
    const size_t newest = history_bins(bins), history = HISTORY_KINDS * newest;
    char text[64];
    int length = i < history ? snprintf(text, sizeof text, "%s_%zu", history_names[i / newest], i % newest)
                             : snprintf(text, sizeof text, "%s", column_names[i - history]);
    if (length < 0 || (size_t)length >= capacity)
        return OCTA_E_CAPACITY;
    memcpy(name, text, (size_t)length + 1);
    return OCTA_OK;
}

static void end_extraction(octa_extraction *e) {
    OCTA_FREE(e->order);
    OCTA_FREE(e->sites);
    OCTA_FREE(e->block);
    OCTA_FREE(e->moments);
    OCTA_FREE(e->notes);
    OCTA_FREE(e->pooled);
    OCTA_FREE(e->targets);
    OCTA_FREE(e->scratch);
    octa_columns_end(&e->columns);
    octa_pool_end(&e->pool);
    octa_cast_end(&e->cast);
}

static octa_error allocate(octa_extraction *e) {
    const size_t cells = e->window->active + 1; /* one more: what an absent neighbour has */
    e->order = OCTA_MALLOC((2 * octa_window_cells(e->window) + 1) * sizeof *e->order);
    e->sites = OCTA_MALLOC(cells * sizeof *e->sites);
    e->block = OCTA_MALLOC(e->width * sizeof *e->block);
    e->moments = OCTA_MALLOC(cells * sizeof *e->moments);
    e->notes = OCTA_MALLOC(cells * sizeof *e->notes);
    e->pooled = OCTA_MALLOC(cells * sizeof *e->pooled);
    e->targets = OCTA_MALLOC(cells * sizeof *e->targets);
    e->scratch = OCTA_MALLOC(octa_neighbor_scratch(cells) * sizeof *e->scratch);
    if (!e->order || !e->sites || !e->block || !e->moments || !e->notes || !e->pooled || !e->targets ||
        !e->scratch)
        return OCTA_E_MEMORY;
    OCTA_TRY(octa_columns_begin(&e->columns, cells));
    OCTA_TRY(octa_pool_begin(&e->pool, cells));
    return octa_cast_begin(&e->cast, e->view->beam_count, cells + OCTA_CELL_LANES);
}

static void order_cells(octa_extraction *e, uint64_t *ids) {
    const octa_window *window = e->window;
    e->count = octa_window_sorted(window, 1, e->order);
    for (size_t i = 0; i < e->count; i++) {
        ids[i] = e->order[i].id;
        octa_index64_unpack(ids[i], &e->sites[i][0], &e->sites[i][1], &e->sites[i][2]);
    }
    memset(e->moments[e->count], 0, sizeof *e->moments);
    e->notes[e->count] = (octa_notes){0};
}

static octa_error begin_extraction(const octa_window *window, const octa_view *view, octa_extraction *e) {
    memset(e, 0, sizeof *e);
    e->window = window;
    e->view = view;
    e->width = octa_features_count(window->options.bins);
    e->history = HISTORY_KINDS * history_bins(window->options.bins);
    if (allocate(e) != OCTA_OK) {
        end_extraction(e);
        return OCTA_E_MEMORY;
    }
    for (int axis = 0; axis < 3; axis++)
        e->origin[axis] = floor(view->pose[4 * axis + 3] / window->options.grid.half_edge_m);
    for (size_t slot = 0; slot < window->slot_capacity; slot++)
        if (window->slots[slot].in_window)
            e->sweeps[window->slots[slot].age] += 1.0f;
    for (int bin = 0; bin < OCTA_MAX_BINS; bin++)
        e->sweeps[bin] = e->sweeps[bin] > 1.0f ? e->sweeps[bin] : 1.0f;
    return OCTA_OK;
}

/* Values so large that float32 features would not be finite are refused. */
static octa_error check_view(const octa_view *view) {
    OCTA_TRY(octa_pose_check(view->pose));
    OCTA_TRY(octa_pose_check(view->forecast_pose));
    for (int axis = 0; axis < 3; axis++)
        if (fabs(view->pose[4 * axis + 3]) > 1e9 || fabs(view->forecast_pose[4 * axis + 3]) > 1e9)
            return OCTA_E_DOMAIN;
    if (!(view->beam_weight >= 0 && view->beam_weight <= 1e6) || view->beam_count > OCTA_MAX_POINTS)
        return OCTA_E_DOMAIN;
    return fabs(view->speed_mps) <= 1e6 && fabs(view->yaw_rate_rps) <= 1e6 ? OCTA_OK : OCTA_E_DOMAIN;
}

/* Beams from the forecast pose through the cells, each of which stops its share of recent hits. */
static void cast_beams(octa_extraction *e) {
    const octa_view *view = e->view;
    octa_cast *cast = &e->cast;
    memset(cast->landings, 0, (e->count + OCTA_CELL_LANES) * sizeof *cast->landings);
    /* A forecast that leaves the map casts nothing. */
    if (octa_sensor_at(&e->window->options.grid, view->forecast_pose, &cast->sensor) == OCTA_OK)
        octa_cast_run(cast, view->beams, view->beam_count, (const int32_t (*)[3])e->sites, e->targets,
                      e->count);
}

/* Columns that need every cell's own first. */
static void look_around(octa_extraction *e, const uint64_t *ids, int32_t *neighbors) {
    const int32_t (*sites)[3] = (const int32_t (*)[3])e->sites;
    octa_neighbor_rows(ids, e->count, e->scratch, neighbors);
    octa_columns_load(&e->columns, sites, e->count);
    for (size_t i = 0; i < e->count; i++)
        e->pooled[i][OCTA_POOLED - 1] =
            (float)(sites[i][2] - e->columns.lowest_around[e->columns.column_of[i]]);
    octa_pool_run(&e->pool, sites, (const float (*)[OCTA_POOLED])e->pooled, e->count);
    cast_beams(e);
}

/* Four columns of a block as four values each of its rows. */
static void store_four(const octa_column *columns, size_t cells, size_t width, float *x) {
#ifdef __SSE2__
    for (; cells >= 4; cells -= 4, x += 4 * width, columns = (const octa_column *)(columns[0] + 4)) {
        __m128 a = _mm_loadu_ps(columns[0]), b = _mm_loadu_ps(columns[1]), c = _mm_loadu_ps(columns[2]),
               d = _mm_loadu_ps(columns[3]);
        _MM_TRANSPOSE4_PS(a, b, c, d);
        _mm_storeu_ps(x, a);
        _mm_storeu_ps(x + width, b);
        _mm_storeu_ps(x + 2 * width, c);
        _mm_storeu_ps(x + 3 * width, d);
    }
#endif
    for (size_t cell = 0; cell < cells; cell++)
        for (size_t column = 0; column < 4; column++)
            x[cell * width + column] = columns[column][cell];
}

/* Store columns [first, last) of a block as rows. */
static void store_block(const octa_extraction *e, size_t begin, size_t first, size_t last, float *x) {
    const size_t cells = octa_block_cells(e, begin);
    size_t column = first;
    for (; column + 4 <= last; column += 4)
        store_four(e->block + column, cells, e->width, x + begin * e->width + column);
    for (; column < last; column++)
        for (size_t cell = 0; cell < cells; cell++)
            x[(begin + cell) * e->width + column] = e->block[column][cell];
}

octa_error octa_window_features(const octa_window *window, const octa_view *view, size_t capacity,
                                uint64_t *ids, float *x, int32_t *neighbors, uint8_t *before) {
    OCTA_TRY(check_view(view));
    if (capacity < window->active)
        return OCTA_E_CAPACITY;
    octa_extraction e;
    OCTA_TRY(begin_extraction(window, view, &e));
    const size_t own = e.history + FEATURE_forecast_elevation + 1;
    order_cells(&e, ids);
    for (size_t begin = 0; begin < e.count; begin += OCTA_CELL_LANES) {
        octa_cell_columns(&e, begin, before);
        store_block(&e, begin, 0, own, x);
    }
    look_around(&e, ids, neighbors);
    for (size_t begin = 0; begin < e.count; begin += OCTA_CELL_LANES) {
        octa_shape_columns(&e, begin, neighbors);
        octa_context_columns(&e, begin, neighbors);
        store_block(&e, begin, own, e.width, x);
    }
    end_extraction(&e);
    return OCTA_OK;
}
