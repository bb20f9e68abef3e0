/* Passes against a test of every ray with every cell, in double. */
#include "scene.h"

#include <math.h>
#include <string.h>

#define N 600

/* The ray's interval inside a cell that is grown by slack; t = 1 at the return. */
static int crosses(const double *center, const double *d, double slack) {
    static const int normals[7][3] = {{1, 0, 0},  {0, 1, 0},  {0, 0, 1}, {1, 1, 1},
                                      {1, 1, -1}, {1, -1, 1}, {-1, 1, 1}};
    double enter = -INFINITY, leave = INFINITY;
    for (int i = 0; i < 7; i++) {
        double along = 0, place = 0, bound = (i < 3 ? 1.0 : 1.5) + slack;
        for (int axis = 0; axis < 3; axis++) {
            along += normals[i][axis] * d[axis];
            place += normals[i][axis] * center[axis];
        }
        if (fabs(along) < 1e-12) {
            if (fabs(place) > bound)
                return 0;
            continue;
        }
        double a = (place - bound) / along, b = (place + bound) / along;
        enter = fmax(enter, fmin(a, b));
        leave = fmin(leave, fmax(a, b));
    }
    return enter < leave && leave > 0 && leave < 1 + (slack > 0 ? 1e-4 : -1e-4);
}

static void passes_of(const octa_rays *rays, const int32_t *sites, size_t m, uint32_t *passes) {
    const octa_grid grid = scene_grid();
    uint64_t *ids = scene_alloc(m * sizeof *ids);
    CHECK_OK(octa_index64_encode(sites, m, grid.frame, grid.tier, grid.lod, ids));
    CHECK_OK(octa_rays_passes(rays, ids, m, passes));
    free(ids);
}

static void test_one_ray(void) {
    const octa_grid grid = scene_grid();
    const double pose[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    const float points[] = {8.0f, 0.02f, 0.04f, NAN, 0, 0, 0, 0, 0};
    const int32_t sites[] = {0, 0, 0, 2, 0, 0, 18, 0, 0, 20, 0, 0, 22, 0, 0, -2, 0, 0, 10, 2, 0, 10, 0, 4};
    const uint32_t expected[] = {1, 1, 1, 0, 0, 0, 0, 0};
    uint32_t passes[8];
    octa_rays *rays;
    CHECK_OK(octa_rays_new(&grid, &rays));
    passes_of(rays, sites, 8, passes);
    for (int i = 0; i < 8; i++)
        CHECK(passes[i] == 0); /* nothing loaded yet */
    CHECK_OK(octa_rays_load(rays, points, 3, pose));
    passes_of(rays, sites, 8, passes);
    CHECK(memcmp(passes, expected, sizeof passes) == 0);
    CHECK_OK(octa_rays_load(rays, NULL, 0, pose));
    passes_of(rays, sites, 8, passes);
    CHECK(passes[1] == 0);
    octa_rays_free(rays);
}

/* The sensor is just outside a cell, with its centre less than one half edge behind: that cell is not
 * crossed. */
static void test_behind(void) {
    const octa_grid grid = scene_grid();
    const double pose[12] = {1, 0, 0, 0.38, 0, 1, 0, 0.24, 0, 0, 1, 0};
    const float points[] = {8, 0, 0, -8, 0, 0};
    const int32_t sites[] = {0, 0, 0};
    uint32_t passes;
    octa_rays *rays;
    CHECK_OK(octa_rays_new(&grid, &rays));
    CHECK_OK(octa_rays_load(rays, points, 1, pose));
    passes_of(rays, sites, 1, &passes);
    CHECK(passes == 0);
    CHECK_OK(octa_rays_load(rays, points, 2, pose));
    passes_of(rays, sites, 1, &passes);
    CHECK(passes == 1);
    octa_rays_free(rays);
}

static void test_against_every_ray(void) {
    const octa_grid grid = scene_grid();
    const double h = grid.half_edge_m;
    float *points, *intensity;
    double pose[12];
    octa_rays *rays;
    scene_points(9, N, &points, &intensity);
    scene_pose(3.3, -2.1, 0.7, pose);
    CHECK_OK(octa_rays_new(&grid, &rays));
    CHECK_OK(octa_rays_load(rays, points, N, pose));
    uint64_t total = 0;
    for (int32_t x = -30; x <= 50; x += 4)
        for (int32_t y = -40; y <= 40; y += 5)
            for (int32_t z = -5; z <= 5; z++) {
                const int odd = x & 1 || z & 1;
                const int32_t site[3] = {x + odd, 2 * (y / 2) + odd, 2 * (z / 2) + odd};
                uint32_t passes, low = 0, high = 0;
                passes_of(rays, site, 1, &passes);
                for (size_t i = 0; i < N; i++) {
                    double d[3], center[3];
                    for (int axis = 0; axis < 3; axis++) {
                        d[axis] = 0;
                        for (int k = 0; k < 3; k++)
                            d[axis] += pose[4 * axis + k] * (double)points[3 * i + (size_t)k] / h;
                        center[axis] = site[axis] - pose[4 * axis + 3] / h;
                    }
                    low += (uint32_t)crosses(center, d, -1e-3);
                    high += (uint32_t)crosses(center, d, 1e-3);
                }
                CHECK(low <= passes && passes <= high);
                total += passes;
            }
    CHECK(total > 1000);
    octa_rays_free(rays);
    free(points);
    free(intensity);
}

static void test_refusals(void) {
    const octa_grid grid = scene_grid();
    const float points[] = {8.0f, 0.02f, 0.04f};
    double pose[12];
    uint64_t ids[2];
    uint32_t passes[2] = {6, 6}, before[2];
    const int32_t sites[] = {0, 0, 0, 2, 0, 0};
    octa_rays *rays;
    CHECK_OK(octa_rays_new(&grid, &rays));
    scene_pose(0, 0, 0, pose);
    CHECK_OK(octa_rays_load(rays, points, 1, pose));
    passes_of(rays, sites, 2, before);
    CHECK(before[0] == 1);
    const struct {
        uint64_t flip;
        octa_error code;
    } bad[] = {{1, OCTA_E_PARITY},
               {1ull << 62, OCTA_E_ID},
               {1ull << 48, OCTA_E_DOMAIN},
               {1ull << 52, OCTA_E_DOMAIN},
               {1ull << 61, OCTA_E_DOMAIN}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_OK(octa_index64_encode(sites, 2, grid.frame, grid.tier, grid.lod, ids));
        ids[1] ^= bad[i].flip;
        CHECK_CODE(octa_rays_passes(rays, ids, 2, passes), bad[i].code);
    }
    CHECK(passes[0] == 6 && passes[1] == 6);
    CHECK_CODE(octa_rays_load(rays, points, OCTA_MAX_POINTS + 1, pose), OCTA_E_DOMAIN);
    scene_pose(0, -1e9, 0, pose);
    CHECK_CODE(octa_rays_load(rays, points, 1, pose), OCTA_E_RANGE);
    pose[7] = NAN;
    CHECK_CODE(octa_rays_load(rays, points, 1, pose), OCTA_E_POSE);
    passes_of(rays, sites, 2, passes);
    CHECK(memcmp(passes, before, sizeof passes) == 0);
    octa_rays_free(rays);
    octa_rays_free(NULL);
}

static void test_extremes(void) {
    const double half_edges[] = {0.001, 51.2, 1e6};
    const float points[] = {10000, -10000, 10000, 0, 0, -10000, 1e-30f, 0, 0, 1e-45f, 1e-45f, 0, 30, 30, 30};
    const int32_t sites[] = {0, 0, 0, 32767, 32767, 32767, -32768, -32768, -32768, 1, 1, -1};
    for (size_t i = 0; i < sizeof half_edges / sizeof *half_edges; i++) {
        octa_grid grid = scene_grid();
        octa_rays *rays;
        double pose[12], at = 32766 * half_edges[i];
        uint32_t passes[4];
        grid.half_edge_m = half_edges[i];
        CHECK_OK(octa_rays_new(&grid, &rays));
        for (int place = 0; place < 2; place++) {
            scene_pose(place * at, place * at, 0, pose);
            CHECK_OK(octa_rays_load(rays, points, 5, pose));
            passes_of(rays, sites, 4, passes);
            for (int k = 0; k < 4; k++)
                CHECK(passes[k] <= 5);
        }
        octa_rays_free(rays);
    }
}

void test_rays(void) {
    test_one_ray();
    test_behind();
    test_against_every_ray();
    test_refusals();
    test_extremes();
}
