/* Queries from anywhere among cells from anywhere: what is found is what lies near, no more and no less; and
 * points of cells from any rows. */
#include "../bytes.h"

enum { CELLS = 24, QUERIES = 4, WIDTH = 2 };

static int is_near(const octa_search *s, const double *query, uint64_t id) {
    int32_t site[3];
    double d[3];
    REQUIRE(octa_index64_decode(&id, 1, site, NULL, NULL, NULL) == OCTA_OK);
    for (int axis = 0; axis < 3; axis++)
        d[axis] = fabs(site[axis] - query[axis]);
    if (s->rings)
        return fmax(d[0] + d[1], fmax(d[1] + d[2], d[0] + d[2])) <= 2.0 * s->rings;
    return (d[0] * d[0] + d[1] * d[1]) + d[2] * d[2] <= s->radius * s->radius;
}

static void check(const octa_search *s, const float *x) {
    uint64_t starts[QUERIES + 1];
    int32_t rows[CELLS * QUERIES];
    uint32_t counts[QUERIES];
    float pooled[QUERIES * 3 * WIDTH];
    if (octa_search_count(s, starts) != OCTA_OK)
        return;
    REQUIRE(octa_search_rows(s, CELLS * QUERIES, rows) == OCTA_OK);
    for (size_t q = 0; q < s->n; q++) {
        uint64_t at = starts[q];
        for (size_t row = 0; row < s->cells; row++)
            if (is_near(s, s->queries + 3 * q, s->ids[row]))
                REQUIRE(at < starts[q + 1] && rows[at++] == (int32_t)row);
        REQUIRE(at == starts[q + 1]);
    }
    if (octa_search_pool(s, x, WIDTH, counts, pooled) == OCTA_OK)
        for (size_t q = 0; q < s->n; q++)
            for (size_t k = 0; k < WIDTH; k++) {
                const float *of = pooled + q * 3 * WIDTH + k;
                REQUIRE(counts[q] == starts[q + 1] - starts[q] && of[WIDTH] <= of[2 * WIDTH]);
                REQUIRE(isfinite(of[0]) || fabsf(of[WIDTH]) > 1e38f || fabsf(of[2 * WIDTH]) > 1e38f);
            }
}

static void check_point_lists(fuzz_bytes *bytes) {
    int32_t rows[CELLS] = {0};
    uint32_t starts[CELLS + 2], points[CELLS];
    const size_t n = fuzz_up_to(bytes, CELLS), cells = fuzz_up_to(bytes, CELLS);
    for (size_t i = 0; i < n; i++)
        rows[i] = fuzz_u8(bytes) < 250 ? (int32_t)fuzz_up_to(bytes, cells) - 1 : (int32_t)fuzz_u32(bytes);
    if (octa_point_lists(rows, n, cells, starts, points) != OCTA_OK)
        return;
    for (size_t cell = 0; cell < cells; cell++)
        for (uint32_t at = starts[cell]; at < starts[cell + 1]; at++)
            REQUIRE(rows[points[at]] == (int32_t)cell && (at == starts[cell] || points[at] > points[at - 1]));
    REQUIRE(starts[cells] <= n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    uint64_t ids[CELLS] = {0};
    double queries[3 * QUERIES] = {0};
    float x[CELLS * WIDTH] = {0};
    const octa_grid grid = fuzz_grid(&bytes);
    octa_search s = {.ids = ids, .queries = queries, .n = fuzz_up_to(&bytes, QUERIES)};
    s.cells = fuzz_ids(&bytes, &grid, ids, CELLS);
    const uint8_t kind = fuzz_u8(&bytes);
    s.rings = kind & 1 ? (uint32_t)fuzz_u8(&bytes) << kind % 16 : 0;
    s.radius = kind < 16 ? fuzz_double(&bytes) : fuzz_u8(&bytes) / 4.0;
    for (size_t q = 0; q < s.n; q++) {
        int32_t site[3];
        fuzz_site(&bytes, site);
        for (size_t axis = 0; axis < 3; axis++)
            queries[3 * q + axis] = s.rings ? site[axis] : site[axis] + fuzz_double(&bytes);
    }
    fuzz_floats(&bytes, x, s.cells * WIDTH);
    check(&s, x);
    check_point_lists(&bytes);
    return 0;
}
