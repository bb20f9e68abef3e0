/* Features: names, rows, neighbours, and the same bits whatever order the records came in. */
#include "scene.h"

#include <math.h>
#include <string.h>

#define BIN 100000000
#define RECORDS 6

typedef struct {
    size_t cells, width;
    uint64_t *ids;
    float *x;
    int32_t *neighbors;
    uint8_t *before;
} table;

#define BEAMS 500

static table new_table(const octa_window *window, uint32_t bins) {
    table t = {.cells = octa_window_active(window), .width = octa_features_count(bins)};
    t.ids = scene_alloc(t.cells * sizeof *t.ids);
    t.x = scene_alloc(t.cells * t.width * sizeof *t.x);
    t.neighbors = scene_alloc(t.cells * OCTA_NEIGHBORS * sizeof *t.neighbors);
    t.before = scene_alloc(t.cells);
    return t;
}

static void free_table(table *t) {
    free(t->ids);
    free(t->x);
    free(t->neighbors);
    free(t->before);
}

static octa_error fill(const octa_window *window, const octa_view *view, size_t capacity, table *t) {
    return octa_window_features(window, view, capacity, t->ids, t->x, t->neighbors, t->before);
}

static void test_names(void) {
    static const uint32_t bins[] = {1, 10, 64};
    for (int b = 0; b < 3; b++) {
        size_t count = octa_features_count(bins[b]);
        char (*names)[64] = scene_alloc(count * sizeof *names);
        for (size_t i = 0; i < count; i++) {
            CHECK_OK(octa_features_name(bins[b], i, names[i], sizeof names[i]));
            size_t length = strlen(names[i]);
            CHECK(length > 0);
            for (size_t k = 0; k < i; k++)
                CHECK(strcmp(names[i], names[k]) != 0);
            char *tight = scene_alloc(length + 1);
            memset(tight, '?', length + 1);
            CHECK_CODE(octa_features_name(bins[b], i, tight, length), OCTA_E_CAPACITY);
            CHECK_CODE(octa_features_name(bins[b], i, tight, 0), OCTA_E_CAPACITY);
            CHECK(tight[0] == '?' && tight[length] == '?');
            CHECK_OK(octa_features_name(bins[b], i, tight, length + 1));
            CHECK(strcmp(tight, names[i]) == 0);
            free(tight);
        }
        CHECK_CODE(octa_features_name(bins[b], count, names[0], sizeof names[0]), OCTA_E_DOMAIN);
        CHECK_CODE(octa_features_name(bins[b], SIZE_MAX, names[0], sizeof names[0]), OCTA_E_DOMAIN);
        free(names);
    }
}

static void check_neighbors(const table *t) {
    size_t present = 0;
    for (size_t i = 0; i < t->cells; i++) {
        int32_t site[3], around[OCTA_NEIGHBORS * 3];
        CHECK_OK(octa_index64_decode(&t->ids[i], 1, site, NULL, NULL, NULL));
        CHECK_OK(octa_lattice_neighbors(site, 1, around));
        for (int k = 0; k < OCTA_NEIGHBORS; k++) {
            int32_t row = t->neighbors[i * OCTA_NEIGHBORS + (size_t)k];
            CHECK(row >= 0 && (size_t)row <= t->cells);
            uint64_t id;
            const octa_grid g = scene_grid();
            CHECK_OK(octa_index64_encode(around + 3 * k, 1, g.frame, g.tier, g.lod, &id));
            int found = 0;
            for (size_t j = 0; j < t->cells && !found; j++)
                found = t->ids[j] == id;
            CHECK(found == ((size_t)row < t->cells));
            CHECK(!found || t->ids[row] == id);
            present += (size_t)found;
        }
    }
    CHECK(present > t->cells);
}

static octa_window *filled(const scene_record *records, const int *order) {
    const octa_window_options options = scene_options();
    octa_window *window;
    uint64_t evicted;
    CHECK_OK(octa_window_new(&options, &window));
    for (int i = 0; i < RECORDS; i++)
        CHECK_OK(octa_window_push(window, &records[order[i]].record, &evicted));
    return window;
}

static void test_table(const scene_record *records) {
    static const int forward[RECORDS] = {0, 1, 2, 3, 4, 5};
    octa_window *window = filled(records, forward);
    int16_t *beams;
    const octa_view view = scene_view(BEAMS, &beams);
    table t = new_table(window, scene_options().bins);
    CHECK(t.cells > 100);
    CHECK_OK(fill(window, &view, t.cells, &t));
    size_t newest = 0;
    for (size_t i = 0; i < t.cells; i++) {
        CHECK(i == 0 || t.ids[i] > t.ids[i - 1]);
        CHECK(t.before[i] <= 2);
        newest += t.before[i] == 2;
    }
    CHECK(newest == records[RECORDS - 1].record.cells);
    for (size_t i = 0; i < t.cells * t.width; i++)
        CHECK(isfinite(t.x[i]));
    check_neighbors(&t);
    table again = new_table(window, scene_options().bins);
    CHECK_OK(fill(window, &view, again.cells, &again));
    CHECK(memcmp(t.x, again.x, t.cells * t.width * sizeof *t.x) == 0);
    free(beams);
    free_table(&t);
    free_table(&again);
    octa_window_free(window);
}

static void test_refusals(const scene_record *records) {
    static const int forward[RECORDS] = {0, 1, 2, 3, 4, 5};
    octa_window *window = filled(records, forward);
    int16_t *beams;
    const octa_view good = scene_view(BEAMS, &beams);
    table t = new_table(window, scene_options().bins);
    memset(t.x, 0x55, t.cells * t.width * sizeof *t.x);
    CHECK_CODE(fill(window, &good, t.cells - 1, &t), OCTA_E_CAPACITY);
    octa_view bad = good;
    bad.pose[0] = 2.0;
    CHECK_CODE(fill(window, &bad, t.cells, &t), OCTA_E_POSE);
    bad = good;
    bad.forecast_pose[3] = NAN;
    CHECK_CODE(fill(window, &bad, t.cells, &t), OCTA_E_POSE);
    bad = good;
    bad.speed_mps = INFINITY;
    CHECK_CODE(fill(window, &bad, t.cells, &t), OCTA_E_DOMAIN);
    bad = good;
    bad.yaw_rate_rps = NAN;
    CHECK_CODE(fill(window, &bad, t.cells, &t), OCTA_E_DOMAIN);
    static const double weights[] = {-1e-9, 1.001e6, NAN, INFINITY};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        bad = good;
        bad.beam_weight = weights[i];
        CHECK_CODE(fill(window, &bad, t.cells, &t), OCTA_E_DOMAIN);
    }
    bad = good;
    bad.beam_count = OCTA_MAX_POINTS + 1;
    CHECK_CODE(fill(window, &bad, t.cells, &t), OCTA_E_DOMAIN);
    bad.beam_count = SIZE_MAX;
    CHECK_CODE(fill(window, &bad, t.cells, &t), OCTA_E_DOMAIN);
    for (size_t i = 0; i < t.cells * t.width * sizeof *t.x; i++)
        CHECK(((const unsigned char *)t.x)[i] == 0x55);
    scene_check_valid(window);
    free(beams);
    free_table(&t);
    octa_window_free(window);
}

static void test_empty(void) {
    const octa_window_options options = scene_options();
    int16_t *beams;
    const octa_view view = scene_view(BEAMS, &beams);
    octa_window *window;
    CHECK_OK(octa_window_new(&options, &window));
    CHECK(octa_window_active(window) == 0);
    CHECK_OK(octa_window_features(window, &view, 0, NULL, NULL, NULL, NULL));
    free(beams);
    octa_window_free(window);
}

/* Cells at the corners of the map have neighbours and columns beyond it. */
static void test_corners(void) {
    const octa_window_options options = scene_options();
    const octa_grid *g = &options.grid;
    const int32_t sites[] = {-32768, -32768, -32768, 32767, 32767, 32767, -32767, 32767, -32767};
    const uint32_t hits[] = {1, UINT32_MAX, 3}, passes[] = {UINT32_MAX, 0, 1};
    int32_t sums[3 * OCTA_SUMS];
    uint64_t ids[3], evicted;
    octa_window *window;
    int16_t *beams;
    const octa_view view = scene_view(BEAMS, &beams);
    CHECK_OK(octa_index64_encode(sites, 3, g->frame, g->tier, g->lod, ids));
    uint64_t keep = ids[1];
    ids[1] = ids[2] < keep ? ids[2] : keep;
    ids[2] = ids[2] < keep ? keep : ids[2];
    const int32_t most[] = {OCTA_FIXED_ONE, INT32_MAX, 3 * OCTA_FIXED_ONE}; /* a sum is at most its hits */
    for (int i = 0; i < 3 * OCTA_SUMS; i++)
        sums[i] = i % 2 ? most[i / OCTA_SUMS] : -most[i / OCTA_SUMS];
    CHECK_OK(octa_window_new(&options, &window));
    const octa_record record = {BIN, 3, ids, hits, passes, 3, sums};
    for (int i = 0; i < 3; i++)
        CHECK_OK(octa_window_push(window, &record, &evicted));
    table t = new_table(window, options.bins);
    CHECK_OK(fill(window, &view, t.cells, &t));
    for (size_t i = 0; i < t.cells * t.width; i++)
        CHECK(isfinite(t.x[i]));
    for (int i = 0; i < 3 * OCTA_NEIGHBORS; i++)
        CHECK(t.neighbors[i] == 3);
    free(beams);
    free_table(&t);
    octa_window_free(window);
}

/* What does not fit a float32 is refused, since features are finite. */
static void test_far_views(const scene_record *records) {
    static const int forward[RECORDS] = {0, 1, 2, 3, 4, 5};
    octa_window *window = filled(records, forward);
    table t = new_table(window, scene_options().bins);
    for (int field = 0; field < 5; field++) {
        int16_t *beams;
        octa_view view = scene_view(0, &beams);
        double *fields[] = {&view.speed_mps, &view.yaw_rate_rps, &view.pose[3], &view.forecast_pose[11],
                            &view.beam_weight};
        *fields[field] = 1e300;
        free(beams); /* there are none to read */
        if (fill(window, &view, t.cells, &t) != OCTA_OK)
            continue;
        for (size_t i = 0; i < t.cells * t.width; i++)
            CHECK(isfinite(t.x[i]));
    }
    free_table(&t);
    octa_window_free(window);
}

static float column_sum(const table *t, size_t column) {
    float sum = 0;
    for (size_t i = 0; i < t->cells; i++)
        sum += t->x[i * t->width + column];
    return sum;
}

/* Place of a named column. */
static size_t column_of(const char *wanted) {
    const uint32_t bins = scene_options().bins;
    for (size_t i = 0; i < octa_features_count(bins); i++) {
        char name[64];
        CHECK_OK(octa_features_name(bins, i, name, sizeof name));
        if (strcmp(name, wanted) == 0)
            return i;
    }
    CHECK(!"a column of that name");
    return 0;
}

/* More whole beams in one direction than 32 bits of fixed point hold. */
static void test_many_casts(const scene_record *records) {
    enum { MANY = 70000 };
    static const int forward[RECORDS] = {0, 1, 2, 3, 4, 5};
    octa_window *window = filled(records, forward);
    table t = new_table(window, scene_options().bins);
    int16_t *scene, *beams = scene_alloc(3 * MANY * sizeof *beams);
    octa_view view = scene_view(1, &scene);
    for (size_t i = 0; i < MANY; i++)
        memcpy(beams + 3 * i, scene, 3 * sizeof *beams);
    view.beams = beams;
    view.beam_count = MANY;
    view.beam_weight = 1.0;
    memcpy(view.forecast_pose, view.pose, sizeof view.pose);
    CHECK_OK(fill(window, &view, t.cells, &t));
    float most = 0;
    for (size_t i = 0; i < t.cells; i++)
        most = fmaxf(most, t.x[i * t.width + column_of("cast_reach")]);
    CHECK(fabsf(most - log1pf(MANY)) < 1e-4f);
    free(beams);
    free(scene);
    free_table(&t);
    octa_window_free(window);
}

/* Directions and poses at the ends of what their types hold; the beams of a view are read, never past. */
static void test_casts(const scene_record *records) {
    static const int forward[RECORDS] = {0, 1, 2, 3, 4, 5};
    static const int16_t ends[] = {INT16_MIN, -1, 0, 1, INT16_MAX};
    /* In the scene, at a corner of the map, and twice off it. */
    static const double places[][3] = {{0, 0, 0}, {13000, -13000, 13106}, {13107.3, 0, 0}, {-1e9, 0, 0}};
    octa_window *window = filled(records, forward);
    table t = new_table(window, scene_options().bins);
    int16_t *scene, *beams = scene_alloc(375 * sizeof *beams);
    for (int i = 0; i < 125; i++) {
        beams[3 * i] = ends[i % 5];
        beams[3 * i + 1] = ends[i / 5 % 5];
        beams[3 * i + 2] = ends[i / 25];
    }
    octa_view view = scene_view(0, &scene);
    CHECK_OK(fill(window, &view, t.cells, &t));
    CHECK(column_sum(&t, column_of("cast_reached")) == 0);
    view.beams = beams;
    view.beam_count = 125;
    view.beam_weight = 1e6;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        scene_pose(places[i][0], places[i][1], places[i][2], view.forecast_pose);
        CHECK_OK(fill(window, &view, t.cells, &t));
        for (size_t k = 0; k < t.cells * t.width; k++)
            CHECK(isfinite(t.x[k]));
        float reached = column_sum(&t, column_of("cast_reached"));
        CHECK(i != 0 || reached > 0);
        CHECK(i < 2 || reached == 0);
    }
    free(beams);
    free(scene);
    free_table(&t);
    octa_window_free(window);
}

void test_features(void) {
    scene_record records[RECORDS];
    for (int i = 0; i < RECORDS; i++)
        records[i] = scene_bin((uint32_t)i, 300, 1000000000ll + i * (int64_t)BIN);
    test_names();
    test_table(records);
    test_refusals(records);
    test_far_views(records);
    test_casts(records);
    test_many_casts(records);
    test_empty();
    test_corners();
    for (int i = 0; i < RECORDS; i++)
        scene_record_free(&records[i]);
}
