/* Binning against a snap in double, in any order of points, at the ends of the ranges. */
#include "scene.h"

#include <math.h>
#include <string.h>

#define N 4000

typedef struct {
    size_t cells;
    uint64_t ids[N];
    uint32_t hits[N];
    int32_t sums[N * OCTA_SUMS];
} result;

static void run(octa_binner *binner, const float *points, const float *intensity, size_t n,
                octa_bin_counts *counts, result *out) {
    double pose[12];
    scene_pose(100.0, -50.0, 2.0, pose);
    CHECK_OK(octa_binner_run(binner, points, intensity, n, pose, counts, &out->cells));
    CHECK(out->cells <= N);
    CHECK_OK(octa_binner_copy(binner, out->cells, out->ids, out->hits, out->sums));
    CHECK(counts->binned + counts->not_finite + counts->out_of_range + counts->off_map == n);
    uint64_t hits = 0;
    for (size_t i = 0; i < out->cells; i++) {
        CHECK(i == 0 || out->ids[i] > out->ids[i - 1]);
        CHECK(out->hits[i] > 0);
        hits += out->hits[i];
    }
    CHECK(hits == counts->binned);
}

static int equal(const result *a, const result *b) {
    return a->cells == b->cells && memcmp(a->ids, b->ids, a->cells * sizeof *a->ids) == 0 &&
           memcmp(a->hits, b->hits, a->cells * sizeof *a->hits) == 0 &&
           memcmp(a->sums, b->sums, a->cells * OCTA_SUMS * sizeof *a->sums) == 0;
}

/* Every binned point lies in its cell (a truncated octahedron), up to float32. */
static void check_cells(octa_binner *binner, const float *points, const result *bins) {
    static int32_t rows[N];
    double pose[12];
    size_t placed = 0;
    scene_pose(100.0, -50.0, 2.0, pose);
    CHECK_CODE(octa_binner_point_rows(binner, N - 1, rows), OCTA_E_CAPACITY);
    CHECK_OK(octa_binner_point_rows(binner, N, rows));
    for (size_t i = 0; i < N; i++) {
        if (rows[i] < 0)
            continue;
        CHECK((size_t)rows[i] < bins->cells);
        int32_t site[3];
        CHECK_OK(octa_index64_decode(&bins->ids[rows[i]], 1, site, NULL, NULL, NULL));
        double sum = 0;
        for (int axis = 0; axis < 3; axis++) {
            double v = pose[4 * axis + 3];
            for (int k = 0; k < 3; k++)
                v += pose[4 * axis + k] * (double)points[3 * i + (size_t)k];
            double off = fabs(v / 0.4 - site[axis]);
            CHECK(off < 1.0001);
            sum += off;
        }
        CHECK(sum < 1.5001);
        placed++;
    }
    uint64_t hits = 0;
    for (size_t i = 0; i < bins->cells; i++)
        hits += bins->hits[i];
    CHECK(placed == hits);
}

static void test_scene(void) {
    const octa_grid grid = scene_grid();
    static result first, second;
    octa_bin_counts counts, again;
    octa_binner *binner;
    float *points, *intensity;
    scene_points(5, N, &points, &intensity);
    CHECK_OK(octa_binner_new(&grid, &binner));
    run(binner, points, intensity, N, &counts, &first);
    check_cells(binner, points, &first);
    CHECK(counts.binned > N / 2 && counts.rays == N);
    for (size_t i = 0, j = N - 1; i < j; i++, j--) {
        float keep[4] = {points[3 * i], points[3 * i + 1], points[3 * i + 2], intensity[i]};
        memcpy(points + 3 * i, points + 3 * j, 3 * sizeof *points);
        memcpy(points + 3 * j, keep, 3 * sizeof *points);
        intensity[i] = intensity[j];
        intensity[j] = keep[3];
    }
    run(binner, points, intensity, N, &again, &second);
    CHECK(equal(&first, &second));
    CHECK(memcmp(&counts, &again, sizeof counts) == 0);
    octa_binner_free(binner);
    free(points);
    free(intensity);
}

static void test_dropped_points(void) {
    const octa_grid grid = scene_grid();
    const float points[] = {NAN, 0, 0, 0, INFINITY, 0, 10001, 0, 0, 0, 0, 0, 0.5f, 0, 0,
                            61,  0, 0, 5, 5,        1, 5,     5, 1, 5, 5, 1, 5,    5, 1};
    const float intensity[] = {0, 0, 0, 0, 0, 0, NAN, -1, 2, 0.5f};
    static result bins;
    octa_bin_counts counts;
    octa_binner *binner;
    CHECK_OK(octa_binner_new(&grid, &binner));
    run(binner, points, intensity, 10, &counts, &bins);
    CHECK(counts.not_finite == 3 && counts.out_of_range == 3 && counts.rays == 6);
    CHECK(counts.binned == 4 && counts.off_map == 0 && counts.intensity_clamped == 3 && bins.cells == 1);
    CHECK(bins.sums[OCTA_SUM_INTENSITY] == OCTA_FIXED_ONE + OCTA_FIXED_ONE / 2);
    run(binner, NULL, NULL, 0, &counts, &bins);
    CHECK(bins.cells == 0);
    octa_binner_free(binner);
}

/* Points halfway between sites go where octa_lattice_snap puts them. */
static void test_ties(void) {
    octa_grid grid = scene_grid();
    grid.half_edge_m = 0.5;
    const double pose[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    const float points[] = {10.5f, 0,     0,     -10.5f, 0,    0,    10,   0.5f,  0.5f,  10,   -0.5f, -0.5f,
                            0.5f,  10,    0.5f,  0.5f,   0.5f, 10,   5.5f, 5.25f, 5,     10,   0.75f, 0,
                            -10,   -0.5f, -0.5f, 0.25f,  10,   0.5f, 0,    0.25f, 10.5f, 0.5f, 10.5f, 0};
    enum { TIES = sizeof points / sizeof *points / 3 };
    const float intensity[TIES] = {0};
    octa_binner *binner;
    octa_bin_counts counts;
    size_t cells;
    uint64_t ids[TIES];
    uint32_t hits[TIES];
    int32_t sums[TIES * OCTA_SUMS], rows[TIES];
    CHECK_OK(octa_binner_new(&grid, &binner));
    CHECK_OK(octa_binner_run(binner, points, intensity, TIES, pose, &counts, &cells));
    CHECK(counts.binned == TIES);
    CHECK_OK(octa_binner_copy(binner, cells, ids, hits, sums));
    CHECK_OK(octa_binner_point_rows(binner, TIES, rows));
    for (size_t i = 0; i < TIES; i++) {
        double scaled[3];
        int32_t expected[3], got[3];
        for (size_t axis = 0; axis < 3; axis++)
            scaled[axis] = 2.0 * (double)points[3 * i + axis];
        CHECK_OK(octa_lattice_snap(scaled, 1, expected));
        CHECK_OK(octa_index64_decode(&ids[rows[i]], 1, got, NULL, NULL, NULL));
        CHECK(memcmp(expected, got, sizeof got) == 0);
    }
    octa_binner_free(binner);
}

static void test_refusals(void) {
    const octa_grid grid = scene_grid();
    static result before, after;
    float *points, *intensity;
    double pose[12];
    octa_bin_counts counts;
    octa_binner *binner;
    size_t cells = 77;
    scene_points(1, 500, &points, &intensity);
    CHECK_OK(octa_binner_new(&grid, &binner));
    run(binner, points, intensity, 500, &counts, &before);
    octa_bin_counts kept = counts;
    scene_pose(0, 0, 0, pose);
    CHECK_CODE(octa_binner_run(binner, points, intensity, OCTA_MAX_POINTS + 1, pose, &counts, &cells),
               OCTA_E_DOMAIN);
    pose[0] = 1.1;
    CHECK_CODE(octa_binner_run(binner, points, intensity, 500, pose, &counts, &cells), OCTA_E_POSE);
    scene_pose(0.4 * 32768, 0, 0, pose);
    CHECK_CODE(octa_binner_run(binner, points, intensity, 500, pose, &counts, &cells), OCTA_E_RANGE);
    scene_pose(0, 1e300, 0, pose);
    CHECK_CODE(octa_binner_run(binner, points, intensity, 500, pose, &counts, &cells), OCTA_E_RANGE);
    CHECK(cells == 77 && memcmp(&kept, &counts, sizeof kept) == 0);
    CHECK(before.cells > 0);
    CHECK_CODE(octa_binner_copy(binner, before.cells - 1, after.ids, after.hits, after.sums),
               OCTA_E_CAPACITY);
    after.cells = before.cells;
    CHECK_OK(octa_binner_copy(binner, after.cells, after.ids, after.hits, after.sums));
    CHECK(equal(&before, &after));
    octa_binner_free(binner);
    octa_binner_free(NULL);
    free(points);
    free(intensity);
}

/* The finest lattice, the farthest points and the edges of the map: no conversion may overflow. */
static void test_extremes(void) {
    const double half_edges[] = {0.001, 0.25, 51.2, 1e6};
    const float points[] = {10000,  -10000, 10000, 10000, 10000, 10000, 0, 0,
                            -10000, 1e-30f, 0,     0,     30,    30,    30};
    const float intensity[] = {1e30f, -1e30f, 1e-38f, 0, 1};
    const double edges[] = {0, -32767, 32766};
    for (size_t i = 0; i < sizeof half_edges / sizeof *half_edges; i++)
        for (size_t k = 0; k < 3; k++) {
            octa_grid grid = scene_grid();
            octa_binner *binner;
            octa_bin_counts counts;
            double pose[12], at = edges[k] * half_edges[i];
            size_t cells;
            grid.half_edge_m = half_edges[i];
            grid.range_min_m = 0;
            grid.range_max_m = 1e6;
            grid.intensity_max = 1e-6;
            scene_pose(at, at, at, pose);
            CHECK_OK(octa_binner_new(&grid, &binner));
            CHECK_OK(octa_binner_run(binner, points, intensity, 5, pose, &counts, &cells));
            CHECK(counts.binned + counts.off_map + counts.out_of_range == 5);
            octa_binner_free(binner);
        }
}

void test_binner(void) {
    test_scene();
    test_dropped_points();
    test_ties();
    test_refusals();
    test_extremes();
}
