/* Features of every window cell, from the window and the view alone. */
#include "feature_columns.h"
#include "window.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define RECENT_DECAY 0.7f
#define MAX_BINS 64
#define LOG_TABLE 4096

static const char *const history_names[HISTORY_KINDS] = {"hits", "passes", "state"};
#define OCTA_FEATURE_NAME(name) #name,
static const char *const column_names[FEATURE_COLUMNS] = {OCTA_FEATURE_COLUMNS(OCTA_FEATURE_NAME)};
#undef OCTA_FEATURE_NAME

size_t octa_features_count(uint32_t bins) { return (size_t)HISTORY_KINDS * bins + FEATURE_COLUMNS; }

octa_error octa_features_name(uint32_t bins, size_t i, char *name, size_t capacity) {
    if (bins < 1 || bins > MAX_BINS || i >= octa_features_count(bins))
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

/* Everything one extraction needs beside the window. */
typedef struct {
    const octa_window *window;
    const octa_view *view;
    size_t count;         /* window cells */
    octa_id_row *order;   /* ascending by id, then scratch */
    int32_t *position;    /* row of the window to row of the output, count where absent */
    octa_cellmap columns; /* column key to index in lowest */
    int32_t *lowest;      /* lowest z of each column */
    float log_table[LOG_TABLE];
    float sweeps[MAX_BINS]; /* records a bin */
} extraction;

/* Summary of one cell's history that several columns and the neighbours read. */
typedef struct {
    float hits[MAX_BINS], passes[MAX_BINS];
} cell_bins;

static float log1p_of(const extraction *e, float count) {
    return count < LOG_TABLE && count == (float)(int)count ? e->log_table[(int)count] : log1pf(count);
}

static uint64_t column_key(int32_t x, int32_t y) {
    return octa_index64_pack(2ull << 62, (x - (x & 1)) / 2, (y - (y & 1)) / 2, 0);
}

static void end_extraction(extraction *e) {
    OCTA_FREE(e->order);
    OCTA_FREE(e->position);
    OCTA_FREE(e->lowest);
    octa_cellmap_free(&e->columns);
    OCTA_FREE(e);
}

static void find_lowest(extraction *e) {
    for (size_t i = 0; i < e->count; i++) {
        int32_t x, y, z;
        octa_index64_unpack(e->order[i].id, &x, &y, &z);
        uint32_t fresh = (uint32_t)e->columns.used;
        uint32_t column = octa_cellmap_insert(&e->columns, column_key(x, y), fresh);
        if (column == fresh || z < e->lowest[column])
            e->lowest[column] = z;
    }
}

static octa_error begin_extraction(const octa_window *window, const octa_view *view, extraction **out) {
    extraction *e = OCTA_MALLOC(sizeof *e);
    if (!e)
        return OCTA_E_MEMORY;
    memset(e, 0, sizeof *e);
    e->window = window;
    e->view = view;
    e->order = OCTA_MALLOC((2 * octa_window_cells(window) + 1) * sizeof *e->order);
    e->position = OCTA_MALLOC((window->rows + 1) * sizeof *e->position);
    e->lowest = OCTA_MALLOC((window->active + 1) * sizeof *e->lowest);
    if (!e->order || !e->position || !e->lowest || octa_cellmap_reserve(&e->columns, window->active)) {
        end_extraction(e);
        return OCTA_E_MEMORY;
    }
    e->count = octa_window_sorted(window, 1, e->order);
    for (size_t row = 0; row < window->rows; row++)
        e->position[row] = (int32_t)e->count;
    for (size_t i = 0; i < e->count; i++)
        e->position[e->order[i].row] = (int32_t)i;
    for (size_t slot = 0; slot < window->slot_capacity; slot++)
        if (window->slots[slot].in_window)
            e->sweeps[window->slots[slot].age] += 1.0f;
    for (int i = 0; i < LOG_TABLE; i++)
        e->log_table[i] = log1pf((float)i);
    find_lowest(e);
    *out = e;
    return OCTA_OK;
}

static void collect_bins(const extraction *e, uint32_t row, cell_bins *bins) {
    const octa_window *window = e->window;
    const octa_evidence *history = octa_history(window, row);
    uint64_t hits[MAX_BINS] = {0}, passes[MAX_BINS] = {0}; /* integers: slots come in any order */
    for (size_t slot = 0; slot < window->slot_capacity; slot++)
        if (window->slots[slot].in_window) {
            hits[window->slots[slot].age] += history[slot].hits;
            passes[window->slots[slot].age] += history[slot].passes;
        }
    for (uint32_t bin = 0; bin < window->options.bins; bin++) {
        bins->hits[bin] = (float)hits[bin];
        bins->passes[bin] = (float)passes[bin];
    }
}

static void history_columns(const extraction *e, const cell_bins *bins, float *x) {
    uint32_t k = e->window->options.bins;
    for (uint32_t bin = 0; bin < k; bin++) {
        float sweeps = e->sweeps[bin] > 1.0f ? e->sweeps[bin] : 1.0f;
        x[HISTORY_HITS * k + bin] = log1p_of(e, bins->hits[bin] / sweeps);
        x[HISTORY_PASSES * k + bin] = log1p_of(e, bins->passes[bin] / sweeps);
        x[HISTORY_STATE * k + bin] = bins->hits[bin] > 0 ? 1.0f : bins->passes[bin] > 0 ? -1.0f : 0.0f;
    }
}

static void evidence_columns(const extraction *e, const cell_bins *bins, float *f) {
    uint32_t k = e->window->options.bins;
    float hit_bins = 0, observed_bins = 0, hits = 0, passes = 0, recent_hits = 0, recent_all = 0, weight = 1;
    float hit_age = (float)k, pass_age = (float)k, run = 0;
    int running = 1;
    for (uint32_t bin = 0; bin < k; bin++) {
        float h = bins->hits[bin], p = bins->passes[bin];
        int hit = h > 0, observed = hit || p > 0;
        hit_bins += (float)hit;
        observed_bins += (float)observed;
        hits += h;
        passes += p;
        recent_hits += weight * h;
        recent_all += weight * (h + p);
        weight *= RECENT_DECAY;
        hit_age = hit && hit_age == (float)k ? (float)bin : hit_age;
        pass_age = observed && !hit && pass_age == (float)k ? (float)bin : pass_age;
        running = running && (hit || !observed);
        run += (float)(running && hit);
    }
    f[FEATURE_hit_bins] = hit_bins;
    f[FEATURE_observed_bins] = observed_bins;
    f[FEATURE_hit_share] = hit_bins / observed_bins; /* a window cell was hit, so it was observed */
    f[FEATURE_evidence] = hits / (hits + passes);
    f[FEATURE_evidence_recent] = recent_hits / recent_all;
    f[FEATURE_hit_age] = hit_age;
    f[FEATURE_pass_age] = pass_age;
    f[FEATURE_hit_run] = run;
}

static void moment_columns(const extraction *e, const octa_cell *cell, float *f) {
    const double scale = 1.0 / ((double)OCTA_FIXED_ONE * (double)cell->hits);
    double mean[OCTA_SUMS];
    for (int sum = 0; sum < OCTA_SUMS; sum++)
        mean[sum] = scale * (double)cell->sums[sum];
    f[FEATURE_log_points] = log1p_of(e, (float)cell->hits);
    for (int axis = 0; axis < 3; axis++) {
        f[FEATURE_offset_x + axis] = (float)mean[OCTA_SUM_X + axis];
        f[FEATURE_spread_xx + axis] = (float)(mean[OCTA_SUM_XX + axis] - mean[axis] * mean[axis]);
    }
    f[FEATURE_spread_xy] = (float)(mean[OCTA_SUM_XY] - mean[0] * mean[1]);
    f[FEATURE_spread_xz] = (float)(mean[OCTA_SUM_XZ] - mean[0] * mean[2]);
    f[FEATURE_spread_yz] = (float)(mean[OCTA_SUM_YZ] - mean[1] * mean[2]);
    double intensity = mean[OCTA_SUM_INTENSITY];
    f[FEATURE_intensity_mean] = (float)intensity;
    f[FEATURE_intensity_variance] = (float)(mean[OCTA_SUM_INTENSITY2] - intensity * intensity);
}

/* Site in the frame of a sensor pose: metres, then range and the sine of the elevation. */
static void place_columns(const double *pose, const double *point, float *f) {
    double local[3], range2 = 0;
    for (int axis = 0; axis < 3; axis++) {
        local[axis] = 0;
        for (int i = 0; i < 3; i++)
            local[axis] += pose[4 * i + axis] * (point[i] - pose[4 * i + 3]);
        range2 += local[axis] * local[axis];
        f[axis] = (float)local[axis];
    }
    double range = sqrt(range2);
    f[3] = (float)range;
    f[4] = (float)(range > 0 ? local[2] / range : 0);
}

static int32_t lowest_around(const extraction *e, int32_t x, int32_t y, int reach, int32_t z) {
    int32_t lowest = z;
    for (int dx = -2 * reach; dx <= 2 * reach; dx += 2)
        for (int dy = -2 * reach; dy <= 2 * reach; dy += 2) {
            uint32_t column = octa_cellmap_find(&e->columns, column_key(x + dx, y + dy));
            if (column != OCTA_NO_ROW && e->lowest[column] < lowest)
                lowest = e->lowest[column];
        }
    return lowest;
}

static void geometry_columns(const extraction *e, uint64_t id, float *f) {
    int32_t site[3];
    octa_index64_unpack(id, &site[0], &site[1], &site[2]);
    double point[3];
    for (int axis = 0; axis < 3; axis++)
        point[axis] = site[axis] * e->window->options.grid.half_edge_m;
    place_columns(e->view->pose, point, f + FEATURE_x);
    place_columns(e->view->forecast_pose, point, f + FEATURE_forecast_x);
    f[FEATURE_height_in_column] = (float)(site[2] - lowest_around(e, site[0], site[1], 0, site[2]));
    f[FEATURE_height_in_block] = (float)(site[2] - lowest_around(e, site[0], site[1], 1, site[2]));
    f[FEATURE_speed] = (float)e->view->speed_mps;
    f[FEATURE_yaw_rate] = (float)e->view->yaw_rate_rps;
}

static void find_neighbors(const extraction *e, uint64_t id, int32_t *neighbors) {
    int32_t x, y, z;
    octa_index64_unpack(id, &x, &y, &z);
    for (int n = 0; n < OCTA_NEIGHBORS; n++) {
        const int8_t *offset = octa_neighbor_offsets[n];
        int32_t nx = x + offset[0], ny = y + offset[1], nz = z + offset[2];
        uint32_t row = OCTA_NO_ROW;
        if (octa_in_range(nx, ny, nz))
            row = octa_cellmap_find(&e->window->map, octa_index64_pack(e->window->prefix, nx, ny, nz));
        neighbors[n] = row == OCTA_NO_ROW ? (int32_t)e->count : e->position[row];
    }
}

/* Needs the columns of all cells, so it comes last. */
static void neighbor_columns(const extraction *e, const float *x, size_t width, const int32_t *neighbors,
                             const uint8_t *before, float *f) {
    size_t history = (size_t)HISTORY_KINDS * e->window->options.bins;
    float present = 0, hit = 0, evidence = 0;
    for (int n = 0; n < OCTA_NEIGHBORS; n++) {
        size_t row = (size_t)neighbors[n];
        if (row == e->count)
            continue;
        present += 1;
        hit += before[row] == 2;
        evidence += x[row * width + history + FEATURE_evidence_recent];
    }
    f[FEATURE_neighbors] = present / OCTA_NEIGHBORS;
    f[FEATURE_neighbors_hit] = hit / OCTA_NEIGHBORS;
    f[FEATURE_neighbors_evidence] = present > 0 ? evidence / present : 0;
}

/* Values so large that float32 features would not be finite are refused. */
static octa_error check_view(const octa_view *view) {
    OCTA_TRY(octa_pose_check(view->pose));
    OCTA_TRY(octa_pose_check(view->forecast_pose));
    for (int axis = 0; axis < 3; axis++)
        if (fabs(view->pose[4 * axis + 3]) > 1e9 || fabs(view->forecast_pose[4 * axis + 3]) > 1e9)
            return OCTA_E_DOMAIN;
    return fabs(view->speed_mps) <= 1e6 && fabs(view->yaw_rate_rps) <= 1e6 ? OCTA_OK : OCTA_E_DOMAIN;
}

octa_error octa_window_features(const octa_window *window, const octa_view *view, size_t capacity,
                                uint64_t *ids, float *x, int32_t *neighbors, uint8_t *before) {
    OCTA_TRY(check_view(view));
    if (capacity < window->active)
        return OCTA_E_CAPACITY;
    extraction *e;
    OCTA_TRY(begin_extraction(window, view, &e));
    size_t width = octa_features_count(window->options.bins);
    size_t history = (size_t)HISTORY_KINDS * window->options.bins;
    for (size_t i = 0; i < e->count; i++) {
        cell_bins bins;
        float *f = x + i * width;
        uint64_t id = e->order[i].id;
        collect_bins(e, e->order[i].row, &bins);
        ids[i] = id;
        before[i] = bins.hits[0] > 0 ? 2 : bins.passes[0] > 0 ? 1 : 0;
        history_columns(e, &bins, f);
        evidence_columns(e, &bins, f + history);
        moment_columns(e, &window->cells[e->order[i].row], f + history);
        geometry_columns(e, id, f + history);
        find_neighbors(e, id, neighbors + i * OCTA_NEIGHBORS);
    }
    for (size_t i = 0; i < e->count; i++)
        neighbor_columns(e, x, width, neighbors + i * OCTA_NEIGHBORS, before, x + i * width + history);
    end_extraction(e);
    return OCTA_OK;
}
