#include "scene.h"

#include <math.h>
#include <string.h>

void *scene_alloc(size_t size) {
    void *block = malloc(size ? size : 1);
    CHECK(block);
    return block;
}

octa_grid scene_grid(void) {
    return (octa_grid){.half_edge_m = 0.4,
                       .frame = 3,
                       .tier = 1,
                       .lod = 7,
                       .range_min_m = 1.0,
                       .range_max_m = 60.0,
                       .intensity_max = 1.0};
}

octa_window_options scene_options(void) {
    return (octa_window_options){.grid = scene_grid(),
                                 .bin_ns = 100000000,
                                 .bins = 10,
                                 .keep_bins = 10,
                                 .max_records = 64,
                                 .max_cells = 100000};
}

void scene_pose(double x, double y, double z, double *pose) {
    const double c = cos(0.1), s = sin(0.1);
    const double values[12] = {c, -s, 0, x, s, c, 0, y, 0, 0, 1, z};
    memcpy(pose, values, sizeof values);
}

static float next_share(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 16777216.0f;
}

void scene_points(uint32_t seed, size_t n, float **points, float **intensity) {
    *points = scene_alloc(3 * n * sizeof(float));
    *intensity = scene_alloc(n * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        float *p = *points + 3 * i;
        float angle = 6.2831853f * next_share(&seed), range = 2.0f + 30.0f * next_share(&seed);
        int wall = next_share(&seed) < 0.4f;
        p[0] = wall ? 12.0f : range * cosf(angle);
        p[1] = wall ? 20.0f * (next_share(&seed) - 0.5f) : range * sinf(angle);
        p[2] = wall ? 4.0f * next_share(&seed) - 1.7f : -1.7f + 0.1f * next_share(&seed);
        (*intensity)[i] = next_share(&seed);
    }
}

octa_view scene_view(size_t count, int16_t **beams) {
    octa_view view = {.speed_mps = 3.5, .yaw_rate_rps = 0.1, .beam_weight = 2.0};
    float *points, *intensity;
    scene_pose(1.0, 2.0, 0.3, view.pose);
    scene_pose(2.5, 2.0, 0.3, view.forecast_pose);
    scene_points(11, count, &points, &intensity);
    *beams = scene_alloc(3 * count * sizeof **beams);
    CHECK_OK(octa_beams_sample(points, count, count ? count : 1, *beams, &view.beam_count));
    CHECK(view.beam_count == count);
    view.beams = *beams;
    free(points);
    free(intensity);
    return view;
}

scene_record scene_bin(uint32_t seed, size_t n, int64_t stamp_ns) {
    const octa_grid grid = scene_grid();
    float *points, *intensity;
    double pose[12];
    octa_binner *binner;
    octa_rays *rays;
    octa_bin_counts counts;
    size_t cells;
    scene_points(seed, n, &points, &intensity);
    scene_pose(1.0 + 0.01 * seed, 2.0, 0.3, pose);
    CHECK_OK(octa_binner_new(&grid, &binner));
    CHECK_OK(octa_binner_run(binner, points, intensity, n, pose, &counts, &cells));
    scene_record out = {.ids = scene_alloc(cells * sizeof *out.ids),
                        .hits = scene_alloc(cells * sizeof *out.hits),
                        .passes = scene_alloc(cells * sizeof *out.passes),
                        .sums = scene_alloc(cells * OCTA_SUMS * sizeof *out.sums)};
    CHECK_OK(octa_binner_copy(binner, cells, out.ids, out.hits, out.sums));
    CHECK_OK(octa_rays_new(&grid, &rays));
    CHECK_OK(octa_rays_load(rays, points, n, pose));
    CHECK_OK(octa_rays_passes(rays, out.ids, cells, out.passes));
    out.record = (octa_record){stamp_ns, cells, out.ids, out.hits, out.passes, cells, out.sums};
    octa_binner_free(binner);
    octa_rays_free(rays);
    free(points);
    free(intensity);
    return out;
}

void scene_record_free(scene_record *record) {
    free(record->ids);
    free(record->hits);
    free(record->passes);
    free(record->sums);
}

scene_state scene_state_of(const octa_window *window) {
    size_t n = octa_window_cells(window);
    scene_state s = {.cells = n,
                     .records = octa_window_records(window),
                     .active = octa_window_active(window),
                     .ids = scene_alloc(n * sizeof *s.ids),
                     .hits = scene_alloc(n * sizeof *s.hits),
                     .passes = scene_alloc(n * sizeof *s.passes),
                     .sums = scene_alloc(n * OCTA_SUMS * sizeof *s.sums)};
    CHECK_OK(octa_window_export(window, n, s.ids, s.hits, s.passes, s.sums));
    return s;
}

int scene_states_equal(const scene_state *a, const scene_state *b) {
    return a->cells == b->cells && a->records == b->records && a->active == b->active &&
           memcmp(a->ids, b->ids, a->cells * sizeof *a->ids) == 0 &&
           memcmp(a->hits, b->hits, a->cells * sizeof *a->hits) == 0 &&
           memcmp(a->passes, b->passes, a->cells * sizeof *a->passes) == 0 &&
           memcmp(a->sums, b->sums, a->cells * OCTA_SUMS * sizeof *a->sums) == 0;
}

void scene_state_free(scene_state *state) {
    free(state->ids);
    free(state->hits);
    free(state->passes);
    free(state->sums);
}

void scene_check_unchanged(const octa_window *window, const scene_state *before) {
    scene_check_valid(window);
    scene_state now = scene_state_of(window);
    CHECK(scene_states_equal(&now, before));
    scene_state_free(&now);
}

void scene_check_valid(const octa_window *window) {
    const char *reason = "not set";
    int valid = octa_window_validate(window, &reason);
    if (!valid)
        fprintf(stderr, "invalid window: %s\n", reason ? reason : "no reason given");
    CHECK(valid && reason == NULL);
}
