/* Regions from any numbers: cells ascend within their row, those whose site is in a region are among those
 * that it meets, and each share is one. */
#include "../bytes.h"

enum { MOST = 2, VALUES = 16, CELLS = 60 };

typedef struct {
    size_t cells;
    uint64_t offsets[MOST + 1], ids[CELLS];
    double coverage[CELLS];
} covered;

static octa_error run(octa_cover *cover, uint32_t kind, const double *regions, size_t n, uint32_t mode,
                      covered *out) {
    size_t row = 77;
    const octa_error error = octa_cover_run(cover, kind, regions, n, mode, 1, CELLS, &out->cells, &row);
    if (error != OCTA_OK) {
        REQUIRE(row <= n && error != OCTA_E_MEMORY);
        return error;
    }
    REQUIRE(out->cells <= CELLS);
    REQUIRE(octa_cover_copy(cover, CELLS, out->offsets, out->ids, out->coverage) == OCTA_OK);
    REQUIRE(!out->cells ||
            octa_cover_copy(cover, out->cells - 1, out->offsets, out->ids, NULL) == OCTA_E_CAPACITY);
    REQUIRE(out->offsets[0] == 0 && out->offsets[n] == out->cells);
    for (size_t i = 0; i < n; i++)
        for (uint64_t at = out->offsets[i]; at < out->offsets[i + 1]; at++) {
            REQUIRE(at == out->offsets[i] || out->ids[at - 1] < out->ids[at]);
            REQUIRE(out->coverage[at] >= 0.0 && out->coverage[at] <= 1.0);
        }
    return OCTA_OK;
}

static int has(const covered *all, size_t row, uint64_t id) {
    for (uint64_t at = all->offsets[row]; at < all->offsets[row + 1]; at++)
        if (all->ids[at] == id)
            return 1;
    return 0;
}

static void take_region(fuzz_bytes *bytes, uint32_t kind, double *values) {
    const size_t count = octa_region_values(kind);
    const int posed = kind == OCTA_ORIENTED_BOX || kind == OCTA_FRUSTUM;
    if (posed)
        fuzz_pose(bytes, values);
    fuzz_doubles(bytes, values + (posed ? 12 : 0), count - (posed ? 12 : 0));
    if (fuzz_u8(bytes) >= 200)
        return;
    if (kind == OCTA_BOX) /* no negative size */
        for (int axis = 0; axis < 3; axis++)
            values[3 + axis] = values[axis] + fabs(values[3 + axis]);
    else if (kind == OCTA_FRUSTUM)
        values[15] = values[14] + fabs(values[15]);
    else
        values[count - 1] = fabs(values[count - 1]);
}

/* To some cells' size, whatever the cells' size is: work grows with what bounds a region. */
static void shrink(uint32_t kind, double factor, double *values) {
    const int posed = kind == OCTA_ORIENTED_BOX || kind == OCTA_FRUSTUM;
    for (size_t at = 0; at < octa_region_values(kind); at++) {
        const int turns = posed && at < 12 && at % 4 != 3, is_tangent = kind == OCTA_FRUSTUM && at / 2 == 6;
        if (!turns && !is_tangent)
            values[at] *= factor;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static covered centers, all;
    fuzz_bytes bytes = {data, size};
    double regions[MOST * VALUES] = {0};
    const octa_grid grid = fuzz_grid(&bytes);
    const uint32_t kind = (uint32_t)fuzz_up_to(&bytes, OCTA_REGIONS);
    const size_t n = fuzz_up_to(&bytes, MOST), width = octa_region_values(kind);
    octa_cover *cover;
    if (octa_cover_new(&grid, &cover) != OCTA_OK)
        return 0;
    if (!width) {
        size_t cells, row;
        REQUIRE(octa_cover_run(cover, kind, regions, n, 0, 0, CELLS, &cells, &row) == OCTA_E_DOMAIN);
    }
    for (size_t i = 0; i < n && width; i++) {
        take_region(&bytes, kind, regions + i * width);
        if (fuzz_u8(&bytes) < 240)
            shrink(kind, grid.half_edge_m / 8, regions + i * width);
    }
    if (width && run(cover, kind, regions, n, OCTA_CENTER_IN, &centers) == OCTA_OK &&
        run(cover, kind, regions, n, OCTA_INTERSECTS, &all) == OCTA_OK)
        for (size_t i = 0; i < n; i++)
            for (uint64_t at = centers.offsets[i]; at < centers.offsets[i + 1]; at++)
                REQUIRE(has(&all, i, centers.ids[at]));
    octa_cover_free(cover);
    return 0;
}
