/* Containers, free cells and searches with each of their allocations failing in turn. After each failure they
 * hold what they held, work, and nothing has leaked. */
#ifdef OCTA_TEST_ALLOC
#include "container_scene.h"
#include "failing.h"

#include <string.h>

enum { RECORDS = 6 };

/* A container that holds the first records, of which the next one makes it drop some. */
static octa_container *filled(const octa_container_options *options, const cell_record *records, int count) {
    octa_container *container;
    octa_container_counts counts;
    CHECK_OK(octa_container_new(options, &container));
    for (int r = 0; r < count; r++)
        CHECK_OK(octa_container_add(container, &records[r].key, &records[r].rows, &counts));
    return container;
}

/* What is tried on a container with another one at its side. */
typedef octa_error change(octa_container *container, const octa_container *other, const cell_record *record,
                          octa_container_counts *counts);

static octa_error try_add(octa_container *container, const octa_container *other, const cell_record *record,
                          octa_container_counts *counts) {
    (void)other;
    return octa_container_add(container, &record->key, &record->rows, counts);
}

static octa_error try_remove(octa_container *container, const octa_container *other,
                             const cell_record *record, octa_container_counts *counts) {
    (void)other;
    record -= 2;
    return octa_container_remove(container, &record->key, &record->rows, counts);
}

static octa_error try_merge(octa_container *container, const octa_container *other, const cell_record *record,
                            octa_container_counts *counts) {
    (void)record;
    return octa_container_merge(container, other, counts);
}

static octa_error try_unmerge(octa_container *container, const octa_container *other,
                              const cell_record *record, octa_container_counts *counts) {
    (void)record;
    return octa_container_unmerge(container, other, counts);
}

static octa_error try_advance(octa_container *container, const octa_container *other,
                              const cell_record *record, octa_container_counts *counts) {
    (void)other;
    return octa_container_advance(container, record->key.stamp_ns + 20, counts);
}

static octa_error try_move(octa_container *container, const octa_container *other, const cell_record *record,
                           octa_container_counts *counts) {
    const int32_t origin[3] = {-10, -10, -12};
    (void)other;
    (void)record;
    counts->added = 0; /* as a success does */
    return octa_container_move(container, origin);
}

static void check_change(const octa_container_options *options, const cell_record *records, change *change,
                         int with_other, int allocates) {
    octa_container *other = filled(options, records + (with_other ? 1 : 0), 2);
    octa_container *expected = filled(options, records, 3);
    octa_container_counts counts;
    CHECK_OK(change(expected, other, &records[4], &counts));
    int failed = 1;
    long n = 0;
    for (; failed; n++) {
        octa_container *container = filled(options, records, 3), *before = filled(options, records, 3);
        counts.added = 77;
        const long blocks = failing_live_blocks;
        failed = FAILS_AT(n, change(container, other, &records[4], &counts));
        if (failed) {
            CHECK(failing_live_blocks >= blocks); /* a table may have grown, nothing else */
            container_check_valid(container);
            container_check_equal(container, before, options);
            CHECK_OK(change(container, other, &records[4], &counts));
        }
        container_check_valid(container);
        container_check_equal(container, expected, options);
        octa_container_free(container);
        octa_container_free(before);
        CHECK(failing_live_blocks < blocks);
    }
    CHECK(n > allocates);
    octa_container_free(other);
    octa_container_free(expected);
    CHECK(failing_live_blocks == 0);
}

static void test_changes(octa_container_options options) {
    cell_record records[RECORDS];
    for (int r = 0; r < RECORDS; r++)
        records[r] = cell_record_of(&options, (uint32_t)r + 40, 1000 + 10 * r, 3, 0);
    check_change(&options, records, try_add, 0, 1);
    check_change(&options, records, try_merge, 1, 1);
    check_change(&options, records, try_remove, 0, options.keep ? -1 : 1);
    check_change(&options, records, try_unmerge, 0, 1);
    if (options.keep) {
        check_change(&options, records, try_advance, 0, -1);
        if (options.shape[0])
            check_change(&options, records, try_move, 0, 1);
    }
    for (int r = 0; r < RECORDS; r++)
        cell_record_free(&records[r]);
}

/* The first record, for which a container makes room in every table. */
static void test_first(const octa_container_options *options) {
    cell_record record = cell_record_of(options, 40, 1000, 3, 0);
    octa_container *container = filled(options, NULL, 0);
    octa_container_counts counts;
    long n;
    for (n = 0; FAILS_AT(n, octa_container_add(container, &record.key, &record.rows, &counts)); n++)
        CHECK(octa_container_records(container) == 0 && octa_container_cells(container, 0) == 0);
    CHECK(n > 2 && octa_container_cells(container, 0) > 0);
    container_check_valid(container);
    octa_container_free(container);
    cell_record_free(&record);
    CHECK(failing_live_blocks == 0);
}

static void test_all_kinds(void) {
    octa_container_options options = container_scene_options();
    options.span_ns = 35;
    options.max_records = 3;
    test_first(&options);
    test_changes(options);
    options.columns = 1;
    test_changes(options);
    for (int dense = 0; dense < 2; dense++) {
        options.dense = (uint8_t)dense;
        for (int axis = 0; axis < 3; axis++) {
            options.origin[axis] = -8;
            options.shape[axis] = 8;
        }
        test_changes(options);
    }
    options.keep = 0;
    options.span_ns = 0;
    test_changes(options);
}

static void test_new(void) {
    octa_container_options options = container_scene_options();
    octa_container *container = NULL;
    long n;
    for (n = 0; FAILS_AT(n, octa_container_new(&options, &container)); n++)
        CHECK(!container && failing_live_blocks == 0);
    CHECK(n == 1);
    octa_container_free(container);
    options.dense = 1;
    for (int axis = 0; axis < 3; axis++)
        options.shape[axis] = 2;
    container = NULL;
    for (n = 0; FAILS_AT(n, octa_container_new(&options, &container)); n++)
        CHECK(!container && failing_live_blocks == 0);
    CHECK(n == 3);
    octa_container_free(container);
    CHECK(failing_live_blocks == 0);
}

static void test_copy(void) {
    octa_container_options options = container_scene_options();
    cell_record record = cell_record_of(&options, 5, 1000, 3, 0);
    octa_container *container = filled(&options, &record, 1);
    uint64_t ids[100];
    long n;
    ids[0] = 77;
    for (n = 0; FAILS_AT(n, octa_container_copy(container, 0, 100, ids, NULL, NULL, NULL, NULL, NULL, NULL));
         n++)
        CHECK(ids[0] == 77);
    CHECK(n == 1 && ids[0] != 77);
    octa_container_free(container);
    cell_record_free(&record);
    CHECK(failing_live_blocks == 0);
}

static void test_free_cells(void) {
    enum { N = 3000 };
    const octa_grid grid = scene_grid();
    float *points, *intensity;
    double pose[12];
    size_t count = 77, few;
    octa_free_cells *finder = NULL;
    long n;
    scene_points(4, N, &points, &intensity);
    scene_pose(0, 0, 0, pose);
    for (n = 0; FAILS_AT(n, octa_free_cells_new(&grid, 1, &finder)); n++)
        CHECK(!finder && failing_live_blocks == 0);
    CHECK(n == 1);
    CHECK_OK(octa_free_cells_run(finder, points, 20, NULL, 0, pose, 50.0, &few));
    uint64_t *ids = scene_alloc(few * sizeof *ids), *again = scene_alloc(few * sizeof *again);
    uint32_t *passes = scene_alloc(few * sizeof *passes), *misses = scene_alloc(few * sizeof *misses);
    CHECK_OK(octa_free_cells_copy(finder, few, ids, passes, misses));
    for (n = 0; FAILS_AT(n, octa_free_cells_run(finder, points, N, NULL, 0, pose, 50.0, &count)); n++) {
        CHECK(count == 77);
        CHECK_OK(octa_free_cells_copy(finder, few, again, passes, misses)); /* the earlier result */
        CHECK(memcmp(ids, again, few * sizeof *ids) == 0);
    }
    CHECK(n > 5 && count > few);
    octa_free_cells_free(finder);
    CHECK(failing_live_blocks == 0);
    free(ids);
    free(again);
    free(passes);
    free(misses);
    free(points);
    free(intensity);
}

static void test_search_memory(void) {
    scene_record record = scene_bin(3, 400, 1000);
    const double queries[3] = {1, 1, 1};
    const octa_search search = {record.ids, record.record.cells, queries, 1, 9.0, 0};
    uint64_t starts[2] = {77, 77};
    int32_t rows[400];
    float *x = scene_alloc(record.record.cells * sizeof *x), pooled[3] = {77, 77, 77};
    uint32_t counts[1] = {77};
    long n;
    memset(x, 0, record.record.cells * sizeof *x);
    for (n = 0; FAILS_AT(n, octa_search_count(&search, starts)); n++)
        CHECK(starts[0] == 77 && failing_live_blocks == 0);
    CHECK(n == 4);
    for (n = 0; FAILS_AT(n, octa_search_rows(&search, 400, rows)); n++)
        CHECK(failing_live_blocks == 0);
    CHECK(n == 4);
    for (n = 0; FAILS_AT(n, octa_search_pool(&search, x, 1, counts, pooled)); n++)
        CHECK(counts[0] == 77 && pooled[0] == 77 && failing_live_blocks == 0);
    CHECK(n == 4 && failing_live_blocks == 0);
    free(x);
    scene_record_free(&record);
}

void test_container_memory(void) {
    CHECK(failing_live_blocks == 0);
    test_new();
    test_all_kinds();
    test_copy();
    test_free_cells();
    test_search_memory();
}
#endif
