/* Columns that a cell's own history, sums and place decide, for a block of cells side by side. */
#include "extraction.h"
#include "functions.h"

#include <math.h>
#include <string.h>

#define RECENT_DECAY 0.7f
#define PRIOR_RETURNS 2.0f   /* that the prior on a cell's covariance counts for */
#define PRIOR_VARIANCE 0.08f /* square half edges, as the next */
#define NOISE_VARIANCE 0.01f
#define LANES OCTA_CELL_LANES

/* Evidence by time bin, exact whatever the order of its records; lanes behind the last cell hold zeros. */
typedef struct {
    double hits[OCTA_MAX_BINS][LANES], passes[OCTA_MAX_BINS][LANES];
} block_evidence;

/* Exact totals over the window. */
typedef struct {
    double hits[LANES], sums[OCTA_SUMS][LANES];
    double site[3][LANES];
} block_totals;

/* A block's rows lie anywhere in the window: ask for the next block's while this one is computed. */
static void prefetch(const octa_extraction *e, size_t begin) {
    const octa_window *window = e->window;
    const size_t end = begin + LANES < e->count ? begin + LANES : e->count;
    for (size_t i = begin; i < end; i++) {
        const uint32_t row = e->order[i].row;
        const char *history = (const char *)octa_history(window, row);
        for (size_t byte = 0; byte < window->slot_capacity * sizeof(octa_evidence); byte += 64)
            __builtin_prefetch(history + byte);
        __builtin_prefetch(&window->cells[row]);
        __builtin_prefetch((const char *)&window->cells[row] + 64);
    }
}

static void collect(const octa_extraction *e, size_t begin, block_evidence *evidence, block_totals *totals) {
    const octa_window *window = e->window;
    const size_t cells = octa_block_cells(e, begin);
    const size_t bins = window->options.bins;
    memset(evidence->hits, 0, bins * sizeof *evidence->hits);
    memset(evidence->passes, 0, bins * sizeof *evidence->passes);
    memset(totals, 0, sizeof *totals);
    for (size_t lane = 0; lane < cells; lane++) {
        const uint32_t row = e->order[begin + lane].row;
        const octa_cell *cell = &window->cells[row];
        totals->hits[lane] = (double)cell->hits;
        for (int sum = 0; sum < OCTA_SUMS; sum++)
            totals->sums[sum][lane] = (double)cell->sums[sum];
        for (int axis = 0; axis < 3; axis++)
            totals->site[axis][lane] = e->sites[begin + lane][axis];
    }
    for (size_t slot = 0; slot < window->slot_capacity; slot++) {
        if (!window->slots[slot].in_window)
            continue;
        double *hits = evidence->hits[window->slots[slot].age];
        double *passes = evidence->passes[window->slots[slot].age];
        for (size_t lane = 0; lane < cells; lane++) {
            const octa_evidence *seen = octa_history(window, e->order[begin + lane].row) + slot;
            hits[lane] += seen->hits;
            passes[lane] += seen->passes;
        }
    }
}

OCTA_HOT static void history_columns(const octa_extraction *e, const block_evidence *evidence) {
    const size_t newest = e->history / HISTORY_KINDS;
    for (size_t bin = 0; bin < newest; bin++) {
        const double *hits = evidence->hits[bin], *passes = evidence->passes[bin];
        float *log_hits = e->block[HISTORY_HITS * newest + bin];
        float *log_passes = e->block[HISTORY_PASSES * newest + bin];
        const float sweeps = e->sweeps[bin];
        for (int i = 0; i < LANES; i++) {
            log_hits[i] = octa_log1p((float)hits[i] / sweeps);
            log_passes[i] = octa_log1p((float)passes[i] / sweeps);
        }
    }
}

typedef struct {
    octa_column hit_bins, observed_bins, hits, passes, recent_hits, recent_all;
    octa_column hit_age, pass_age, run, running;
} evidence_sums;

/* Selections rather than branches, so that the lanes go side by side. */
static inline void add_bin(evidence_sums *restrict s, const double *restrict hits,
                           const double *restrict passes, float age, float never, float weight) {
    for (int i = 0; i < LANES; i++) {
        const float h = (float)hits[i], p = (float)passes[i], all = h + p;
        const float hit = h > 0 ? 1.0f : 0.0f, observed = all > 0 ? 1.0f : 0.0f, passed = observed - hit;
        const float hit_age = h > 0 ? age : never, pass_age = passed > 0 ? age : never;
        s->hit_bins[i] += hit;
        s->observed_bins[i] += observed;
        s->hits[i] += h;
        s->passes[i] += p;
        s->recent_hits[i] += weight * h;
        s->recent_all[i] += weight * all;
        s->hit_age[i] = hit_age < s->hit_age[i] ? hit_age : s->hit_age[i];
        s->pass_age[i] = pass_age < s->pass_age[i] ? pass_age : s->pass_age[i];
        s->running[i] *= 1.0f - passed;
        s->run[i] += s->running[i] * hit;
    }
}

OCTA_HOT static void evidence_columns(const octa_extraction *e, const block_evidence *evidence) {
    const size_t bins = e->window->options.bins;
    octa_column *f = octa_named(e);
    evidence_sums s;
    memset(&s, 0, sizeof s);
    for (int i = 0; i < LANES; i++) {
        s.hit_age[i] = s.pass_age[i] = (float)bins;
        s.running[i] = 1.0f;
    }
    float weight = 1.0f;
    for (size_t bin = 0; bin < bins; bin++, weight *= RECENT_DECAY)
        add_bin(&s, evidence->hits[bin], evidence->passes[bin], (float)bin, (float)bins, weight);
    for (int i = 0; i < LANES; i++) {
        f[FEATURE_hit_bins][i] = s.hit_bins[i];
        f[FEATURE_observed_bins][i] = s.observed_bins[i];
        f[FEATURE_hit_share][i] = s.hit_bins[i] / s.observed_bins[i]; /* a window cell was observed */
        f[FEATURE_evidence][i] = s.hits[i] / (s.hits[i] + s.passes[i]);
        f[FEATURE_evidence_recent][i] = s.recent_hits[i] / s.recent_all[i];
        f[FEATURE_hit_age][i] = s.hit_age[i];
        f[FEATURE_pass_age][i] = s.pass_age[i];
        f[FEATURE_hit_run][i] = s.run[i];
    }
}

OCTA_HOT static void moment_columns(const octa_extraction *e, const block_totals *totals) {
    octa_column *f = octa_named(e);
    double mean[OCTA_SUMS][LANES];
    for (int sum = 0; sum < OCTA_SUMS; sum++)
        for (int i = 0; i < LANES; i++)
            mean[sum][i] = totals->sums[sum][i] / ((double)OCTA_FIXED_ONE * totals->hits[i]);
    for (int i = 0; i < LANES; i++)
        f[FEATURE_log_points][i] = octa_log1p((float)totals->hits[i]);
    for (int axis = 0; axis < 3; axis++)
        for (int i = 0; i < LANES; i++) {
            f[FEATURE_offset_x + axis][i] = (float)mean[OCTA_SUM_X + axis][i];
            f[FEATURE_spread_xx + axis][i] =
                (float)(mean[OCTA_SUM_XX + axis][i] - mean[axis][i] * mean[axis][i]);
        }
    for (int i = 0; i < LANES; i++) {
        const double intensity = mean[OCTA_SUM_INTENSITY][i];
        f[FEATURE_spread_xy][i] = (float)(mean[OCTA_SUM_XY][i] - mean[0][i] * mean[1][i]);
        f[FEATURE_spread_xz][i] = (float)(mean[OCTA_SUM_XZ][i] - mean[0][i] * mean[2][i]);
        f[FEATURE_spread_yz][i] = (float)(mean[OCTA_SUM_YZ][i] - mean[1][i] * mean[2][i]);
        f[FEATURE_intensity_mean][i] = (float)intensity;
        f[FEATURE_intensity_variance][i] = (float)(mean[OCTA_SUM_INTENSITY2][i] - intensity * intensity);
    }
}

/* Sites in the frame of a sensor pose: metres, then range and the sine of the elevation. */
OCTA_HOT static void place_columns(const octa_extraction *e, const double *pose, const block_totals *totals,
                                   octa_column *f) {
    const double h = e->window->options.grid.half_edge_m;
    for (int i = 0; i < LANES; i++) {
        double d[3], local[3], range2 = 0;
        for (int axis = 0; axis < 3; axis++)
            d[axis] = totals->site[axis][i] * h - pose[4 * axis + 3];
        for (int axis = 0; axis < 3; axis++) {
            local[axis] = pose[axis] * d[0] + pose[4 + axis] * d[1] + pose[8 + axis] * d[2];
            range2 += local[axis] * local[axis];
            f[axis][i] = (float)local[axis];
        }
        const double range = sqrt(range2);
        f[3][i] = (float)range;
        f[4][i] = (float)(range > 0 ? local[2] / range : 0);
    }
}

/* The returns about the extraction's origin instead of the cell's site, in the order of MOMENT_*. */
OCTA_HOT static void shift_moments(const octa_extraction *e, const block_totals *totals,
                                   double shifted[MOMENTS][LANES]) {
    static const uint8_t axes[6][2] = {{0, 0}, {1, 1}, {2, 2}, {0, 1}, {0, 2}, {1, 2}};
    const double scale = 1.0 / OCTA_FIXED_ONE;
    for (int axis = 0; axis < 3; axis++)
        for (int i = 0; i < LANES; i++)
            shifted[MOMENT_FIRST + axis][i] = scale * totals->sums[OCTA_SUM_X + axis][i] +
                                              totals->hits[i] * (totals->site[axis][i] - e->origin[axis]);
    for (int p = 0; p < 6; p++) {
        const int a = axes[p][0], b = axes[p][1];
        for (int i = 0; i < LANES; i++) {
            const double to_a = totals->site[a][i] - e->origin[a], to_b = totals->site[b][i] - e->origin[b];
            shifted[MOMENT_SECOND + p][i] = scale * totals->sums[OCTA_SUM_XX + p][i] +
                                            to_a * (scale * totals->sums[OCTA_SUM_X + b][i]) +
                                            to_b * shifted[MOMENT_FIRST + a][i];
        }
    }
    for (int i = 0; i < LANES; i++)
        shifted[MOMENT_COUNT][i] = totals->hits[i];
}

/* Inverse of the Cholesky factor of each cell's covariance. That is drawn towards a small sphere: a few
 * returns say little about the shape of a surface, and no surface is thinner than the sensor's noise. */
OCTA_HOT static void whitenings(const octa_extraction *e, const block_totals *totals,
                                float whitens[6][LANES]) {
    const octa_column *f = octa_named(e) + FEATURE_spread_xx;
    for (int i = 0; i < LANES; i++) {
        const float n = (float)totals->hits[i], scale = n / (n + PRIOR_RETURNS);
        const float sphere = PRIOR_RETURNS * PRIOR_VARIANCE / (n + PRIOR_RETURNS) + NOISE_VARIANCE;
        const float xx = scale * f[0][i] + sphere, yy = scale * f[1][i] + sphere,
                    zz = scale * f[2][i] + sphere;
        const float xy = scale * f[3][i], xz = scale * f[4][i], yz = scale * f[5][i];
        /* No variance is below the noise, except by rounding or in sums that no returns have. */
        const float a = 1.0f / sqrtf(octa_larger(xx, NOISE_VARIANCE)), ba = xy * a, ca = xz * a;
        const float b = 1.0f / sqrtf(octa_larger(yy - ba * ba, NOISE_VARIANCE)), cb = (yz - ca * ba) * b;
        const float c = 1.0f / sqrtf(octa_larger(zz - ca * ca - cb * cb, NOISE_VARIANCE));
        whitens[0][i] = a;
        whitens[1][i] = -ba * a * b;
        whitens[2][i] = b;
        whitens[3][i] = (ba * cb * b - ca) * a * c;
        whitens[4][i] = -cb * b * c;
        whitens[5][i] = c;
    }
}

/* What neighbours, coarser levels and casts read of these cells. */
static void share(octa_extraction *e, size_t begin, const block_evidence *evidence,
                  double moments[MOMENTS][LANES], float whitens[6][LANES], uint8_t *before) {
    const size_t cells = octa_block_cells(e, begin);
    octa_column *f = octa_named(e), state;
    for (int i = 0; i < LANES; i++)
        state[i] = evidence->hits[0][i] > 0 ? 1.0f : evidence->passes[0][i] > 0 ? -1.0f : 0.0f;
    const float *sources[OCTA_POOLED - 1] = {
        e->block[0],          e->block[e->history / HISTORY_KINDS], state,
        f[FEATURE_hit_share], f[FEATURE_evidence_recent],           f[FEATURE_observed_bins],
        f[FEATURE_log_points]};
    for (size_t lane = 0; lane < cells; lane++) {
        const size_t row = begin + lane;
        before[row] = state[lane] > 0 ? 2 : state[lane] < 0 ? 1 : 0;
        const float recent = f[FEATURE_evidence_recent][lane], hit = state[lane] > 0 ? 1.0f : 0.0f;
        e->notes[row] = (octa_notes){recent, hit, 1.0f, 0.0f};
        for (int m = 0; m < MOMENTS; m++)
            ((double *)e->moments[row])[m] = moments[m][lane];
        octa_target *target = &e->targets[row];
        target->stop = recent;
        for (int axis = 0; axis < 3; axis++)
            target->mean[axis] = f[FEATURE_offset_x + axis][lane];
        for (int p = 0; p < 6; p++)
            target->whitens[p] = whitens[p][lane];
        for (int v = 0; v < OCTA_POOLED - 1; v++)
            e->pooled[row][v] = sources[v][lane];
    }
}

void octa_cell_columns(octa_extraction *e, size_t begin, uint8_t *before) {
    block_evidence evidence;
    block_totals totals;
    double moments[MOMENTS][LANES];
    float whitens[6][LANES];
    memset(moments, 0, sizeof moments);
    octa_column *f = octa_named(e);
    prefetch(e, begin + LANES);
    collect(e, begin, &evidence, &totals);
    history_columns(e, &evidence);
    evidence_columns(e, &evidence);
    moment_columns(e, &totals);
    place_columns(e, e->view->pose, &totals, f + FEATURE_x);
    place_columns(e, e->view->forecast_pose, &totals, f + FEATURE_forecast_x);
    shift_moments(e, &totals, moments);
    whitenings(e, &totals, whitens);
    share(e, begin, &evidence, moments, whitens, before);
}
