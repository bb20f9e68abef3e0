/* Sites, neighbours and the tree at the ends of their ranges. */
#include "check.h"

#include <math.h>
#include <string.h>

#define LIMIT (1 << 30)

static void test_snap(void) {
    const double edge = 1073741824.0, below = nextafter(1, 0);
    const struct {
        double point[3];
        int32_t site[3];
    } cases[] = {
        {{0.9, 1.2, 0.8}, {1, 1, 1}},
        {{0.5, 0.5, 0.5}, {0, 0, 0}},
        {{1, 0, 0}, {2, 0, 0}},
        {{-1, 0, 0}, {0, 0, 0}},
        {{0, 1, 1}, {1, 1, 1}},
        {{-1, 0, -1}, {-1, 1, -1}},
        {{1, 1, 0}, {1, 1, 1}},
        {{-1, 0, below}, {-1, 1, 1}},
        {{below, 0, 0}, {0, 0, 0}},
        {{-0.0, -1e-300, 1}, {0, 0, 2}},
        {{edge, -edge, edge}, {LIMIT, -LIMIT, LIMIT}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t site[3];
        CHECK_OK(octa_lattice_snap(cases[i].point, 1, site));
        CHECK(memcmp(site, cases[i].site, sizeof site) == 0);
    }
    CHECK_OK(octa_lattice_snap(NULL, 0, NULL));
}

/* Points all at once are where each of them is alone, in buffers exactly as long as they must be. */
static void test_snap_many(void) {
    static const size_t counts[] = {1, 15, 16, 17, 48, 61};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        const size_t n = counts[c];
        double *points = malloc(3 * n * sizeof *points);
        int32_t *sites = malloc(3 * n * sizeof *sites), alone[3];
        CHECK(points && sites);
        for (size_t i = 0; i < 3 * n; i++) /* quarters, with every tie among them */
            points[i] = ((int)(i * i * 7 + 3 * i + c) % 33 - 16) / 4.0;
        CHECK_OK(octa_lattice_snap(points, n, sites));
        for (size_t i = 0; i < n; i++) {
            CHECK_OK(octa_lattice_snap(points + 3 * i, 1, alone));
            CHECK(memcmp(alone, sites + 3 * i, sizeof alone) == 0);
        }
        free(points);
        free(sites);
    }
}

static void test_snap_refuses(void) {
    const double bad[] = {NAN, INFINITY, -INFINITY, nextafter(1073741824.0, INFINITY), -1e300};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const double points[6] = {1, 1, 1, 0, 0, bad[i]};
        int32_t sites[6] = {7, 7, 7, 7, 7, 7};
        CHECK_CODE(octa_lattice_snap(points, 2, sites), OCTA_E_DOMAIN);
        for (int k = 0; k < 6; k++)
            CHECK(sites[k] == 7);
    }
}

static void test_tree(void) {
    const int32_t sites[12] = {0, 0, 0, -3, 5, 1, 1 << 29, -(1 << 29), 0, -1, -1, -1};
    int32_t children[4 * OCTA_CHILDREN * 3], parents[4 * OCTA_CHILDREN * 3];
    CHECK_OK(octa_lattice_children(sites, 4, children));
    CHECK_OK(octa_lattice_parent(children, 4 * OCTA_CHILDREN, parents));
    for (int i = 0; i < 4 * OCTA_CHILDREN; i++)
        CHECK(memcmp(parents + 3 * i, sites + 3 * (i / OCTA_CHILDREN), 3 * sizeof *sites) == 0);
    CHECK_OK(octa_lattice_parent(children, 4 * OCTA_CHILDREN, children)); /* in place */
    CHECK(memcmp(children, parents, sizeof children) == 0);
}

static void test_neighbors(void) {
    const int32_t sites[6] = {LIMIT, -LIMIT, LIMIT, 1, -1, 3};
    int32_t out[2 * OCTA_NEIGHBORS * 3];
    CHECK_OK(octa_lattice_neighbors(sites, 2, out));
    CHECK(out[0] == LIMIT + 1 && out[1] == -LIMIT + 1 && out[2] == LIMIT + 1);
    const int32_t *last = out + 3 * (2 * OCTA_NEIGHBORS - 1);
    CHECK(last[0] == 1 && last[1] == -1 && last[2] == 1);
}

static void test_refusals(void) {
    const int32_t mixed[6] = {0, 0, 0, 0, 1, 0};
    const int32_t far[][3] = {{LIMIT + 2, 0, 0}, {0, 0, INT32_MIN}, {INT32_MAX, 1, 1}};
    int32_t out[2 * OCTA_NEIGHBORS * 3] = {0};
    CHECK_CODE(octa_lattice_neighbors(mixed, 2, out), OCTA_E_PARITY);
    CHECK_CODE(octa_lattice_parent(mixed, 2, out), OCTA_E_PARITY);
    CHECK_CODE(octa_lattice_children(mixed, 2, out), OCTA_E_PARITY);
    CHECK_CODE(octa_lattice_parent(far[1], 1, out), OCTA_E_DOMAIN);
    for (int i = 0; i < 3; i++) {
        CHECK_CODE(octa_lattice_neighbors(far[i], 1, out), OCTA_E_DOMAIN);
        CHECK_CODE(octa_lattice_children(far[i], 1, out), OCTA_E_DOMAIN);
    }
    for (size_t i = 0; i < sizeof out / sizeof *out; i++)
        CHECK(out[i] == 0);
}

void test_lattice(void) {
    test_snap();
    test_snap_many();
    test_snap_refuses();
    test_tree();
    test_neighbors();
    test_refusals();
}
