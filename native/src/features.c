/* Features of every window cell, from the window and the view alone. */
#include "extraction.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const history_names[HISTORY_KINDS] = {"hits", "passes", "state"};
#define OCTA_FEATURE_NAME(name) #name,
static const char *const column_names[FEATURE_COLUMNS] = {OCTA_FEATURE_COLUMNS(OCTA_FEATURE_NAME)};
#undef OCTA_FEATURE_NAME

size_t octa_features_count(uint32_t bins) { return (size_t)HISTORY_KINDS * bins + FEATURE_COLUMNS; }

octa_error octa_features_name(uint32_t bins, size_t i, char *name, size_t capacity) {
    if (bins < 1 || bins > OCTA_MAX_BINS || i >= octa_features_count(bins))
        return OCTA_E_DOMAIN;
    size_t history = (size_t)HISTORY_KINDS * bins;
    char text[64];
    int length = i < history ? snprintf(text, sizeof text, "%s_%zu", history_names[i / bins], i % bins)
                             : snprintf(text, sizeof text, "%s", column_names[i - history]);
    if (length < 0 || (size_t)length >= capacity)
        return OCTA_E_CAPACITY;
    memcpy(name, text, (size_t)length + 1);
    return OCTA_OK;
}

static void end_extraction(octa_extraction *e) {
    OCTA_FREE(e->order);
    OCTA_FREE(e->sites);
    OCTA_FREE(e->position);
    OCTA_FREE(e->group_values);
    OCTA_FREE(e->group_of);
    OCTA_FREE(e->parents);
    OCTA_FREE(e->stop);
    OCTA_FREE(e->logs);
    OCTA_FREE(e->moments);
    octa_cast_end(&e->cast);
    octa_cellmap_free(&e->groups);
}

static octa_error begin_extraction(const octa_window *window, const octa_view *view, octa_extraction *e) {
    const size_t cells = window->active + 1; /* never an empty allocation */
    memset(e, 0, sizeof *e);
    e->window = window;
    e->view = view;
    e->width = octa_features_count(window->options.bins);
    e->history = (size_t)HISTORY_KINDS * window->options.bins;
    e->order = OCTA_MALLOC((2 * octa_window_cells(window) + 1) * sizeof *e->order);
    e->sites = OCTA_MALLOC(cells * sizeof *e->sites);
    e->position = OCTA_MALLOC((window->rows + 1) * sizeof *e->position);
    e->group_values = OCTA_MALLOC(cells * OCTA_GROUP_VALUES * sizeof *e->group_values);
    e->group_of = OCTA_MALLOC(cells * sizeof *e->group_of);
    e->parents = OCTA_MALLOC(cells * sizeof *e->parents);
    e->stop = OCTA_MALLOC(cells * sizeof *e->stop);
    e->moments = OCTA_MALLOC(cells * sizeof *e->moments);
    e->logs = OCTA_MALLOC(OCTA_LOGS * sizeof *e->logs);
    if (!e->order || !e->sites || !e->position || !e->group_values || !e->group_of || !e->parents ||
        !e->stop || !e->logs || !e->moments || octa_cellmap_reserve(&e->groups, cells) ||
        octa_cast_begin(&e->cast, view->beam_count, cells)) {
        end_extraction(e);
        return OCTA_E_MEMORY;
    }
    e->count = octa_window_sorted(window, 1, e->order);
    for (size_t row = 0; row < window->rows; row++)
        e->position[row] = (int32_t)e->count;
    for (size_t i = 0; i < e->count; i++) {
        e->position[e->order[i].row] = (int32_t)i;
        octa_index64_unpack(e->order[i].id, &e->sites[i][0], &e->sites[i][1], &e->sites[i][2]);
    }
    for (int i = 0; i < OCTA_LOGS; i++)
        e->logs[i] = log1pf((float)i);
    for (size_t slot = 0; slot < window->slot_capacity; slot++)
        if (window->slots[slot].in_window)
            e->sweeps[window->slots[slot].age] += 1.0f;
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

octa_error octa_window_features(const octa_window *window, const octa_view *view, size_t capacity,
                                uint64_t *ids, float *x, int32_t *neighbors, uint8_t *before) {
    OCTA_TRY(check_view(view));
    if (capacity < window->active)
        return OCTA_E_CAPACITY;
    octa_extraction e;
    OCTA_TRY(begin_extraction(window, view, &e));
    for (size_t i = 0; i < e.count; i++)
        ids[i] = e.order[i].id;
    octa_cell_columns(&e, x, before);
    octa_height_columns(&e, x);
    octa_neighbor_columns(&e, x, neighbors, before);
    octa_shape_columns(&e, x, neighbors);
    octa_coarse_columns(&e, x);
    octa_cast_columns(&e, x);
    end_extraction(&e);
    return OCTA_OK;
}
