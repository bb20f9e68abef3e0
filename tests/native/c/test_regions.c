/* Cells of regions of every kind, at the ends of the map, and solids cut by any planes. */
#include "check.h"
#include "solid.h"

#include <math.h>
#include <string.h>

#define CELLS 100000
#define PI 3.14159265358979323846

static octa_grid half_metre(void) {
    return (octa_grid){.half_edge_m = 0.5, .lod = 7, .range_max_m = 40, .intensity_max = 1};
}

static octa_cover *new_cover(void) {
    const octa_grid grid = half_metre();
    octa_cover *cover = NULL;
    CHECK_OK(octa_cover_new(&grid, &cover));
    return cover;
}

static const double sphere[4] = {0.3, -0.2, 0.1, 1.7};
static const double box[6] = {-1, -0.5, 0.25, 1.5, 2, 0.75};
static const double oriented_box[15] = {0.8, -0.6, 0, 1, 0.6, 0.8, 0, 2, 0, 0, 1, 3, 1.5, 0.5, 0.7};
static const double capsule[7] = {-1, 0, 0.5, 2, 1, -1, 0.8};
static const double frustum[16] = {0.8, -0.6, 0, 1, 0.6, 0.8, 0, 2, 0, 0, 1, 3, 0.5, 0.4, 0.5, 3};

static const struct {
    const double *values;
    double volume;
} regions[OCTA_REGIONS] = {
    {sphere, 4 * PI / 3 * 1.7 * 1.7 * 1.7},
    {box, 2.5 * 2.5 * 0.5},
    {oriented_box, 8 * 1.5 * 0.5 * 0.7},
    {capsule, PI * 0.8 * 0.8 * (4 * 0.8 / 3 + 3.5)}, /* sqrt(9 + 1 + 2.25) */
    {frustum, 4 * 0.5 * 0.4 * (27 - 0.125) / 3},
};

/* Buffers exactly as long as they must be. */
static double total_volume(const octa_cover *cover, size_t cells, size_t rows) {
    uint64_t *offsets = malloc((rows + 1) * sizeof *offsets), *ids = malloc(cells * sizeof *ids + 1);
    double *coverage = malloc(cells * sizeof *coverage + 1), sum = 0;
    CHECK(offsets && ids && coverage);
    CHECK_OK(octa_cover_copy(cover, cells, offsets, ids, coverage));
    CHECK(offsets[0] == 0 && offsets[rows] == cells);
    for (size_t i = 0; i < cells; i++)
        sum += coverage[i] * OCTA_CELL_VOLUME / 8;
    for (size_t row = 0; row < rows; row++)
        for (size_t i = (size_t)offsets[row] + 1; i < offsets[row + 1]; i++)
            CHECK(ids[i] > ids[i - 1] && ids[i] >> 48 == 0x8007);
    free(offsets);
    free(ids);
    free(coverage);
    return sum;
}

static void test_every_kind(octa_cover *cover) {
    for (uint32_t kind = 0; kind < OCTA_REGIONS; kind++) {
        const size_t values = octa_region_values(kind);
        size_t cells, centers, row;
        double *two = malloc(2 * values * sizeof *two);
        CHECK(two);
        memcpy(two, regions[kind].values, values * sizeof *two);
        memcpy(two + values, regions[kind].values, values * sizeof *two);
        CHECK_OK(octa_cover_run(cover, kind, two, 2, OCTA_CENTER_IN, 0, CELLS, &centers, &row));
        CHECK_CODE(octa_cover_copy(cover, centers - 1, NULL, NULL, NULL), OCTA_E_CAPACITY);
        CHECK_OK(octa_cover_run(cover, kind, two, 2, OCTA_INTERSECTS, 1, CELLS, &cells, &row));
        CHECK(centers > 0 && cells > centers && cells % 2 == 0 && row == 2);
        CHECK(fabs(total_volume(cover, cells, 2) - 2 * regions[kind].volume) < 1e-9);
        CHECK_CODE(octa_cover_run(cover, kind, two, 2, OCTA_INTERSECTS, 1, cells - 1, &cells, &row),
                   OCTA_E_CAPACITY);
        CHECK(row == 1);
        CHECK(fabs(total_volume(cover, cells, 2) - 2 * regions[kind].volume) < 1e-9); /* the earlier result */
        for (size_t i = 0; i < values; i++) {
            const double keep = two[values + i], bad[] = {NAN, INFINITY, -INFINITY};
            for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
                two[values + i] = bad[k];
                CHECK_CODE(octa_cover_run(cover, kind, two, 2, 0, 0, CELLS, &centers, &row), OCTA_E_DOMAIN);
                CHECK(row == 1);
            }
            two[values + i] = 1e300;
            CHECK(octa_cover_run(cover, kind, two, 2, 0, 0, CELLS, &centers, &row) != OCTA_OK);
            two[values + i] = keep;
        }
        free(two);
    }
    CHECK(octa_region_values(OCTA_REGIONS) == 0);
}

static void test_domains(octa_cover *cover) {
    double v[16];
    size_t cells = 9, row = 9;
    const struct {
        uint32_t kind;
        int place;
        double value;
        octa_error error;
    } cases[] = {
        {OCTA_SPHERE, 3, -1, OCTA_E_DOMAIN},
        {OCTA_SPHERE, 0, 16384, OCTA_E_RANGE},
        {OCTA_BOX, 0, 2, OCTA_E_DOMAIN},
        {OCTA_BOX, 3, 16384, OCTA_E_RANGE},
        {OCTA_ORIENTED_BOX, 14, -1, OCTA_E_DOMAIN},
        {OCTA_ORIENTED_BOX, 0, 0.9, OCTA_E_POSE},
        {OCTA_ORIENTED_BOX, 3, -16385, OCTA_E_RANGE},
        {OCTA_CAPSULE, 6, -1, OCTA_E_DOMAIN},
        {OCTA_CAPSULE, 4, 1e9, OCTA_E_RANGE},
        {OCTA_FRUSTUM, 12, 0, OCTA_E_DOMAIN},
        {OCTA_FRUSTUM, 14, 3, OCTA_E_DOMAIN},
        {OCTA_FRUSTUM, 14, -1, OCTA_E_DOMAIN},
        {OCTA_FRUSTUM, 15, 1e9, OCTA_E_RANGE},
        {OCTA_FRUSTUM, 0, -0.8, OCTA_E_POSE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(v, regions[cases[i].kind].values, octa_region_values(cases[i].kind) * sizeof *v);
        v[cases[i].place] = cases[i].value;
        CHECK_CODE(octa_cover_run(cover, cases[i].kind, v, 1, OCTA_INTERSECTS, 0, CELLS, &cells, &row),
                   cases[i].error);
        CHECK(cells == 9 && row == 0);
    }
    CHECK_CODE(octa_cover_run(cover, OCTA_REGIONS, v, 1, 0, 0, CELLS, &cells, &row), OCTA_E_DOMAIN);
    CHECK_CODE(octa_cover_run(cover, OCTA_BOX, v, 1, 2, 0, CELLS, &cells, &row), OCTA_E_DOMAIN);
    CHECK_CODE(octa_cover_run(cover, OCTA_BOX, v, 1, 0, 0, OCTA_COVER_MAX_CELLS + 1, &cells, &row),
               OCTA_E_DOMAIN);
    CHECK(row == 1 && cells == 9);
}

static void test_handle(void) {
    octa_grid grid = half_metre();
    octa_cover *cover = new_cover();
    uint64_t offset = 5;
    size_t cells = 5, row;
    CHECK_CODE(octa_cover_copy(cover, 0, &offset, NULL, NULL), OCTA_E_DOMAIN); /* nothing has run */
    CHECK_OK(octa_cover_run(cover, OCTA_SPHERE, NULL, 0, 0, 0, 0, &cells, &row));
    CHECK(cells == 0 && row == 0);
    CHECK_OK(octa_cover_copy(cover, 0, &offset, NULL, NULL));
    CHECK(offset == 0);
    CHECK_OK(octa_cover_run(cover, OCTA_SPHERE, sphere, 1, 0, 0, CELLS, &cells, &row));
    uint64_t *ids = malloc(cells * sizeof *ids), offsets[2];
    double *coverage = malloc(cells * sizeof *coverage);
    CHECK(ids && coverage);
    CHECK_CODE(octa_cover_copy(cover, cells, offsets, ids, coverage), OCTA_E_DOMAIN); /* not asked for */
    CHECK_OK(octa_cover_copy(cover, cells, offsets, ids, NULL));
    free(ids);
    free(coverage);
    octa_cover_free(cover);
    octa_cover_free(NULL);
    grid.half_edge_m = 0;
    cover = NULL;
    CHECK_CODE(octa_cover_new(&grid, &cover), OCTA_E_DOMAIN);
    CHECK(!cover);
}

static uint32_t state = 12345;

static double anywhere(double reach) {
    state = state * 1664525u + 1013904223u;
    return reach * ((double)(state >> 8) / 8388608.0 - 1.0);
}

/* Up to eight planes, some along faces, through corners or through each other: no room is ever exceeded, and
 * the parts on either side of the last plane add up. */
static void test_any_planes(void) {
    octa_solid cell, part;
    octa_solid_cell(&cell);
    CHECK(fabs(octa_solid_volume(&cell) - OCTA_CELL_VOLUME) < 1e-12);
    for (int round = 0; round < 2000; round++) {
        double normal[3] = {0, 0, 0}, back[3], offset = 0;
        octa_solid_copy(&part, &cell);
        double before = octa_solid_volume(&part);
        for (int planes = 0; planes < 8; planes++) {
            octa_solid other;
            const int kind = (int)fabs(anywhere(4));
            for (int axis = 0; axis < 3; axis++) {
                normal[axis] = kind == 0 ? anywhere(1) : floor(anywhere(2) + 0.5);
                back[axis] = -normal[axis];
            }
            offset = kind < 2 ? anywhere(0.7) : kind == 2 ? octa_cell_support(normal) : 0.0;
            if (octa_dot3(normal, normal) == 0.0)
                continue;
            octa_solid_copy(&other, &part);
            octa_solid_cut(&part, normal, offset);
            octa_solid_cut(&other, back, -offset);
            const double one = octa_solid_volume(&part), two = octa_solid_volume(&other);
            CHECK(one > -1e-12 && two > -1e-12 && fabs(one + two - before) < 1e-12);
            CHECK(part.count <= OCTA_SOLID_FACES);
            for (int f = 0; f < part.count; f++)
                CHECK(part.faces[f].count < OCTA_SOLID_EDGES);
            const double center[3] = {anywhere(1), anywhere(1), anywhere(1)}, radius = fabs(anywhere(2));
            const double in_ball = octa_solid_in_ball(&part, center, radius);
            CHECK(in_ball > -1e-11 && in_ball < one + 1e-11);
            before = one;
        }
    }
}

void test_regions(void) {
    octa_cover *cover = new_cover();
    test_every_kind(cover);
    test_domains(cover);
    octa_cover_free(cover);
    test_handle();
    test_any_planes();
}
