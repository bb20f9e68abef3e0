/* The rolling window against a recount of the records that it should hold. */
#include "scene.h"

#include <string.h>

#define BIN 100000000
#define RECORDS 14

static const uint64_t *find_row(const octa_record *record, uint64_t id, size_t *hit_row) {
    *hit_row = 0;
    for (size_t i = 0; i < record->cells; i++) {
        if (record->ids[i] == id)
            return record->hits[i] ? record->ids + i : NULL;
        *hit_row += record->hits[i] > 0;
    }
    return NULL;
}

/* CHECK the window's hits and sums against records[first..last], of which those from window_first are in. */
static void check_against(const octa_window *window, const scene_record *records, int first, int window_first,
                          int last) {
    scene_check_valid(window);
    scene_state state = scene_state_of(window);
    CHECK(state.records == (size_t)(last - first + 1));
    size_t active = 0;
    for (size_t i = 0; i < state.cells; i++) {
        CHECK(i == 0 || state.ids[i] > state.ids[i - 1]);
        uint64_t hits = 0;
        int64_t sums[OCTA_SUMS] = {0};
        int retained = 0;
        for (int r = first; r <= last; r++) {
            size_t hit_row;
            const octa_record *record = &records[r].record;
            const uint64_t *at = find_row(record, state.ids[i], &hit_row);
            retained |= at != NULL;
            if (!at || r < window_first)
                continue;
            hits += record->hits[at - record->ids];
            for (int k = 0; k < OCTA_SUMS; k++)
                sums[k] += record->sums[hit_row * OCTA_SUMS + (size_t)k];
        }
        CHECK(retained && hits == state.hits[i]);
        CHECK(memcmp(sums, state.sums + i * OCTA_SUMS, sizeof sums) == 0);
        active += hits > 0;
    }
    CHECK(active == state.active);
    scene_state_free(&state);
}

static octa_window *filled(const scene_record *records, int count, octa_window_options options) {
    octa_window *window;
    uint64_t evicted = 9;
    CHECK_OK(octa_window_new(&options, &window));
    for (int i = 0; i < count; i++) {
        CHECK_OK(octa_window_push(window, &records[i].record, &evicted));
        CHECK(evicted == 0);
    }
    return window;
}

/* Records enter, leave the window, leave the memory; what remains is exact, and in the end nothing does. */
static void test_life(const scene_record *records) {
    octa_window_options options = scene_options();
    options.bins = 5;
    options.keep_bins = 4;
    octa_window *window;
    uint64_t evicted;
    CHECK_OK(octa_window_new(&options, &window));
    scene_check_valid(window);
    for (int i = 0; i < RECORDS; i++) {
        CHECK_OK(octa_window_push(window, &records[i].record, &evicted));
        check_against(window, records, i > 8 ? i - 8 : 0, i > 4 ? i - 4 : 0, i);
    }
    const int64_t last = records[RECORDS - 1].record.stamp_ns;
    CHECK_OK(octa_window_advance(window, last - 5 * BIN)); /* an earlier stamp changes nothing */
    check_against(window, records, RECORDS - 9, RECORDS - 5, RECORDS - 1);
    CHECK_OK(octa_window_advance(window, last + BIN / 2 - 1)); /* age 0 still: half rounds up */
    check_against(window, records, RECORDS - 9, RECORDS - 5, RECORDS - 1);
    CHECK_OK(octa_window_advance(window, last + BIN / 2));
    check_against(window, records, RECORDS - 8, RECORDS - 4, RECORDS - 1);
    CHECK_OK(octa_window_advance(window, last + 5 * BIN));
    CHECK(octa_window_active(window) == 0 && octa_window_cells(window) > 0);
    CHECK_OK(octa_window_advance(window, last + 9 * BIN));
    CHECK(octa_window_cells(window) == 0 && octa_window_records(window) == 0);
    scene_check_valid(window);
    octa_window_free(window);
}

/* The same hits and sums whatever order the records came in. */
static void test_any_order(const scene_record *records) {
    octa_window *a = filled(records, 8, scene_options()), *b;
    octa_window_options options = scene_options();
    uint64_t evicted;
    CHECK_OK(octa_window_new(&options, &b));
    static const int order[8] = {3, 7, 0, 5, 1, 6, 2, 4};
    for (int i = 0; i < 8; i++)
        CHECK_OK(octa_window_push(b, &records[order[i]].record, &evicted));
    scene_state left = scene_state_of(a), right = scene_state_of(b);
    CHECK(left.cells == right.cells && left.active == right.active);
    CHECK(memcmp(left.ids, right.ids, left.cells * sizeof *left.ids) == 0);
    CHECK(memcmp(left.hits, right.hits, left.cells * sizeof *left.hits) == 0);
    CHECK(memcmp(left.sums, right.sums, left.cells * OCTA_SUMS * sizeof *left.sums) == 0);
    scene_state_free(&left);
    scene_state_free(&right);
    octa_window_free(a);
    octa_window_free(b);
}

/* A cell that is seen through counts passes; one that nothing hit is not kept. */
static void test_passes(void) {
    const octa_window_options options = scene_options();
    const octa_grid *g = &options.grid;
    const int32_t sites[9] = {0, 0, 0, 2, 0, 0, 4, 0, 0};
    const uint32_t hits[3] = {2, 0, 1}, passes[3] = {0, 5, 3}, none[3] = {0}, seen[3] = {4, 7, 1};
    int32_t sums[2 * OCTA_SUMS] = {0};
    uint64_t ids[3], evicted, got_ids[2], got[2];
    octa_window *window;
    CHECK_OK(octa_index64_encode(sites, 3, g->frame, g->tier, g->lod, ids));
    CHECK_OK(octa_window_new(&options, &window));
    octa_record record = {10 * (int64_t)BIN, 3, ids, hits, passes, 2, sums};
    CHECK_OK(octa_window_push(window, &record, &evicted));
    record = (octa_record){11 * (int64_t)BIN, 3, ids, none, seen, 0, NULL};
    CHECK_OK(octa_window_push(window, &record, &evicted));
    record = (octa_record){11 * (int64_t)BIN, 0, NULL, NULL, NULL, 0, NULL};
    CHECK_OK(octa_window_push(window, &record, &evicted));
    CHECK(octa_window_records(window) == 3 && octa_window_cells(window) == 2);
    CHECK_OK(octa_window_export(window, 2, got_ids, NULL, got, NULL));
    CHECK(got_ids[0] == ids[0] && got_ids[1] == ids[2] && got[0] == 4 && got[1] == 4);
    CHECK_CODE(octa_window_export(window, 1, got_ids, NULL, NULL, NULL), OCTA_E_CAPACITY);
    scene_check_valid(window);
    octa_window_free(window);
    octa_window_free(NULL);
}

static void test_caps(const scene_record *records) {
    octa_window_options options = scene_options();
    octa_window *window;
    uint64_t evicted;
    options.max_records = 3;
    CHECK_OK(octa_window_new(&options, &window));
    for (int i = 0; i < 7; i++) {
        CHECK_OK(octa_window_push(window, &records[i].record, &evicted));
        CHECK(i < 3 ? evicted == 0 : evicted > 0);
        check_against(window, records, i > 2 ? i - 2 : 0, i > 2 ? i - 2 : 0, i);
    }
    octa_window_free(window);
    options = scene_options();
    options.max_cells = (uint32_t)(records[0].record.cells + records[1].record.cells / 2);
    CHECK_OK(octa_window_new(&options, &window));
    for (int i = 0; i < 7; i++) {
        CHECK_OK(octa_window_push(window, &records[i].record, &evicted));
        CHECK(octa_window_cells(window) <= options.max_cells && octa_window_records(window) >= 1);
        scene_check_valid(window);
    }
    octa_window_free(window);
}

static void check_push(octa_window *window, const octa_record *record, octa_error code) {
    scene_state before = scene_state_of(window);
    uint64_t evicted = 42;
    CHECK_CODE(octa_window_push(window, record, &evicted), code);
    CHECK(evicted == 42);
    scene_check_unchanged(window, &before);
    scene_state_free(&before);
}

static void test_refusals(const scene_record *records) {
    octa_window_options options = scene_options();
    options.max_cells = (uint32_t)records[1].record.cells + 400;
    octa_window *window = filled(records, 1, options);
    const octa_record good = records[1].record;
    octa_record bad = good;
    uint64_t *ids = scene_alloc(good.cells * sizeof *ids);
    bad.ids = ids;
    const struct {
        uint64_t flip;
        octa_error code;
    } flips[] = {{1, OCTA_E_PARITY},
                 {1ull << 62, OCTA_E_ID},
                 {1ull << 48, OCTA_E_DOMAIN},
                 {1ull << 52, OCTA_E_DOMAIN}};
    for (size_t i = 0; i < sizeof flips / sizeof *flips; i++) {
        memcpy(ids, good.ids, good.cells * sizeof *ids);
        ids[good.cells - 1] ^= flips[i].flip;
        check_push(window, &bad, flips[i].code);
    }
    memcpy(ids, good.ids, good.cells * sizeof *ids);
    ids[1] = ids[0];
    check_push(window, &bad, OCTA_E_ORDER);
    bad = good;
    bad.hit_cells--;
    check_push(window, &bad, OCTA_E_DOMAIN);
    int32_t *sums = scene_alloc(good.hit_cells * OCTA_SUMS * sizeof *sums);
    for (int sign = -1; sign <= 1; sign += 2) { /* no value is beyond 1, so no sum is beyond the hits */
        memcpy(sums, good.sums, good.hit_cells * OCTA_SUMS * sizeof *sums);
        sums[OCTA_SUMS + 5] = sign * ((int32_t)good.hits[1] * OCTA_FIXED_ONE + 1);
        bad = good;
        bad.sums = sums;
        check_push(window, &bad, OCTA_E_DOMAIN);
    }
    free(sums);
    for (int i = 0; i < 3; i++) {
        static const int64_t stamps[] = {-1, INT64_MIN, INT64_MAX};
        bad = good;
        bad.stamp_ns = stamps[i];
        check_push(window, &bad, OCTA_E_DOMAIN);
        CHECK_CODE(octa_window_advance(window, stamps[i]), OCTA_E_DOMAIN);
    }
    CHECK_OK(octa_window_advance(window, good.stamp_ns + 30 * (int64_t)BIN));
    check_push(window, &good, OCTA_E_ORDER);
    options.max_cells = (uint32_t)good.cells - 1;
    octa_window *small;
    CHECK_OK(octa_window_new(&options, &small));
    check_push(small, &good, OCTA_E_CAPACITY);
    octa_window_free(small);
    octa_window_free(window);
    free(ids);
}

static void check_options(octa_window_options options, octa_error code) {
    octa_window *window = NULL;
    CHECK_CODE(octa_window_new(&options, &window), code);
    CHECK(!window);
}

static void test_options(void) {
    const int64_t bins[] = {0, -1, INT64_MIN};
    octa_window_options options = scene_options();
    for (int i = 0; i < 3; i++) {
        options.bin_ns = bins[i];
        check_options(options, OCTA_E_DOMAIN);
    }
    options = scene_options();
    options.bins = 0;
    check_options(options, OCTA_E_DOMAIN);
    options.bins = UINT32_MAX;
    check_options(options, OCTA_E_DOMAIN);
    options = scene_options();
    options.max_records = 0;
    check_options(options, OCTA_E_DOMAIN);
    options = scene_options();
    options.max_cells = 0;
    check_options(options, OCTA_E_DOMAIN);
}

/* The longest time bin that is accepted must not overflow the arithmetic of ages. */
static void test_long_bins(const scene_record *records) {
    for (int shift = 40; shift < 63; shift++) {
        octa_window_options options = scene_options();
        octa_window *window;
        uint64_t evicted;
        options.bin_ns = shift == 62 ? INT64_MAX : 1ll << shift;
        options.bins = 64;
        if (octa_window_new(&options, &window) != OCTA_OK)
            continue;
        octa_record record = records[0].record;
        CHECK_OK(octa_window_push(window, &record, &evicted));
        record.stamp_ns = INT64_MAX / 4;
        CHECK_OK(octa_window_push(window, &record, &evicted));
        scene_check_valid(window);
        octa_window_free(window);
    }
}

void test_window(void) {
    scene_record records[RECORDS];
    for (int i = 0; i < RECORDS; i++)
        records[i] = scene_bin((uint32_t)i, 300, 1000000000ll + i * (int64_t)BIN);
    test_life(records);
    test_any_order(records);
    test_passes();
    test_caps(records);
    test_refusals(records);
    test_options();
    test_long_bins(records);
    for (int i = 0; i < RECORDS; i++)
        scene_record_free(&records[i]);
}
