/* Shells of sites and of ids, in the middle and at the corners of the map. */
#include "check.h"

#include <string.h>

static void test_offsets(void) {
    enum { LAST = 9 };
    size_t before = 0;
    CHECK(octa_rings_count(2, 1) == 0 && octa_rings_count(0, OCTA_RINGS_MAX + 1) == 0);
    CHECK(octa_rings_count(0, OCTA_RINGS_MAX) == 66716671); /* 256^4 - 255^4 */
    for (uint32_t k = 0; k <= LAST; k++) {
        const size_t count = octa_rings_count(k, k);
        int32_t *offsets = malloc(count * 3 * sizeof *offsets), *middle = calloc(count, 3 * sizeof *middle);
        uint32_t *steps = malloc(count * sizeof *steps);
        CHECK(offsets && middle && steps);
        CHECK(count == (k ? 12 * k * k + 2 : 1));
        CHECK_OK(octa_rings_offsets(k, k, offsets));
        CHECK_OK(octa_lattice_distance(middle, offsets, count, steps));
        for (size_t i = 0; i < count; i++)
            CHECK(steps[i] == k);
        before += count;
        CHECK(octa_rings_count(0, k) == before);
        free(offsets);
        free(middle);
        free(steps);
    }
    int32_t kept = 4;
    CHECK_CODE(octa_rings_offsets(1, 0, &kept), OCTA_E_DOMAIN);
    CHECK_CODE(octa_rings_offsets(0, OCTA_RINGS_MAX + 1, &kept), OCTA_E_DOMAIN);
    CHECK(kept == 4);
}

static void test_distance(void) {
    const int32_t low[3] = {INT32_MIN, INT32_MIN, INT32_MIN}, high[3] = {INT32_MAX - 1, INT32_MAX - 1, 0};
    const int32_t mixed[3] = {0, 0, 1};
    uint32_t steps = 0;
    CHECK_OK(octa_lattice_distance(low, high, 1, &steps));
    CHECK(steps == UINT32_MAX - 1);
    CHECK_CODE(octa_lattice_distance(low, mixed, 1, &steps), OCTA_E_PARITY);
    CHECK_CODE(octa_lattice_distance(mixed, low, 1, &steps), OCTA_E_PARITY);
    CHECK(steps == UINT32_MAX - 1);
}

/* Of the corner's 14 neighbours four are on the map, of the middle's all; the order is that of the sites. */
static void test_ids_around(void) {
    const int32_t sites[6] = {0, 0, 0, -32768, -32768, -32768};
    int32_t around[OCTA_NEIGHBORS * 3];
    uint64_t ids[2], expected[OCTA_NEIGHBORS], out[2 * OCTA_NEIGHBORS];
    int there = 0;
    CHECK_OK(octa_index64_encode(sites, 2, 1, 1, 1, ids));
    CHECK_OK(octa_lattice_neighbors(sites, 1, around));
    CHECK_OK(octa_index64_encode(around, OCTA_NEIGHBORS, 1, 1, 1, expected));
    CHECK_OK(octa_index64_shells(ids, 2, 1, 1, out));
    CHECK(memcmp(out, expected, sizeof expected) == 0);
    for (int k = 0; k < OCTA_NEIGHBORS; k++)
        there += out[OCTA_NEIGHBORS + k] != 0;
    CHECK(there == 4);
    CHECK_CODE(octa_index64_shells(ids, 2, 2, 1, out), OCTA_E_DOMAIN);
    ids[1] ^= 2;
    CHECK_CODE(octa_index64_shells(ids, 2, 0, 0, out), OCTA_E_PARITY);
    CHECK(memcmp(out, expected, sizeof expected) == 0);
}

static void test_other_kinds(void) {
    enum { COUNT = 65 };
    const octa_galactic128_fields fields = {1, 2, 3, 4, 5};
    const int32_t sites[6] = {524287, 524287, 524287, -524288, 0, 0};
    const int32_t ends[6] = {INT32_MAX, INT32_MAX, INT32_MAX, INT32_MIN, 0, 0};
    uint64_t routes[2], wide[4], out[2 * COUNT], wide_out[2 * COUNT * 2];
    CHECK_OK(octa_route64_encode(sites, 2, 1, routes));
    CHECK_OK(octa_route64_shells(routes, 2, 0, 2, out));
    CHECK(out[0] == routes[0] && out[COUNT] == routes[1]);
    CHECK_OK(octa_galactic128_encode(ends, 2, &fields, wide));
    CHECK_OK(octa_galactic128_shells(wide, 2, 0, 2, wide_out));
    for (int k = 0; k < 2 * COUNT; k++) /* both stand at the same corner, each of its own map */
        CHECK((out[k] == 0) == (wide_out[2 * k] == 0 && wide_out[2 * k + 1] == 0));
    CHECK_CODE(octa_route64_shells(wide, 1, 0, 2, out), OCTA_E_ID);
    CHECK_CODE(octa_galactic128_shells(routes, 1, 0, 2, wide_out), OCTA_E_ID);
}

void test_rings(void) {
    test_offsets();
    test_distance();
    test_ids_around();
    test_other_kinds();
}
