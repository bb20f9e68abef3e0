/* Coarser levels: what adding up child by child gives, totals at the ends of their types, and passes. */
#include "scene.h"

#include <string.h>

/* A level with its own arrays. */
typedef struct {
    octa_cells cells;
    uint64_t *ids, *hits;
    int64_t *sums;
} level;

static level new_level(size_t n, uint8_t unit_lod) {
    level l = {.ids = scene_alloc(n * sizeof *l.ids),
               .hits = scene_alloc(n * sizeof *l.hits),
               .sums = scene_alloc(n * OCTA_SUMS * sizeof *l.sums)};
    l.cells = (octa_cells){n, l.ids, l.hits, l.sums, unit_lod};
    return l;
}

static void free_level(level *l) {
    free(l->ids);
    free(l->hits);
    free(l->sums);
}

static level level_of(const scene_record *record) {
    level l = new_level(record->record.cells, scene_grid().lod);
    size_t hit = 0;
    for (size_t i = 0; i < l.cells.cells; i++) {
        l.ids[i] = record->ids[i];
        l.hits[i] = record->hits[i];
        for (size_t k = 0; k < OCTA_SUMS; k++)
            l.sums[i * OCTA_SUMS + k] = record->hits[i] ? record->sums[hit * OCTA_SUMS + k] : 0;
        hit += record->hits[i] > 0;
    }
    return l;
}

static level coarsened(const level *fine, int32_t *rows) {
    level l = new_level(fine->cells.cells, fine->cells.unit_lod);
    CHECK_OK(octa_coarsen(&fine->cells, l.ids, l.hits, l.sums, rows, &l.cells.cells));
    return l;
}

static void test_adds_up(void) {
    static const int axes[6][2] = {{0, 0}, {1, 1}, {2, 2}, {0, 1}, {0, 2}, {1, 2}};
    scene_record record = scene_bin(3, 3000, 0);
    level fine = level_of(&record);
    for (int step = 1; step <= 3; step++) {
        const size_t n = fine.cells.cells;
        int32_t *rows = scene_alloc(n * sizeof *rows);
        level coarse = coarsened(&fine, rows);
        int64_t *left = scene_alloc(coarse.cells.cells * OCTA_SUMS * sizeof *left);
        memcpy(left, coarse.sums, coarse.cells.cells * OCTA_SUMS * sizeof *left);
        for (size_t i = 0; i < n; i++) {
            uint64_t parent;
            int32_t child[3], up[3];
            int64_t d[3], ones = (int64_t)fine.hits[i] * OCTA_FIXED_ONE;
            const int64_t *s = fine.sums + i * OCTA_SUMS;
            CHECK_OK(octa_index64_parent(fine.ids + i, 1, &parent));
            CHECK(coarse.ids[rows[i]] == parent);
            CHECK_OK(octa_index64_decode(fine.ids + i, 1, child, NULL, NULL, NULL));
            CHECK_OK(octa_index64_decode(&parent, 1, up, NULL, NULL, NULL));
            int64_t *rest = left + (size_t)rows[i] * OCTA_SUMS;
            for (int axis = 0; axis < 3; axis++) {
                d[axis] = (child[axis] - 2 * up[axis]) * (1 << (step - 1));
                rest[axis] -= s[axis] + d[axis] * ones;
            }
            for (int m = 0; m < 6; m++) {
                const int a = axes[m][0], b = axes[m][1];
                rest[3 + m] -= s[3 + m] + d[a] * s[b] + d[b] * s[a] + d[a] * d[b] * ones;
            }
            rest[9] -= s[9];
            rest[10] -= s[10];
            coarse.hits[rows[i]] -= fine.hits[i];
        }
        for (size_t i = 0; i < coarse.cells.cells; i++) {
            CHECK(coarse.hits[i] == 0 && (i == 0 || coarse.ids[i] > coarse.ids[i - 1]));
            for (size_t k = 0; k < OCTA_SUMS; k++)
                CHECK(left[i * OCTA_SUMS + k] == 0);
        }
        free_level(&coarse);
        coarse = coarsened(&fine, NULL);
        free(rows);
        free(left);
        free_level(&fine);
        fine = coarse;
    }
    free_level(&fine);
    scene_record_free(&record);
}

/* Two children of one cell, the second 2 half edges along x. */
static level two_children(uint8_t unit_lod) {
    const int32_t sites[6] = {0, 0, 0, 2, 0, 0};
    level l = new_level(2, unit_lod);
    CHECK_OK(octa_index64_encode(sites, 2, 3, 1, 7, l.ids));
    memset(l.hits, 0, 2 * sizeof *l.hits);
    memset(l.sums, 0, 2 * OCTA_SUMS * sizeof *l.sums);
    return l;
}

static void check_coarsen(const level *fine, octa_error code) {
    uint64_t ids[2] = {5, 5}, hits[2] = {5, 5};
    int64_t sums[2 * OCTA_SUMS] = {5};
    int32_t rows[2] = {5, 5};
    size_t cells = 5;
    CHECK_CODE(octa_coarsen(&fine->cells, ids, hits, sums, rows, &cells), code);
    if (code == OCTA_OK)
        CHECK(cells == 1 && rows[0] == 0 && rows[1] == 0);
    else
        CHECK(cells == 5 && ids[0] == 5 && hits[0] == 5 && sums[0] == 5 && rows[0] == 5);
}

static void test_ends_of_types(void) {
    level l = two_children(7);
    const uint64_t most = UINT64_MAX;
    l.hits[0] = most - 3;
    l.hits[1] = 3;
    check_coarsen(&l, OCTA_OK);
    l.hits[1] = 4;
    check_coarsen(&l, OCTA_E_DOMAIN);
    l.hits[0] = l.hits[1] = 0;
    for (size_t k = 0; k < OCTA_SUMS; k++) {
        /* The first child is at its parent's site, so its sums come as they are. */
        l.sums[k] = INT64_MAX;
        check_coarsen(&l, OCTA_OK);
        l.sums[OCTA_SUMS + k] = k == OCTA_SUM_X ? 0 : 1;
        l.hits[1] = k == OCTA_SUM_X;
        check_coarsen(&l, OCTA_E_DOMAIN);
        l.sums[k] = INT64_MIN;
        check_coarsen(&l, OCTA_OK);
        l.sums[k] = l.sums[OCTA_SUMS + k] = 0;
        l.hits[1] = 0;
    }
    /* 4 * 4096 * hits in xx at most 2^63 - 1, made up for by the other child. */
    l.hits[1] = 1ull << 49;
    check_coarsen(&l, OCTA_E_DOMAIN);
    l.sums[OCTA_SUM_XX] = -1;
    check_coarsen(&l, OCTA_OK);
    free_level(&l);
    l = two_children(15);
    l.hits[0] = l.hits[1] = most / 2;
    check_coarsen(&l, OCTA_E_DOMAIN);
    free_level(&l);
}

static void test_refusals(void) {
    level l = two_children(6);
    check_coarsen(&l, OCTA_E_DOMAIN);
    l.cells.unit_lod = 16;
    check_coarsen(&l, OCTA_E_DOMAIN);
    l.cells.unit_lod = 7;
    l.ids[1] ^= 1;
    check_coarsen(&l, OCTA_E_PARITY);
    l.ids[1] ^= 1 | 1ull << 62;
    check_coarsen(&l, OCTA_E_ID);
    l.ids[1] ^= 1ull << 62 | 1ull << 48;
    check_coarsen(&l, OCTA_E_DOMAIN);
    l.ids[1] = l.ids[0];
    check_coarsen(&l, OCTA_E_ORDER);
    l.cells.cells = 1;
    l.ids[0] &= ~(15ull << 48);
    check_coarsen(&l, OCTA_E_LOD);
    size_t cells = 5;
    l.cells.cells = 0;
    CHECK_OK(octa_coarsen(&l.cells, NULL, NULL, NULL, NULL, &cells));
    CHECK(cells == 0);
    free_level(&l);
}

/* A level of its own has its own passes; an ancestor at most those of its children, and each ray once. */
static void test_passes(void) {
    enum { N = 600 };
    const octa_grid grid = scene_grid();
    scene_record record = scene_bin(3, N, 0);
    level fine = level_of(&record), coarse = coarsened(&fine, NULL);
    const size_t n = fine.cells.cells, m = coarse.cells.cells;
    float *points, *intensity;
    double pose[12];
    octa_rays *rays;
    uint32_t *want = scene_alloc(n * sizeof *want), *got = scene_alloc(n * sizeof *got);
    scene_points(8, N, &points, &intensity);
    scene_pose(0, 0, 0, pose);
    CHECK_OK(octa_rays_new(&grid, &rays));
    CHECK_OK(octa_rays_coarse_passes(rays, coarse.ids, m, got));
    for (size_t i = 0; i < m; i++)
        CHECK(got[i] == 0);
    CHECK_OK(octa_rays_load(rays, points, N, pose));
    CHECK_OK(octa_rays_passes(rays, fine.ids, n, want));
    CHECK_OK(octa_rays_coarse_passes(rays, fine.ids, n, got));
    CHECK(memcmp(want, got, n * sizeof *want) == 0);
    CHECK_OK(octa_rays_coarse_passes(rays, coarse.ids, m, got));
    uint64_t total = 0;
    for (size_t i = 0; i < m; i++) {
        uint64_t children[OCTA_CHILDREN];
        uint32_t passes[OCTA_CHILDREN], sum = 0;
        CHECK_OK(octa_index64_children(coarse.ids + i, 1, children));
        CHECK_OK(octa_rays_passes(rays, children, OCTA_CHILDREN, passes));
        for (int child = 0; child < OCTA_CHILDREN; child++)
            sum += passes[child];
        CHECK(got[i] <= sum && got[i] <= N);
        total += got[i];
    }
    CHECK(total > 100);
    const uint64_t root = 2ull << 62 | 1ull << 60 | 3ull << 52;
    const struct {
        uint64_t id;
        octa_error code;
    } bad[] = {{root | 7ull << 48 | 1, OCTA_E_PARITY},
               {root | 1ull << 62 | 7ull << 48, OCTA_E_ID},
               {root | 4ull << 52 | 6ull << 48, OCTA_E_DOMAIN},
               {root | 8ull << 48, OCTA_E_LOD},
               {root, OCTA_E_LOD}};
    got[0] = 77;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_CODE(octa_rays_coarse_passes(rays, &bad[i].id, 1, got), bad[i].code);
    CHECK(got[0] == 77);
    octa_rays_free(rays);
    free(points);
    free(intensity);
    free(want);
    free(got);
    free_level(&fine);
    free_level(&coarse);
    scene_record_free(&record);
}

void test_coarse(void) {
    test_adds_up();
    test_ends_of_types();
    test_refusals();
    test_passes();
}
