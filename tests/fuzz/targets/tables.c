/* Cells from anywhere: neighbours are mutual, a coarser level loses nothing, rows are those asked for. */
#include "../bytes.h"

enum { MOST = 24 };

static void check_neighbors(const uint64_t *ids, size_t n) {
    int32_t rows[MOST * OCTA_NEIGHBORS];
    if (octa_neighbor_table(ids, n, rows) != OCTA_OK)
        return;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < OCTA_NEIGHBORS; k++) {
            const int32_t row = rows[i * OCTA_NEIGHBORS + k];
            REQUIRE(row >= 0 && row <= (int32_t)n && row != (int32_t)i);
            int back = row == (int32_t)n;
            for (size_t j = 0; !back && j < OCTA_NEIGHBORS; j++)
                back = rows[(size_t)row * OCTA_NEIGHBORS + j] == (int32_t)i;
            REQUIRE(back);
        }
}

static void check_coarsen(fuzz_bytes *bytes, const uint64_t *ids, size_t n, uint8_t unit_lod) {
    uint64_t hits[MOST], up_ids[MOST], up_hits[MOST], total = 0, up_total = 0;
    int64_t sums[MOST * OCTA_SUMS], up_sums[MOST * OCTA_SUMS], intensity = 0, up_intensity = 0;
    int32_t rows[MOST];
    size_t cells = 99;
    const int wide = fuzz_u8(bytes) < 32;
    for (size_t i = 0; i < n; i++)
        hits[i] = wide ? fuzz_u64(bytes) : fuzz_u8(bytes);
    for (size_t i = 0; i < n * OCTA_SUMS; i++)
        sums[i] = wide ? (int64_t)fuzz_u64(bytes) : fuzz_i8(bytes);
    const octa_cells fine = {n, ids, hits, sums, unit_lod};
    if (octa_coarsen(&fine, up_ids, up_hits, up_sums, rows, &cells) != OCTA_OK) {
        REQUIRE(cells == 99);
        return;
    }
    REQUIRE(cells <= n && (cells || !n));
    for (size_t i = 0; i < n; i++) {
        uint64_t parent;
        REQUIRE(octa_index64_parent(ids + i, 1, &parent) == OCTA_OK && up_ids[rows[i]] == parent);
        total += hits[i];
        intensity = (int64_t)((uint64_t)intensity + (uint64_t)sums[i * OCTA_SUMS + OCTA_SUM_INTENSITY]);
    }
    for (size_t i = 0; i < cells; i++) {
        up_total += up_hits[i];
        up_intensity =
            (int64_t)((uint64_t)up_intensity + (uint64_t)up_sums[i * OCTA_SUMS + OCTA_SUM_INTENSITY]);
    }
    REQUIRE(total == up_total && intensity == up_intensity);
}

static void check_gather(fuzz_bytes *bytes) {
    float table[MOST], out[MOST];
    int64_t index[MOST];
    const size_t width = fuzz_up_to(bytes, 3), rows = width ? MOST / width : 0, n = rows;
    for (size_t i = 0; i < MOST; i++)
        table[i] = (float)i;
    const int wide = fuzz_u8(bytes) < 32;
    for (size_t i = 0; i < n; i++)
        index[i] = wide ? (int64_t)fuzz_u64(bytes) : fuzz_i8(bytes);
    if (octa_gather(table, rows, width, index, n, out) == OCTA_OK)
        for (size_t i = 0; i < n * width; i++)
            REQUIRE(out[i] == (float)((size_t)index[i / width] * width + i % width));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    uint64_t ids[MOST] = {0};
    const octa_grid grid = fuzz_grid(&bytes);
    const size_t n = fuzz_ids(&bytes, &grid, ids, MOST);
    check_neighbors(ids, n);
    check_coarsen(&bytes, ids, n, (uint8_t)(grid.lod + fuzz_up_to(&bytes, 9) - fuzz_up_to(&bytes, 1)));
    check_gather(&bytes);
    return 0;
}
