/* The neighbour table against a search of every neighbour among all cells; nothing is written when it fails.
 */
#include "scene.h"

#include <string.h>

static size_t find(const uint64_t *ids, size_t n, uint64_t id) {
    size_t row = 0;
    while (row < n && ids[row] != id)
        row++;
    return row;
}

static void check_table(const uint64_t *ids, size_t n) {
    int32_t *rows = scene_alloc(n * OCTA_NEIGHBORS * sizeof *rows);
    CHECK_OK(octa_neighbor_table(ids, n, rows));
    for (size_t i = 0; i < n; i++) {
        int32_t site[3], around[OCTA_NEIGHBORS * 3];
        uint8_t frame, tier, lod;
        CHECK_OK(octa_index64_decode(ids + i, 1, site, &frame, &tier, &lod));
        CHECK_OK(octa_lattice_neighbors(site, 1, around));
        for (int k = 0; k < OCTA_NEIGHBORS; k++) {
            uint64_t id;
            const octa_error code = octa_index64_encode(around + 3 * k, 1, frame, tier, lod, &id);
            CHECK(code == OCTA_OK || code == OCTA_E_RANGE);
            const size_t row = code == OCTA_OK ? find(ids, n, id) : n;
            CHECK(rows[i * OCTA_NEIGHBORS + (size_t)k] == (int32_t)row);
        }
    }
    free(rows);
}

static void test_scene(void) {
    scene_record record = scene_bin(5, 2000, 0);
    check_table(record.ids, record.record.cells);
    check_table(record.ids, 1);
    CHECK_OK(octa_neighbor_table(NULL, 0, NULL));
    scene_record_free(&record);
}

/* Every third site of a box at the lowest, the highest and a middle corner of the map. */
static void test_corners(void) {
    static const int32_t corners[] = {-32768, 32756, -6};
    for (int c = 0; c < 3; c++) {
        uint64_t ids[500];
        size_t n = 0;
        const octa_grid grid = scene_grid();
        uint64_t sorted[500];
        for (int32_t at = 0; at < 12 * 12 * 12; at += 3) {
            const int32_t site[3] = {corners[c] + at % 12, corners[c] + at / 12 % 12, corners[c] + at / 144};
            if (octa_index64_encode(site, 1, grid.frame, grid.tier, grid.lod, ids + n) == OCTA_OK)
                n++;
        }
        for (size_t i = 0; i < n; i++) {
            size_t rank = 0;
            for (size_t j = 0; j < n; j++)
                rank += ids[j] < ids[i];
            sorted[rank] = ids[i];
        }
        CHECK(n > 100);
        check_table(sorted, n);
    }
}

static void test_refusals(void) {
    scene_record record = scene_bin(5, 100, 0);
    const size_t n = record.record.cells;
    uint64_t *ids = scene_alloc(n * sizeof *ids);
    int32_t *rows = scene_alloc(n * OCTA_NEIGHBORS * sizeof *rows);
    const struct {
        uint64_t flip;
        octa_error code;
    } bad[] = {{1, OCTA_E_PARITY},
               {1ull << 62, OCTA_E_ID},
               {1ull << 48, OCTA_E_DOMAIN},
               {record.ids[n - 1] ^ record.ids[n - 2], OCTA_E_ORDER}};
    memset(rows, 0x55, n * OCTA_NEIGHBORS * sizeof *rows);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(ids, record.ids, n * sizeof *ids);
        ids[n - 1] ^= bad[i].flip;
        CHECK_CODE(octa_neighbor_table(ids, n, rows), bad[i].code);
    }
    CHECK_CODE(octa_neighbor_table(ids, (size_t)INT32_MAX + 1, rows), OCTA_E_DOMAIN);
    for (size_t i = 0; i < n * OCTA_NEIGHBORS; i++)
        CHECK(rows[i] == 0x55555555);
    free(ids);
    free(rows);
    scene_record_free(&record);
}

void test_neighbor_table(void) {
    test_scene();
    test_corners();
    test_refusals();
}
