/* Columns that one cell's own history, sums and place decide. */
#include "extraction.h"

#include <math.h>
#include <string.h>

#define RECENT_DECAY 0.7f

/* One cell's evidence by time bin. */
typedef struct {
    float hits[OCTA_MAX_BINS], passes[OCTA_MAX_BINS];
} cell_bins;

static void collect_bins(const octa_extraction *e, uint32_t row, cell_bins *bins) {
    const octa_window *window = e->window;
    const octa_evidence *history = octa_history(window, row);
    uint64_t hits[OCTA_MAX_BINS], passes[OCTA_MAX_BINS]; /* integers: slots come in any order */
    memset(hits, 0, window->options.bins * sizeof *hits);
    memset(passes, 0, window->options.bins * sizeof *passes);
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

static void history_columns(const octa_extraction *e, const cell_bins *bins, float *x) {
    uint32_t k = e->window->options.bins;
    for (uint32_t bin = 0; bin < k; bin++) {
        float sweeps = e->sweeps[bin] > 1.0f ? e->sweeps[bin] : 1.0f;
        x[HISTORY_HITS * k + bin] = octa_log1p(e, bins->hits[bin] / sweeps);
        x[HISTORY_PASSES * k + bin] = octa_log1p(e, bins->passes[bin] / sweeps);
        x[HISTORY_STATE * k + bin] = bins->hits[bin] > 0 ? 1.0f : bins->passes[bin] > 0 ? -1.0f : 0.0f;
    }
}

static void evidence_columns(const octa_extraction *e, const cell_bins *bins, float *f) {
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

static void moment_columns(const octa_extraction *e, const octa_cell *cell, float *f) {
    const double scale = 1.0 / ((double)OCTA_FIXED_ONE * (double)cell->hits);
    double mean[OCTA_SUMS];
    for (int sum = 0; sum < OCTA_SUMS; sum++)
        mean[sum] = scale * (double)cell->sums[sum];
    f[FEATURE_log_points] = octa_log1p(e, (float)cell->hits);
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

static void place_all(const octa_extraction *e, const int32_t *site, float *f) {
    double point[3];
    for (int axis = 0; axis < 3; axis++)
        point[axis] = site[axis] * e->window->options.grid.half_edge_m;
    place_columns(e->view->pose, point, f + FEATURE_x);
    place_columns(e->view->forecast_pose, point, f + FEATURE_forecast_x);
    f[FEATURE_speed] = (float)e->view->speed_mps;
    f[FEATURE_yaw_rate] = (float)e->view->yaw_rate_rps;
}

void octa_cell_columns(const octa_extraction *e, float *x, uint8_t *before) {
    for (size_t i = 0; i < e->count; i++) {
        cell_bins bins;
        float *f = octa_row_columns(e, x, i);
        collect_bins(e, e->order[i].row, &bins);
        before[i] = bins.hits[0] > 0 ? 2 : bins.passes[0] > 0 ? 1 : 0;
        history_columns(e, &bins, x + i * e->width);
        evidence_columns(e, &bins, f);
        moment_columns(e, &e->window->cells[e->order[i].row], f);
        place_all(e, e->sites[i], f);
    }
}
