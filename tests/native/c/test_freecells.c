/* Free cells against the count of rays that pass given cells. */
#include "scene.h"

#include <math.h>
#include <string.h>

enum { N = 1500 };

typedef struct {
    size_t cells;
    uint64_t *ids;
    uint32_t *passes, *misses;
} found;

static found find(octa_free_cells *finder, const float *points, size_t n, const float *misses, size_t m,
                  const double *pose, double reach_m) {
    found f;
    CHECK_OK(octa_free_cells_run(finder, points, n, misses, m, pose, reach_m, &f.cells));
    f.ids = scene_alloc(f.cells * sizeof *f.ids);
    f.passes = scene_alloc(f.cells * sizeof *f.passes);
    f.misses = scene_alloc(f.cells * sizeof *f.misses);
    if (f.cells)
        CHECK_CODE(octa_free_cells_copy(finder, f.cells - 1, f.ids, f.passes, f.misses), OCTA_E_CAPACITY);
    CHECK_OK(octa_free_cells_copy(finder, f.cells, f.ids, f.passes, f.misses));
    for (size_t i = 0; i < f.cells; i++) {
        CHECK(i == 0 || f.ids[i] > f.ids[i - 1]);
        CHECK(f.passes[i] + f.misses[i] > 0);
    }
    return f;
}

static void free_found(found *f) {
    free(f->ids);
    free(f->passes);
    free(f->misses);
}

/* Counts agree with those of octa_rays_coarse_passes, but for a few rays that graze an edge. */
static void test_against_passes(void) {
    const octa_grid grid = scene_grid();
    float *points, *intensity;
    double pose[12];
    octa_rays *rays;
    scene_points(4, N, &points, &intensity);
    scene_pose(1.0, 2.0, 0.3, pose);
    CHECK_OK(octa_rays_new(&grid, &rays));
    CHECK_OK(octa_rays_load(rays, points, N, pose));
    for (uint8_t levels = 0; levels < 4; levels++) {
        octa_free_cells *finder;
        CHECK_OK(octa_free_cells_new(&grid, levels, &finder));
        found f = find(finder, points, N, NULL, 0, pose, 100.0);
        uint32_t *passes = scene_alloc(f.cells * sizeof *passes);
        uint64_t total = 0, other = 0, off = 0;
        CHECK_OK(octa_rays_coarse_passes(rays, f.ids, f.cells, passes));
        for (size_t i = 0; i < f.cells; i++) {
            total += f.passes[i];
            other += passes[i];
            off += f.passes[i] > passes[i] ? f.passes[i] - passes[i] : passes[i] - f.passes[i];
            CHECK(f.misses[i] == 0);
        }
        CHECK(f.cells > 100 && total > N && off * 2000 <= total && other > 0);
        free(passes);
        free_found(&f);
        octa_free_cells_free(finder);
    }
    octa_rays_free(rays);
    free(points);
    free(intensity);
}

static void test_one_ray(void) {
    const octa_grid grid = {0.5, 1, 0, 7, 0.0, 100.0, 1.0};
    const double pose[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    const float point[3] = {3.0f, 0, 0}, miss[3] = {0, 0, -0.25f};
    octa_free_cells *finder;
    CHECK_OK(octa_free_cells_new(&grid, 0, &finder));
    found f = find(finder, point, 1, NULL, 0, pose, 50.0);
    CHECK(f.cells == 3); /* of 1 m each along x: 0, 1, 2; the return lies in the one at 3 */
    free_found(&f);
    f = find(finder, point, 1, NULL, 0, pose, 1.6);
    CHECK(f.cells == 2); /* left by then */
    free_found(&f);
    f = find(finder, NULL, 0, miss, 1, pose, 4.2);
    CHECK(f.cells == 4 && f.passes[0] == 0 && f.misses[0] == 1);
    free_found(&f);
    const float unusable[12] = {NAN, 0, 0, 0, 0, 0, 1e6f, 0, 0, INFINITY, 1, 1};
    f = find(finder, unusable, 4, unusable, 4, pose, 50.0);
    CHECK(f.cells == 0);
    free_found(&f);
    octa_free_cells_free(finder);
}

static void test_edge_of_the_map(void) {
    const octa_grid grid = {0.5, 1, 0, 7, 0.0, 100.0, 1.0};
    const double pose[12] = {1, 0, 0, 16383.4, 0, 1, 0, 0, 0, 0, 1, 0};
    const float points[6] = {30.0f, 0.1f, 0.2f, -3.0f, 0.1f, 0.2f};
    octa_free_cells *finder;
    CHECK_OK(octa_free_cells_new(&grid, 1, &finder));
    found f = find(finder, points, 2, points, 1, pose, 50.0);
    CHECK(f.cells > 0 && f.cells < 6);
    free_found(&f);
    octa_free_cells_free(finder);
}

static void test_refusals(void) {
    octa_grid grid = scene_grid();
    double pose[12], far[12];
    const float point[3] = {1, 2, 3};
    size_t count = 77;
    octa_free_cells *finder = NULL;
    scene_pose(0, 0, 0, pose);
    scene_pose(1e6, 0, 0, far);
    CHECK_CODE(octa_free_cells_new(&grid, 7, &finder), OCTA_E_LOD);
    grid.lod = 1;
    CHECK_CODE(octa_free_cells_new(&grid, 2, &finder), OCTA_E_LOD);
    grid.half_edge_m = NAN;
    CHECK_CODE(octa_free_cells_new(&grid, 0, &finder), OCTA_E_DOMAIN);
    CHECK(finder == NULL);
    octa_free_cells_free(NULL);
    grid = scene_grid();
    CHECK_OK(octa_free_cells_new(&grid, 1, &finder));
#define REFUSE(n, m, where, reach, code)                                                                     \
    CHECK_CODE(octa_free_cells_run(finder, point, n, point, m, where, reach, &count), code)
    REFUSE(OCTA_MAX_POINTS + 1, 0, pose, 10.0, OCTA_E_DOMAIN);
    REFUSE(0, OCTA_MAX_POINTS + 1, pose, 10.0, OCTA_E_DOMAIN);
    REFUSE(1, 0, pose, 0.0, OCTA_E_DOMAIN);
    REFUSE(1, 0, pose, NAN, OCTA_E_DOMAIN);
    REFUSE(1, 0, pose, 1e5, OCTA_E_DOMAIN);
    REFUSE(1, 0, far, 10.0, OCTA_E_RANGE);
    far[0] = 2.0;
    REFUSE(1, 0, far, 10.0, OCTA_E_POSE);
#undef REFUSE
    CHECK(count == 77);
    octa_free_cells_free(finder);
}

void test_freecells(void) {
    test_against_passes();
    test_one_ray();
    test_edge_of_the_map();
    test_refusals();
}
