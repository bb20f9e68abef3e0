/* Containers against a recount of the records that they should hold. */
#include "container_scene.h"

#include <string.h>

enum { RECORDS = 9 };

static void make_records(cell_record *records, const octa_container_options *options) {
    for (int r = 0; r < RECORDS; r++)
        records[r] = cell_record_of(options, (uint32_t)r, 1000 + 10 * r, (uint64_t)(r % 3), 0);
}

static octa_container *filled(const octa_container_options *options, const cell_record *records, int count) {
    octa_container *container;
    octa_container_counts counts;
    CHECK_OK(octa_container_new(options, &container));
    for (int r = 0; r < count; r++) {
        CHECK_OK(octa_container_add(container, &records[r].key, &records[r].rows, &counts));
        CHECK(counts.added == 1);
        container_check_valid(container);
    }
    return container;
}

/* Each level of a sum of records, by adding up every row about the ancestor's site. */
static void check_levels(const octa_container *container, const octa_container_options *options,
                         const cell_record *records, int first, int last) {
    for (uint8_t level = 0; level < options->levels; level++) {
        container_state s = container_state_of(container, options, level);
        uint64_t hits = 0, expected_hits = 0;
        int64_t intensity = 0, expected_intensity = 0, xx = 0;
        for (size_t i = 0; i < s.cells; i++) {
            CHECK(i == 0 || s.ids[i] > s.ids[i - 1]);
            hits += s.hits[i];
            intensity += s.sums[i * OCTA_SUMS + OCTA_SUM_INTENSITY];
            xx += s.sums[i * OCTA_SUMS + OCTA_SUM_XX];
        }
        int64_t expected_xx = 0;
        for (int r = first; r < last; r++)
            for (size_t i = 0; i < records[r].rows.cells; i++) {
                const int64_t *sums = records[r].sums + i * OCTA_SUMS;
                const int64_t d = cell_offset_x(records[r].ids[i], level);
                const int64_t n = (int64_t)records[r].hits[i] * OCTA_FIXED_ONE;
                expected_hits += records[r].hits[i];
                expected_intensity += sums[OCTA_SUM_INTENSITY];
                expected_xx += sums[OCTA_SUM_XX] + 2 * d * sums[OCTA_SUM_X] + d * d * n;
            }
        CHECK(hits == expected_hits && intensity == expected_intensity && xx == expected_xx);
        container_state_free(&s);
    }
}

/* Whatever order records come in, and wherever they are merged, the bits are the same; what is removed has
 * never been there. */
static void check_orders(octa_container_options options) {
    static const int orders[3][RECORDS] = {
        {8, 7, 6, 5, 4, 3, 2, 1, 0}, {4, 0, 8, 2, 6, 1, 5, 3, 7}, {1, 3, 5, 7, 0, 2, 4, 6, 8}};
    cell_record records[RECORDS];
    octa_container_counts counts;
    make_records(records, &options);
    octa_container *expected = filled(&options, records, RECORDS);
    check_levels(expected, &options, records, 0, RECORDS);
    for (int k = 0; k < 3; k++) {
        octa_container *parts[2], *merged;
        for (int p = 0; p < 2; p++)
            CHECK_OK(octa_container_new(&options, &parts[p]));
        CHECK_OK(octa_container_new(&options, &merged));
        for (int i = 0; i < RECORDS; i++) {
            const cell_record *r = &records[orders[k][i]];
            CHECK_OK(octa_container_add(parts[i % 2], &r->key, &r->rows, &counts));
        }
        CHECK_OK(octa_container_merge(merged, parts[k % 2], &counts));
        CHECK(counts.added == (options.keep ? octa_container_records(parts[k % 2]) : 1));
        CHECK_OK(octa_container_merge(merged, parts[1 - k % 2], &counts));
        container_check_equal(merged, expected, &options);
        container_check_valid(merged);
        if (options.keep) { /* what is there already changes nothing */
            CHECK_OK(octa_container_merge(merged, parts[0], &counts));
            CHECK(counts.known == octa_container_records(parts[0]) && counts.added == 0);
            container_check_equal(merged, expected, &options);
        }
        CHECK_OK(octa_container_unmerge(merged, parts[0], &counts));
        container_check_valid(merged);
        container_check_equal(merged, parts[1], &options);
        for (int p = 0; p < 2; p++)
            octa_container_free(parts[p]);
        octa_container_free(merged);
    }
    for (int r = RECORDS; r-- > 3;) {
        octa_container *fewer = filled(&options, records, r);
        CHECK_OK(octa_container_remove(expected, &records[r].key, &records[r].rows, &counts));
        CHECK(counts.removed == 1);
        container_check_valid(expected);
        container_check_equal(expected, fewer, &options);
        octa_container_free(fewer);
    }
    octa_container_free(expected);
    for (int r = 0; r < RECORDS; r++)
        cell_record_free(&records[r]);
}

static void test_orders(void) {
    octa_container_options options = container_scene_options();
    for (int keep = 0; keep < 2; keep++)
        for (int columns = 0; columns < 2 + keep; columns++)
            for (int dense = 0; dense < 2; dense++) {
                options.keep = (uint8_t)keep;
                options.columns = columns == 2 ? 4 : (uint32_t)columns; /* the first is a sum */
                options.dense = (uint8_t)dense;
                for (int axis = 0; axis < 3; axis++) {
                    options.origin[axis] = dense ? -16 : 0;
                    options.shape[axis] = dense ? 16 : 0;
                }
                check_orders(options);
            }
}

static void test_ageing(void) {
    octa_container_options options = container_scene_options();
    octa_container_counts counts;
    cell_record records[RECORDS];
    options.span_ns = 30;
    make_records(records, &options);
    octa_container *container = filled(&options, records, 6), *fresh = filled(&options, records, 0);
    CHECK(octa_container_records(container) == 3); /* 1050, 1040, 1030: 1020 is 30 old */
    for (int r = 3; r < 6; r++)
        CHECK_OK(octa_container_add(fresh, &records[r].key, &records[r].rows, &counts));
    container_check_equal(container, fresh, &options);
    CHECK_OK(octa_container_add(container, &records[2].key, &records[2].rows, &counts));
    CHECK(counts.late == 1 && counts.added == 0);
    CHECK_OK(octa_container_add(container, &records[5].key, &records[5].rows, &counts));
    CHECK(counts.known == 1 && counts.added == 0);
    CHECK_OK(octa_container_advance(container, 1059, &counts));
    CHECK(counts.expired == 0 && octa_container_records(container) == 3);
    CHECK_OK(octa_container_advance(container, 1060, &counts));
    CHECK(counts.expired == 1 && octa_container_records(container) == 2);
    CHECK_OK(octa_container_advance(container, 0, &counts));
    CHECK(counts.expired == 0);
    CHECK_CODE(octa_container_advance(container, -1, &counts), OCTA_E_DOMAIN);
    CHECK_CODE(octa_container_advance(container, INT64_MAX, &counts), OCTA_E_DOMAIN);
    CHECK_OK(octa_container_merge(fresh, container, &counts)); /* whose now is later */
    CHECK(counts.expired == 1 && counts.known == 2 && octa_container_records(fresh) == 2);
    container_check_equal(container, fresh, &options);
    CHECK_OK(octa_container_advance(container, 5000, &counts));
    CHECK(counts.expired == 2 && octa_container_cells(container, 0) == 0);
    container_check_valid(container);
    octa_container_free(container);
    octa_container_free(fresh);
    for (int r = 0; r < RECORDS; r++)
        cell_record_free(&records[r]);
}

/* The newest records that fit are kept, whoever came first. */
static void test_caps(void) {
    octa_container_options options = container_scene_options(), wide = options;
    octa_container_counts counts;
    cell_record records[RECORDS];
    make_records(records, &options);
    options.max_records = 3;
    octa_container *forward = filled(&options, records, RECORDS), *backward, *merged, *all;
    all = filled(&wide, records, RECORDS);
    CHECK_OK(octa_container_new(&options, &backward));
    CHECK_OK(octa_container_new(&options, &merged));
    uint64_t evicted = 0, late = 0;
    for (int r = RECORDS; r-- > 0;) {
        CHECK_OK(octa_container_add(backward, &records[r].key, &records[r].rows, &counts));
        evicted += counts.evicted;
        late += counts.late;
        container_check_valid(backward);
    }
    CHECK(evicted == 1 && late == 5); /* one came and had to go; after that, older ones are not taken */
    container_check_equal(forward, backward, &options);
    CHECK_OK(octa_container_merge(merged, all, &counts));
    CHECK(counts.added == RECORDS && counts.evicted == RECORDS - 3 && counts.rows > 0);
    container_check_equal(forward, merged, &options);
    CHECK_OK(octa_container_merge(merged, all, &counts));
    CHECK(counts.late == RECORDS - 3 && counts.known == 3);
    CHECK_OK(octa_container_merge(all, merged, &counts)); /* its limit comes with it */
    CHECK(counts.evicted == RECORDS - 3 && octa_container_records(all) == 3);
    container_check_equal(all, merged, &options);
    octa_container_free(forward);
    octa_container_free(backward);
    octa_container_free(merged);
    octa_container_free(all);

    options.max_records = 100;
    options.max_rows = (uint32_t)(records[7].rows.cells + records[7].rows.free_cells + records[8].rows.cells +
                                  records[8].rows.free_cells);
    forward = filled(&options, records, RECORDS);
    CHECK(octa_container_records(forward) >= 2 && octa_container_records(forward) < RECORDS);
    octa_container_free(forward);
    options.max_rows = 1;
    CHECK_OK(octa_container_new(&options, &forward));
    CHECK_CODE(octa_container_add(forward, &records[0].key, &records[0].rows, &counts), OCTA_E_CAPACITY);
    options.keep = 0;
    CHECK_OK(octa_container_new(&options, &backward));
    CHECK_CODE(octa_container_add(backward, &records[0].key, &records[0].rows, &counts), OCTA_E_CAPACITY);
    CHECK(octa_container_cells(backward, 0) == 0 && octa_container_cells(backward, 2) == 0);
    container_check_valid(backward);
    octa_container_free(forward);
    octa_container_free(backward);
    for (int r = 0; r < RECORDS; r++)
        cell_record_free(&records[r]);
}

/* An extent is where one looks, not what is known: wherever it was before, it shows the same. */
static void test_moving(void) {
    static const int32_t places[4][3] = {{-8, -8, -8}, {0, -4, -2}, {-300, 0, 0}, {-16, -16, -16}};
    octa_container_counts counts;
    cell_record records[RECORDS];
    octa_container_options options = container_scene_options();
    make_records(records, &options);
    for (int dense = 0; dense < 2; dense++) {
        options.dense = (uint8_t)dense;
        for (int axis = 0; axis < 3; axis++) {
            options.shape[axis] = 8u + (uint32_t)axis;
            options.origin[axis] = -2;
        }
        octa_container *container = filled(&options, records, 5);
        const int64_t *array, *after;
        size_t rows, lanes;
        if (dense)
            CHECK_OK(octa_container_array(container, &array, &rows, &lanes));
        for (int place = 0; place < 4; place++) {
            octa_container_options there = options;
            memcpy(there.origin, places[place], sizeof there.origin);
            octa_container *fresh = filled(&there, records, 5);
            CHECK_OK(octa_container_move(container, places[place]));
            container_check_valid(container);
            container_check_equal(container, fresh, &options);
            octa_container_free(fresh);
        }
        CHECK_OK(octa_container_move(container, places[3])); /* where it is */
        if (dense) {
            CHECK_OK(octa_container_array(container, &after, &rows, &lanes));
            CHECK(after == array && rows == 2u * 8 * 9 * 10);
        }
        CHECK_CODE(octa_container_move(container, (int32_t[]){1, 0, 0}), OCTA_E_PARITY);
        CHECK_CODE(octa_container_move(container, (int32_t[]){32760, 0, 0}), OCTA_E_RANGE);
        CHECK_CODE(octa_container_move(container, (int32_t[]){0, -32770, 0}), OCTA_E_RANGE);
        octa_container_free(container);
    }
    octa_container_options sum = options;
    sum.keep = 0;
    sum.columns = 1;
    octa_container *container;
    CHECK_OK(octa_container_new(&sum, &container));
    CHECK_CODE(octa_container_move(container, places[0]), OCTA_E_DOMAIN);
    CHECK_OK(octa_container_add(container, &records[0].key, &records[0].rows, &counts));
    CHECK(counts.outside > 0); /* the extent lies at one side */
    octa_container_free(container);
    octa_container_options whole = container_scene_options();
    CHECK_OK(octa_container_new(&whole, &container));
    CHECK_CODE(octa_container_move(container, places[0]), OCTA_E_DOMAIN);
    octa_container_free(container);
    for (int r = 0; r < RECORDS; r++)
        cell_record_free(&records[r]);
}

/* What an array shows is what a copy lists. */
static void test_array(void) {
    octa_container_options options = container_scene_options();
    cell_record record = cell_record_of(&options, 3, 10, 0, 0);
    octa_container_counts counts;
    const int64_t *values;
    size_t rows, lanes, found = 0;
    options.dense = 1;
    for (int axis = 0; axis < 3; axis++) {
        options.origin[axis] = -12;
        options.shape[axis] = 10u + (uint32_t)axis;
    }
    octa_container *container;
    CHECK_OK(octa_container_new(&options, &container));
    CHECK_OK(octa_container_add(container, &record.key, &record.rows, &counts));
    CHECK_OK(octa_container_array(container, &values, &rows, &lanes));
    container_state s = container_state_of(container, &options, 0);
    CHECK(rows == 2u * 10 * 11 * 12 && lanes >= 15);
    for (size_t i = 0; i < s.cells; i++) {
        int32_t site[3];
        CHECK_OK(octa_index64_decode(s.ids + i, 1, site, NULL, NULL, NULL));
        const size_t odd = (size_t)(site[0] & 1), x = (size_t)(site[0] + 12) / 2,
                     y = (size_t)(site[1] + 12) / 2, z = (size_t)(site[2] + 12) / 2;
        const int64_t *row = values + (((odd * 12 + z) * 11 + y) * 10 + x) * lanes;
        CHECK((uint64_t)row[0] == s.hits[i] && (uint64_t)row[1] == s.passes[i]);
        CHECK(memcmp(row + 4, s.sums + i * OCTA_SUMS, OCTA_SUMS * sizeof *row) == 0);
    }
    for (size_t row = 0; row < rows; row++)
        found += values[row * lanes] > 0;
    size_t hit = 0;
    for (size_t i = 0; i < s.cells; i++)
        hit += s.hits[i] > 0;
    CHECK(found == hit && hit > 0);
    container_state_free(&s);
    octa_container_free(container);
    options.dense = 0;
    CHECK_OK(octa_container_new(&options, &container));
    CHECK_CODE(octa_container_array(container, &values, &rows, &lanes), OCTA_E_DOMAIN);
    octa_container_free(container);
    cell_record_free(&record);
}

static void refuse_options(octa_container_options options, octa_error expected) {
    octa_container *container = NULL;
    CHECK_CODE(octa_container_new(&options, &container), expected);
    CHECK(container == NULL);
}

static void test_options(void) {
#define REFUSE(change, expected)                                                                             \
    do {                                                                                                     \
        octa_container_options options = container_scene_options();                                          \
        change;                                                                                              \
        refuse_options(options, expected);                                                                   \
    } while (0)
    REFUSE(options.grid.half_edge_m = 0, OCTA_E_DOMAIN);
    REFUSE(options.levels = 0, OCTA_E_DOMAIN);
    REFUSE(options.levels = OCTA_LEVELS + 1, OCTA_E_DOMAIN);
    REFUSE(options.grid.lod = 1, OCTA_E_DOMAIN);
    REFUSE(options.free_level = options.levels, OCTA_E_DOMAIN);
    REFUSE(options.span_ns = -1, OCTA_E_DOMAIN);
    REFUSE((options.keep = 0, options.span_ns = 5), OCTA_E_DOMAIN);
    REFUSE(options.max_records = 0, OCTA_E_DOMAIN);
    REFUSE(options.max_records = 1u << 21, OCTA_E_DOMAIN);
    REFUSE(options.max_rows = 0, OCTA_E_DOMAIN);
    REFUSE(options.max_rows = UINT32_MAX, OCTA_E_DOMAIN);
    REFUSE(options.columns = OCTA_MAX_COLUMNS + 1, OCTA_E_DOMAIN);
    REFUSE(options.widths[0] = 0, OCTA_E_DOMAIN);
    REFUSE(options.widths[1] = 300, OCTA_E_DOMAIN);
    REFUSE(options.rules[2] = OCTA_RULE_END, OCTA_E_DOMAIN);
    REFUSE(options.dense = 1, OCTA_E_DOMAIN);
    REFUSE(options.shape[0] = 4, OCTA_E_DOMAIN);
    REFUSE((options.shape[0] = options.shape[1] = options.shape[2] = 4, options.origin[1] = 3),
           OCTA_E_PARITY);
    REFUSE((options.shape[0] = options.shape[1] = options.shape[2] = 4, options.origin[1] = 32762),
           OCTA_E_RANGE);
    REFUSE((options.shape[0] = options.shape[1] = options.shape[2] = 4, options.origin[1] = -32770),
           OCTA_E_RANGE);
    REFUSE((options.shape[0] = options.shape[1] = options.shape[2] = 600, options.dense = 1,
            options.origin[0] = options.origin[1] = options.origin[2] = -600),
           OCTA_E_MEMORY);
#undef REFUSE
}

/* A container of one record, and another that is spoilt in one way: nothing changes. */
static void test_refusals(void) {
    octa_container_options options = container_scene_options();
    cell_record good = cell_record_of(&options, 1, 100, 7, 1);
    octa_container *container = filled(&options, &good, 1), *expected = filled(&options, &good, 1);
    octa_container_counts counts = {.added = 77};
#define REFUSE(change, expected_code)                                                                        \
    do {                                                                                                     \
        cell_record bad = cell_record_of(&options, 2, 200, 7, 1);                                            \
        change;                                                                                              \
        CHECK_CODE(octa_container_add(container, &bad.key, &bad.rows, &counts), expected_code);              \
        CHECK(counts.added == 77);                                                                           \
        container_check_valid(container);                                                                    \
        container_check_equal(container, expected, &options);                                                \
        cell_record_free(&bad);                                                                              \
    } while (0)
    REFUSE(bad.key.stamp_ns = -1, OCTA_E_DOMAIN);
    REFUSE(bad.key.stamp_ns = INT64_MAX, OCTA_E_DOMAIN);
    REFUSE(bad.rows.cells = (size_t)1 << 32, OCTA_E_DOMAIN);
    REFUSE(bad.rows.free_cells = (size_t)1 << 32, OCTA_E_DOMAIN);
    REFUSE(bad.ids[1] = bad.ids[0], OCTA_E_ORDER);
    REFUSE(bad.ids[1] ^= 1, OCTA_E_PARITY);
    REFUSE(bad.ids[1] &= UINT64_MAX >> 2, OCTA_E_ID);
    REFUSE(bad.ids[1] ^= 1ull << 52, OCTA_E_DOMAIN);
    REFUSE(bad.free_ids[1] = bad.free_ids[0], OCTA_E_ORDER);
    REFUSE(bad.free_ids[1] ^= 1ull << 48, OCTA_E_DOMAIN);
    REFUSE(bad.hits[0] = (1ull << 35) + 1, OCTA_E_DOMAIN);
    REFUSE((bad.hits[0] = bad.hits[1] = 1ull << 35), OCTA_E_DOMAIN);
    REFUSE(bad.passes[0] = UINT64_MAX, OCTA_E_DOMAIN);
    REFUSE(bad.free_passes[0] = UINT64_MAX, OCTA_E_DOMAIN);
    REFUSE(bad.free_misses[0] = UINT64_MAX, OCTA_E_DOMAIN);
    REFUSE((bad.hits[0] = 1, bad.sums[4] = 4097), OCTA_E_DOMAIN);
    REFUSE((bad.hits[0] = 1, bad.sums[4] = -4097), OCTA_E_DOMAIN);
    REFUSE(bad.values[0] = (1ll << 40) + 1, OCTA_E_DOMAIN);
    REFUSE(bad.values[0] = -(1ll << 40) - 1, OCTA_E_DOMAIN);
    REFUSE(bad.values[bad.rows.cells * options.widths[0]] = INT64_MIN, OCTA_E_DOMAIN); /* the least's */
    REFUSE(bad.key = good.key, OCTA_E_DOMAIN); /* says something else */
#undef REFUSE
    CHECK_OK(octa_container_remove(container, &(octa_record_key){5, 5, 5}, NULL, &counts));
    CHECK(counts.removed == 0);
    octa_container_free(container);
    octa_container_free(expected);
    cell_record_free(&good);
}

static void test_sums_are_not_overdrawn(void) {
    octa_container_options options = container_scene_options();
    octa_container_counts counts;
    options.keep = 0;
    cell_record one = cell_record_of(&options, 1, 100, 7, 1), two = cell_record_of(&options, 2, 100, 7, 1);
    octa_container *ordered = filled(&options, &one, 1);
    CHECK_CODE(octa_container_remove(ordered, &one.key, &one.rows, &counts), OCTA_E_DOMAIN);
    CHECK_CODE(octa_container_unmerge(ordered, ordered, &counts), OCTA_E_DOMAIN);
    octa_container_free(ordered);
    options.columns = 1;
    octa_container *container = filled(&options, &one, 1), *expected = filled(&options, &one, 1);
    CHECK_CODE(octa_container_remove(container, &two.key, &two.rows, &counts), OCTA_E_DOMAIN);
    CHECK_CODE(octa_container_remove(container, &two.key, NULL, &counts), OCTA_E_DOMAIN);
    two.ids[1] = two.ids[0];
    CHECK_CODE(octa_container_remove(container, &two.key, &two.rows, &counts), OCTA_E_ORDER);
    container_check_equal(container, expected, &options);
    CHECK_OK(octa_container_merge(container, container, &counts)); /* twice itself */
    CHECK_OK(octa_container_remove(container, &one.key, &one.rows, &counts));
    container_check_equal(container, expected, &options);
    CHECK_OK(octa_container_unmerge(container, expected, &counts));
    CHECK(octa_container_cells(container, 0) == 0 && octa_container_cells(container, 1) == 0);
    /* Totals too large to add at once, or at all. */
    for (int i = 0; i < 60 && octa_container_merge(expected, expected, &counts) == OCTA_OK; i++)
        container_check_valid(expected);
    CHECK_CODE(octa_container_merge(container, expected, &counts), OCTA_E_DOMAIN);
    CHECK_CODE(octa_container_unmerge(container, expected, &counts), OCTA_E_DOMAIN);
    container_check_valid(container);
    octa_container_free(container);
    octa_container_free(expected);
    cell_record_free(&one);
    cell_record_free(&two);
}

/* A total beyond 2^62 is refused, and everything that was added for it is gone again. */
static void test_large_totals(void) {
    octa_container_options options = container_scene_options();
    const octa_grid grid = options.grid;
    const uint64_t hits = 1ull << 35, passes = 0;
    const int32_t site[3] = {1, 1, 1};
    int64_t sums[OCTA_SUMS] = {0};
    uint64_t id;
    octa_container_counts counts;
    octa_container *container;
    options.columns = 0;
    options.levels = 7;
    options.max_records = 1 << 15;
    CHECK_OK(octa_index64_encode(site, 1, grid.frame, grid.tier, grid.lod, &id));
    for (int k = 0; k < OCTA_SUMS; k++)
        sums[k] = (int64_t)hits * OCTA_FIXED_ONE;
    const octa_rows rows = {.cells = 1, .ids = &id, .hits = &hits, .passes = &passes, .sums = sums};
    CHECK_OK(octa_container_new(&options, &container));
    octa_error error = OCTA_OK;
    int added = 0;
    for (; error == OCTA_OK && added < 1 << 15; added++) {
        const octa_record_key key = {added, 1, 0};
        error = octa_container_add(container, &key, &rows, &counts);
    }
    CHECK(error == OCTA_E_DOMAIN && octa_container_records(container) + 1 == (size_t)added);
    container_check_valid(container);
    octa_container_free(container);
}

static void test_kinds(void) {
    octa_container_options options = container_scene_options(), other = options;
    octa_container *a, *b;
    octa_container_counts counts = {.added = 77};
#define REFUSE(change)                                                                                       \
    do {                                                                                                     \
        other = options;                                                                                     \
        change;                                                                                              \
        CHECK_OK(octa_container_new(&options, &a));                                                          \
        CHECK_OK(octa_container_new(&other, &b));                                                            \
        CHECK_CODE(octa_container_merge(a, b, &counts), OCTA_E_DOMAIN);                                      \
        CHECK_CODE(octa_container_unmerge(a, b, &counts), OCTA_E_DOMAIN);                                    \
        CHECK(counts.added == 77);                                                                           \
        octa_container_free(a);                                                                              \
        octa_container_free(b);                                                                              \
    } while (0)
    REFUSE(other.grid.half_edge_m = 0.8);
    REFUSE(other.grid.frame = 4);
    REFUSE(other.grid.tier = 2);
    REFUSE(other.grid.lod = 6);
    REFUSE(other.grid.intensity_max = 255.0);
    REFUSE(other.levels = 2);
    REFUSE(other.free_level = 0);
    REFUSE(other.columns = 1);
    REFUSE(other.widths[1] = 3);
    REFUSE(other.rules[1] = OCTA_RULE_GREATEST);
    REFUSE(other.keep = 0);
#undef REFUSE
    cell_record one = cell_record_of(&options, 1, 100, 7, 1), two = cell_record_of(&options, 2, 100, 7, 1);
    a = filled(&options, &one, 1);
    b = filled(&options, &two, 1);
    CHECK_CODE(octa_container_merge(a, b, &counts), OCTA_E_DOMAIN); /* two records of one key */
    octa_record_key keys[1];
    CHECK_OK(octa_container_keys(a, 1, keys));
    CHECK(keys[0].stamp_ns == 100 && keys[0].source == 7 && keys[0].part == 1);
    CHECK_CODE(octa_container_keys(a, 0, keys), OCTA_E_CAPACITY);
    CHECK(octa_container_cells(a, 9) == 0);
    CHECK_CODE(octa_container_copy(a, 9, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL), OCTA_E_DOMAIN);
    CHECK_CODE(octa_container_copy(a, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL), OCTA_E_CAPACITY);
    CHECK_OK(octa_container_copy(a, 0, 10000, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    octa_container_free(a);
    octa_container_free(b);
    octa_container_free(NULL);
    cell_record_free(&one);
    cell_record_free(&two);
}

void test_container(void) {
    test_orders();
    test_ageing();
    test_caps();
    test_moving();
    test_array();
    test_options();
    test_refusals();
    test_sums_are_not_overdrawn();
    test_large_totals();
    test_kinds();
}
