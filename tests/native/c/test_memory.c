/* Every call that allocates is repeated with its first, second, third... allocation failing until it
 * succeeds. After each failure the handle holds what it held, works, and nothing has leaked. */
#ifdef OCTA_TEST_ALLOC
#include "failing.h"
#include "scene.h"

#include <string.h>

#define BIN 100000000
#define live_blocks failing_live_blocks

static void test_new(void) {
    const octa_grid grid = scene_grid();
    const octa_window_options options = scene_options();
    octa_binner *binner = NULL;
    octa_rays *rays = NULL;
    octa_window *window = NULL;
    long n;
    for (n = 0; FAILS_AT(n, octa_binner_new(&grid, &binner)); n++)
        CHECK(!binner && live_blocks == 0);
    CHECK(n > 0);
    octa_binner_free(binner);
    for (n = 0; FAILS_AT(n, octa_rays_new(&grid, &rays)); n++)
        CHECK(!rays && live_blocks == 0);
    CHECK(n > 0);
    octa_rays_free(rays);
    for (n = 0; FAILS_AT(n, octa_window_new(&options, &window)); n++)
        CHECK(!window && live_blocks == 0);
    CHECK(n > 0);
    octa_window_free(window);
    CHECK(live_blocks == 0);
}

typedef struct {
    size_t cells;
    uint64_t *ids;
    uint32_t *hits;
    int32_t *sums, *rows;
} bins;

static bins bins_of(octa_binner *binner, size_t cells, size_t points) {
    bins b = {cells, scene_alloc(cells * sizeof *b.ids), scene_alloc(cells * sizeof *b.hits),
              scene_alloc(cells * OCTA_SUMS * sizeof *b.sums), scene_alloc(points * sizeof *b.rows)};
    CHECK_OK(octa_binner_copy(binner, cells, b.ids, b.hits, b.sums));
    CHECK_OK(octa_binner_point_rows(binner, points, b.rows));
    return b;
}

static void free_bins(bins *b) {
    free(b->ids);
    free(b->hits);
    free(b->sums);
    free(b->rows);
}

static void check_bins(octa_binner *binner, const bins *expected, size_t points) {
    bins b = bins_of(binner, expected->cells, points);
    CHECK(memcmp(b.ids, expected->ids, b.cells * sizeof *b.ids) == 0);
    CHECK(memcmp(b.hits, expected->hits, b.cells * sizeof *b.hits) == 0);
    CHECK(memcmp(b.sums, expected->sums, b.cells * OCTA_SUMS * sizeof *b.sums) == 0);
    CHECK(memcmp(b.rows, expected->rows, points * sizeof *b.rows) == 0);
    free_bins(&b);
}

static void test_binner_run(void) {
    enum { FEW = 200, MANY = 4000 };
    const octa_grid grid = scene_grid();
    float *points, *intensity;
    double pose[12];
    scene_points(4, MANY, &points, &intensity);
    scene_pose(0, 0, 0, pose);
    int failed = 1;
    for (long n = 0; failed; n++) {
        octa_binner *binner;
        octa_bin_counts counts = {0}, few_counts;
        size_t few, many = 77;
        CHECK_OK(octa_binner_new(&grid, &binner));
        CHECK_OK(octa_binner_run(binner, points, intensity, FEW, pose, &few_counts, &few));
        bins before = bins_of(binner, few, FEW);
        failed = FAILS_AT(n, octa_binner_run(binner, points, intensity, MANY, pose, &counts, &many));
        CHECK(failed || n > 0);
        if (failed) {
            CHECK(many == 77 && counts.binned == 0 && counts.rays == 0);
            check_bins(binner, &before, FEW); /* the earlier result is still there */
            CHECK_OK(octa_binner_run(binner, points, intensity, MANY, pose, &counts, &many));
        }
        CHECK(counts.binned > FEW && many > few);
        CHECK_OK(octa_binner_run(binner, points, intensity, FEW, pose, &few_counts, &few));
        check_bins(binner, &before, FEW);
        free_bins(&before);
        octa_binner_free(binner);
        CHECK(live_blocks == 0);
    }
    free(points);
    free(intensity);
}

static void test_binner_point_rows(void) {
    enum { N = 300 };
    const octa_grid grid = scene_grid();
    float *points, *intensity;
    double pose[12];
    octa_binner *binner;
    octa_bin_counts counts;
    size_t cells;
    int32_t rows[N];
    memset(rows, 0x55, sizeof rows);
    scene_points(4, N, &points, &intensity);
    scene_pose(0, 0, 0, pose);
    CHECK_OK(octa_binner_new(&grid, &binner));
    CHECK_OK(octa_binner_run(binner, points, intensity, N, pose, &counts, &cells));
    bins expected = bins_of(binner, cells, N);
    for (long n = 0; FAILS_AT(n, octa_binner_point_rows(binner, N, rows)); n++) {
        for (int i = 0; i < N; i++)
            CHECK(rows[i] == 0x55555555);
        check_bins(binner, &expected, N);
    }
    CHECK(memcmp(rows, expected.rows, sizeof rows) == 0);
    free_bins(&expected);
    octa_binner_free(binner);
    CHECK(live_blocks == 0);
    free(points);
    free(intensity);
}

static void test_rays_load(void) {
    enum { FEW = 100, MANY = 3000 };
    const octa_grid grid = scene_grid();
    float *points, *intensity;
    double pose[12];
    scene_points(4, MANY, &points, &intensity);
    scene_pose(0, 0, 0, pose);
    scene_record cells = scene_bin(4, 500, BIN);
    const size_t m = cells.record.cells;
    uint32_t *few = scene_alloc(m * sizeof *few), *now = scene_alloc(m * sizeof *now);
    int failed = 1;
    for (long n = 0; failed; n++) {
        octa_rays *rays;
        CHECK_OK(octa_rays_new(&grid, &rays));
        CHECK_OK(octa_rays_load(rays, points, FEW, pose));
        CHECK_OK(octa_rays_passes(rays, cells.ids, m, few));
        failed = FAILS_AT(n, octa_rays_load(rays, points, MANY, pose));
        CHECK(failed || n > 0);
        CHECK_OK(octa_rays_passes(rays, cells.ids, m, now));
        CHECK(failed == (memcmp(few, now, m * sizeof *few) == 0));
        CHECK_OK(octa_rays_load(rays, points, MANY, pose));
        CHECK_OK(octa_rays_load(rays, points, FEW, pose));
        CHECK_OK(octa_rays_passes(rays, cells.ids, m, now));
        CHECK(memcmp(few, now, m * sizeof *few) == 0);
        octa_rays_free(rays);
        CHECK(live_blocks == 0);
    }
    free(few);
    free(now);
    free(points);
    free(intensity);
    scene_record_free(&cells);
}

static void test_rays_coarse_passes(const scene_record *cells) {
    enum { N = 500 };
    const octa_grid grid = scene_grid();
    const size_t m = cells->record.cells;
    float *points, *intensity;
    double pose[12];
    octa_rays *rays;
    uint32_t *passes = scene_alloc(m * sizeof *passes), *expected = scene_alloc(m * sizeof *expected);
    scene_points(4, N, &points, &intensity);
    scene_pose(0, 0, 0, pose);
    CHECK_OK(octa_rays_new(&grid, &rays));
    CHECK_OK(octa_rays_load(rays, points, N, pose));
    CHECK_OK(octa_rays_passes(rays, cells->ids, m, expected));
    memset(passes, 0x55, m * sizeof *passes);
    long n;
    for (n = 0; FAILS_AT(n, octa_rays_coarse_passes(rays, cells->ids, m, passes)); n++)
        CHECK(passes[0] == 0x55555555);
    CHECK(n > 0 && memcmp(passes, expected, m * sizeof *passes) == 0);
    octa_rays_free(rays);
    CHECK(live_blocks == 0);
    free(passes);
    free(expected);
    free(points);
    free(intensity);
}

static void test_cell_tables(const scene_record *record) {
    const size_t m = record->record.cells;
    uint64_t *hits = scene_alloc(m * sizeof *hits), *ids = scene_alloc(m * sizeof *ids);
    int64_t *sums = scene_alloc(m * OCTA_SUMS * sizeof *sums);
    int32_t *rows = scene_alloc(m * OCTA_NEIGHBORS * sizeof *rows);
    size_t parents = 42;
    for (size_t i = 0; i < m; i++)
        hits[i] = record->hits[i];
    memset(sums, 0, m * OCTA_SUMS * sizeof *sums);
    const octa_cells fine = {m, record->ids, hits, sums, scene_grid().lod};
    long n;
    for (n = 0; FAILS_AT(n, octa_neighbor_table(record->ids, m, rows)); n++)
        CHECK(live_blocks == 0);
    CHECK(n > 0 && live_blocks == 0);
    memset(ids, 0x55, m * sizeof *ids);
    for (n = 0; FAILS_AT(n, octa_coarsen(&fine, ids, hits, sums, NULL, &parents)); n++)
        CHECK(live_blocks == 0 && parents == 42 && ids[0] == 0x5555555555555555ull);
    CHECK(n > 0 && parents < m && live_blocks == 0);
    free(hits);
    free(ids);
    free(sums);
    free(rows);
}

static void test_shells(void) {
    const int32_t site[3] = {0, 0, 0};
    const octa_galactic128_fields fields = {0, 0, 0, 0, 0};
    uint64_t index64, route64, galactic128[2], out[2 * OCTA_NEIGHBORS] = {0};
    CHECK_OK(octa_index64_encode(site, 1, 0, 0, 7, &index64));
    CHECK_OK(octa_route64_encode(site, 1, 0, &route64));
    CHECK_OK(octa_galactic128_encode(site, 1, &fields, galactic128));
    CHECK(FAILS_AT(0, octa_index64_shells(&index64, 1, 1, 1, out)));
    CHECK(FAILS_AT(0, octa_route64_shells(&route64, 1, 1, 1, out)));
    CHECK(FAILS_AT(0, octa_galactic128_shells(galactic128, 1, 1, 1, out)));
    CHECK(out[0] == 0 && live_blocks == 0);
    CHECK(!FAILS_AT(1, octa_index64_shells(&index64, 1, 1, 1, out)));
    CHECK(!FAILS_AT(1, octa_route64_shells(&route64, 1, 1, 1, out)));
    CHECK(!FAILS_AT(1, octa_galactic128_shells(galactic128, 1, 1, 1, out)));
    CHECK(out[0] != 0 && live_blocks == 0);
}

static void test_cover(void) {
    const octa_grid grid = scene_grid();
    const double few[4] = {0, 0, 0, 1}, many[8] = {0, 0, 0, 4, 1, 1, 1, 4};
    octa_cover *cover = NULL;
    size_t cells = 0, kept, row;
    CHECK(FAILS_AT(0, octa_cover_new(&grid, &cover)));
    CHECK(!cover && live_blocks == 0);
    CHECK_OK(octa_cover_new(&grid, &cover));
    CHECK_OK(octa_cover_run(cover, OCTA_SPHERE, few, 1, OCTA_INTERSECTS, 1, 1000000, &cells, &row));
    kept = cells;
    const long held = live_blocks;
    uint64_t offsets[2], *ids = scene_alloc(kept * sizeof *ids), *again = scene_alloc(kept * sizeof *again);
    CHECK_OK(octa_cover_copy(cover, kept, offsets, ids, NULL));
    long n;
    for (n = 0; FAILS_AT(n, octa_cover_run(cover, OCTA_SPHERE, many, 2, 0, 1, 1000000, &cells, &row)); n++) {
        CHECK(cells == kept && live_blocks == held);
        CHECK_OK(octa_cover_copy(cover, kept, offsets, again, NULL)); /* the earlier result is still there */
        CHECK(memcmp(ids, again, kept * sizeof *ids) == 0);
    }
    CHECK(n > 3 && cells > kept);
    octa_cover_free(cover);
    CHECK(live_blocks == 0);
    free(ids);
    free(again);
}

/* A window that holds count small records, so that the next push needs more of everything. */
static octa_window *filled(const scene_record *records, int count) {
    const octa_window_options options = scene_options();
    octa_window *window;
    uint64_t evicted;
    CHECK_OK(octa_window_new(&options, &window));
    for (int i = 0; i < count; i++)
        CHECK_OK(octa_window_push(window, &records[i].record, &evicted));
    return window;
}

static void test_window_push(const scene_record *records, int held, const scene_record *big) {
    octa_window *reference = filled(records, held);
    uint64_t evicted;
    CHECK_OK(octa_window_push(reference, &big->record, &evicted));
    scene_state expected = scene_state_of(reference);
    octa_window_free(reference);
    int failed = 1;
    for (long n = 0; failed; n++) {
        octa_window *window = filled(records, held);
        scene_state before = scene_state_of(window);
        evicted = 42;
        failed = FAILS_AT(n, octa_window_push(window, &big->record, &evicted));
        CHECK(failed || n > 0);
        if (failed) {
            CHECK(evicted == 42);
            scene_check_unchanged(window, &before);
            CHECK_OK(octa_window_push(window, &big->record, &evicted));
        }
        scene_check_unchanged(window, &expected);
        CHECK(!FAILS_AT(0, octa_window_advance(window, big->record.stamp_ns + 50 * (int64_t)BIN)));
        CHECK(octa_window_cells(window) == 0);
        scene_check_valid(window);
        scene_state_free(&before);
        octa_window_free(window);
        CHECK(live_blocks == 0);
    }
    scene_state_free(&expected);
}

static void test_window_export(const scene_record *records) {
    octa_window *window = filled(records, 3);
    scene_state before = scene_state_of(window);
    uint64_t *ids = scene_alloc(before.cells * sizeof *ids);
    memset(ids, 0x55, before.cells * sizeof *ids);
    for (long n = 0; FAILS_AT(n, octa_window_export(window, before.cells, ids, NULL, NULL, NULL)); n++) {
        CHECK(ids[0] == 0x5555555555555555ull);
        scene_check_unchanged(window, &before);
    }
    CHECK(memcmp(ids, before.ids, before.cells * sizeof *ids) == 0);
    free(ids);
    scene_state_free(&before);
    octa_window_free(window);
    CHECK(live_blocks == 0);
}

static void test_window_features(const scene_record *records) {
    octa_window *window = filled(records, 5);
    int16_t *beams;
    const octa_view view = scene_view(200, &beams);
    scene_state before = scene_state_of(window);
    const size_t m = octa_window_active(window),
                 bytes = m * octa_features_count(scene_options().bins) * sizeof(float);
    uint64_t *ids = scene_alloc(m * sizeof *ids);
    float *x = scene_alloc(bytes), *expected = scene_alloc(bytes);
    int32_t *neighbors = scene_alloc(m * OCTA_NEIGHBORS * sizeof *neighbors);
    uint8_t *flags = scene_alloc(m);
    CHECK_OK(octa_window_features(window, &view, m, ids, expected, neighbors, flags));
    memset(x, 0x55, bytes);
    memset(flags, 0x55, m);
    long n;
    for (n = 0; FAILS_AT(n, octa_window_features(window, &view, m, ids, x, neighbors, flags)); n++) {
        for (size_t i = 0; i < bytes; i++)
            CHECK(((const unsigned char *)x)[i] == 0x55);
        CHECK(flags[0] == 0x55);
        scene_check_unchanged(window, &before);
    }
    CHECK(n > 0 && memcmp(x, expected, bytes) == 0);
    scene_state_free(&before);
    octa_window_free(window);
    CHECK(live_blocks == 0);
    free(ids);
    free(x);
    free(expected);
    free(neighbors);
    free(flags);
    free(beams);
}

void test_memory(void) {
    enum { RECORDS = 8 };
    CHECK(live_blocks == 0); /* the tests before this one freed everything */
    scene_record records[RECORDS], big = scene_bin(99, 6000, 2000000000ll);
    for (int i = 0; i < RECORDS; i++)
        records[i] = scene_bin((uint32_t)i, 200, 1000000000ll + i * (int64_t)BIN);
    test_new();
    test_binner_run();
    test_binner_point_rows();
    test_rays_load();
    test_rays_coarse_passes(&records[0]);
    test_cell_tables(&records[0]);
    test_shells();
    test_cover();
    test_window_push(records, 0, &big);
    test_window_push(records, 3, &big);
    test_window_push(records, RECORDS, &big);
    test_window_push(records, 2, &records[3]);
    test_window_export(records);
    test_window_features(records);
    test_container_memory();
    for (int i = 0; i < RECORDS; i++)
        scene_record_free(&records[i]);
    scene_record_free(&big);
    CHECK(live_blocks == 0);
    if (getenv("OCTA_FAILED_SITES"))
        failing_write_sites(getenv("OCTA_FAILED_SITES"));
}
#endif
