/* Points to sites, and from a site to its neighbours, parent and children. */
#include "../bytes.h"

enum { MOST = 8 };

static void check_site(const double *point, const int32_t *site) {
    REQUIRE(((site[0] ^ site[1]) & 1) == 0 && ((site[0] ^ site[2]) & 1) == 0);
    double sum = 0.0;
    for (int axis = 0; axis < 3; axis++) {
        const double d = fabs(point[axis] - site[axis]);
        REQUIRE(d <= 1.0);
        sum += d;
    }
    REQUIRE(sum <= 1.5 + 1e-6); /* the cell is a truncated octahedron */
}

static void check_tree(const int32_t *sites, size_t n) {
    int32_t children[MOST][8][3], parents[8][3], up[MOST][3];
    if (octa_lattice_children(sites, n, &children[0][0][0]) == OCTA_OK)
        for (size_t i = 0; i < n; i++) {
            REQUIRE(octa_lattice_parent(&children[i][0][0], 8, &parents[0][0]) == OCTA_OK);
            for (int child = 0; child < 8; child++)
                REQUIRE(memcmp(parents[child], sites + 3 * i, sizeof parents[child]) == 0);
        }
    (void)octa_lattice_parent(sites, n, &up[0][0]);
}

static void check_neighbors(const int32_t *sites, size_t n) {
    int32_t neighbors[MOST][14][3], back[14][3];
    if (octa_lattice_neighbors(sites, n, &neighbors[0][0][0]) != OCTA_OK)
        return;
    for (size_t i = 0; i < n; i++) {
        int found = 0;
        if (octa_lattice_neighbors(neighbors[i][3], 1, &back[0][0]) != OCTA_OK)
            continue;
        for (int k = 0; k < 14; k++)
            found += memcmp(back[k], sites + 3 * i, sizeof back[k]) == 0;
        REQUIRE(found == 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    const size_t n = fuzz_up_to(&bytes, MOST);
    double points[3 * MOST] = {0};
    int32_t sites[3 * MOST];
    if (fuzz_u8(&bytes) < 32) { /* triples of any parity and size */
        fuzz_take(&bytes, sites, sizeof sites);
    } else {
        fuzz_doubles(&bytes, points, 3 * n);
        if (octa_lattice_snap(points, n, sites) != OCTA_OK)
            return 0;
        for (size_t i = 0; i < n; i++)
            check_site(points + 3 * i, sites + 3 * i);
    }
    check_tree(sites, n);
    check_neighbors(sites, n);
    return 0;
}
