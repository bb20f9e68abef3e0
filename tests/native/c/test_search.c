/* Cells around positions against looking at every cell; the points of cells. */
#include "scene.h"

#include <math.h>
#include <string.h>

enum { CELLS = 400, QUERIES = 40, WIDTH = 3 };

static int is_near(const octa_search *s, size_t query, const int32_t *site) {
    double d[3], longest = 0.0, sum = 0.0, shortest = 1e9;
    for (int axis = 0; axis < 3; axis++) {
        d[axis] = fabs(site[axis] - s->queries[3 * query + (size_t)axis]);
        sum += d[axis];
        longest = d[axis] > longest ? d[axis] : longest;
        shortest = d[axis] < shortest ? d[axis] : shortest;
    }
    return s->rings ? sum - shortest <= 2.0 * s->rings
                    : d[0] * d[0] + d[1] * d[1] + d[2] * d[2] <= s->radius * s->radius;
}

static void check_search(const octa_search *s) {
    uint64_t starts[QUERIES + 1];
    static float x[CELLS * WIDTH], pooled[QUERIES * 3 * WIDTH];
    uint32_t counts[QUERIES];
    CHECK_OK(octa_search_count(s, starts));
    int32_t *rows = scene_alloc(starts[s->n] * sizeof *rows);
    CHECK_OK(octa_search_rows(s, starts[s->n], rows));
    if (starts[s->n])
        CHECK_CODE(octa_search_rows(s, starts[s->n] - 1, rows), OCTA_E_CAPACITY);
    for (size_t i = 0; i < s->cells * WIDTH; i++)
        x[i] = (float)(i * 7 % 31) - 9.0f;
    CHECK_OK(octa_search_pool(s, x, WIDTH, counts, pooled));
    for (size_t q = 0; q < s->n; q++) {
        uint64_t at = starts[q];
        double sum = 0.0;
        for (size_t row = 0; row < s->cells; row++) {
            int32_t site[3];
            CHECK_OK(octa_index64_decode(s->ids + row, 1, site, NULL, NULL, NULL));
            if (is_near(s, q, site)) {
                CHECK(at < starts[q + 1] && rows[at++] == (int32_t)row);
                sum += x[row * WIDTH + 1];
            }
        }
        CHECK(at == starts[q + 1] && counts[q] == at - starts[q]);
        const float mean = counts[q] ? (float)(sum / counts[q]) : 0.0f;
        CHECK(pooled[q * 3 * WIDTH + 1] == mean);
        CHECK(!counts[q] || (pooled[q * 3 * WIDTH + WIDTH] <= mean + 100.0f));
    }
    free(rows);
}

static void test_searches(void) {
    scene_record record = scene_bin(3, CELLS, 1000);
    double queries[3 * QUERIES];
    octa_search s = {.ids = record.ids, .cells = record.record.cells, .queries = queries, .n = QUERIES};
    CHECK(s.cells <= CELLS && s.cells > 100);
    for (size_t q = 0; q < QUERIES; q++) {
        int32_t site[3];
        CHECK_OK(octa_index64_decode(record.ids + q * 3, 1, site, NULL, NULL, NULL));
        for (int axis = 0; axis < 3; axis++)
            queries[3 * q + (size_t)axis] = site[axis];
    }
    for (s.rings = 1; s.rings < 40; s.rings += s.rings / 2 + 1)
        check_search(&s);
    s.rings = 0;
    for (size_t q = 0; q < 3 * QUERIES; q++)
        queries[q] += (double)(q % 8) / 4.0;
    const double radii[] = {0.0, 0.5, 1.0, 2.5, 7.0, 300.0};
    for (size_t r = 0; r < sizeof radii / sizeof *radii; r++) {
        s.radius = radii[r];
        check_search(&s);
    }
    for (int i = 0; i < 3; i++)
        queries[i] = 1e6; /* far from every cell */
    check_search(&s);
    s.cells = 0;
    check_search(&s);
    scene_record_free(&record);
}

static void test_refusals(void) {
    uint64_t ids[2], starts[3] = {77, 77, 77};
    const int32_t sites[] = {0, 0, 0, 2, 0, 0};
    double queries[3] = {0, 0, 0};
    float x[2] = {1, 2}, pooled[3] = {77};
    uint32_t counts[1] = {77};
    CHECK_OK(octa_index64_encode(sites, 2, 1, 0, 7, ids));
    octa_search s = {ids, 2, queries, 1, 1.0, 0};
#define REFUSE(change, code)                                                                                 \
    do {                                                                                                     \
        const octa_search before = s;                                                                        \
        change;                                                                                              \
        CHECK_CODE(octa_search_count(&s, starts), code);                                                     \
        CHECK_CODE(octa_search_rows(&s, 9, (int32_t[9]){0}), code);                                          \
        CHECK_CODE(octa_search_pool(&s, x, 1, counts, pooled), code);                                        \
        CHECK(starts[0] == 77 && counts[0] == 77 && pooled[0] == 77);                                        \
        s = before;                                                                                          \
    } while (0)
    REFUSE(s.radius = -1, OCTA_E_DOMAIN);
    REFUSE(s.radius = NAN, OCTA_E_DOMAIN);
    REFUSE(s.radius = 1e9, OCTA_E_DOMAIN);
    REFUSE(s.rings = 65537, OCTA_E_DOMAIN);
    queries[1] = NAN;
    REFUSE(s.n = 1, OCTA_E_DOMAIN);
    queries[1] = 1e7;
    REFUSE(s.n = 1, OCTA_E_DOMAIN);
    queries[1] = 0.5;
    REFUSE(s.rings = 1, OCTA_E_PARITY);
    queries[1] = 1;
    REFUSE(s.rings = 1, OCTA_E_PARITY);
    queries[1] = 0;
    ids[1] = ids[0];
    REFUSE(s.n = 1, OCTA_E_ORDER);
    s.cells = 1;
    x[0] = INFINITY;
    CHECK_CODE(octa_search_pool(&s, x, 1, counts, pooled), OCTA_E_DOMAIN);
#undef REFUSE
}

static void test_point_lists(void) {
    const int32_t rows[] = {2, -1, 0, 2, 2, 0, -1};
    const uint32_t expected_starts[] = {0, 2, 2, 5, 5}, expected[] = {2, 5, 0, 3, 4};
    uint32_t starts[5], points[7];
    CHECK_OK(octa_point_lists(rows, 7, 4, starts, points));
    CHECK(memcmp(starts, expected_starts, sizeof starts) == 0 &&
          memcmp(points, expected, sizeof expected) == 0);
    CHECK_OK(octa_point_lists(rows, 0, 0, starts, points));
    CHECK(starts[0] == 0);
    CHECK_CODE(octa_point_lists(rows, 7, 2, starts, points), OCTA_E_DOMAIN);
    CHECK_CODE(octa_point_lists((int32_t[]){-2}, 1, 2, starts, points), OCTA_E_DOMAIN);
    CHECK_CODE(octa_point_lists(rows, (size_t)1 << 33, 2, starts, points), OCTA_E_DOMAIN);
    CHECK_CODE(octa_point_lists(rows, 7, (size_t)1 << 32, starts, points), OCTA_E_DOMAIN);
}

void test_search(void) {
    test_searches();
    test_refusals();
    test_point_lists();
}
