/* Rays from anywhere to anywhere: whatever they pass are cells of the map, passed by no more rays than there
 * are. */
#include "../bytes.h"

enum { MOST = 12 };

/* A reach that is taken is cut to so many half edges: longer walks are only more of the same. */
#define MOST_REACH 2000.0
#define LARGEST_REACH_M 1e4

static double take_reach(fuzz_bytes *bytes, double half_edge_m) {
    if (fuzz_u8(bytes) != 255)
        return half_edge_m * (fuzz_u8(bytes) / 8);
    const double reach_m = fuzz_double(bytes);
    return reach_m <= LARGEST_REACH_M ? fmin(reach_m, MOST_REACH * half_edge_m) : reach_m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    float points[3 * MOST] = {0}, misses[3 * MOST] = {0};
    double pose[12];
    const octa_grid grid = fuzz_grid(&bytes);
    octa_free_cells *finder;
    size_t cells = 99;
    const uint8_t levels = (uint8_t)fuzz_up_to(&bytes, 7);
    if (octa_free_cells_new(&grid, levels, &finder) != OCTA_OK)
        return 0;
    fuzz_pose(&bytes, pose);
    const size_t n = fuzz_up_to(&bytes, MOST), m = fuzz_up_to(&bytes, MOST);
    const double reach_m = take_reach(&bytes, grid.half_edge_m);
    fuzz_floats(&bytes, points, 3 * n);
    fuzz_floats(&bytes, misses, 3 * m);
    if (octa_free_cells_run(finder, points, n, misses, m, pose, reach_m, &cells) == OCTA_OK) {
        uint64_t *ids = malloc(cells * sizeof *ids + 1);
        uint32_t *passes = malloc(cells * sizeof *passes + 1), *missed = malloc(cells * sizeof *missed + 1);
        REQUIRE(ids && passes && missed);
        REQUIRE(octa_free_cells_copy(finder, cells, ids, passes, missed) == OCTA_OK);
        for (size_t i = 0; i < cells; i++) {
            int32_t site[3];
            uint8_t frame, tier, lod;
            REQUIRE(octa_index64_decode(ids + i, 1, site, &frame, &tier, &lod) == OCTA_OK);
            REQUIRE(frame == grid.frame && tier == grid.tier && lod == grid.lod - levels);
            REQUIRE(passes[i] <= n && missed[i] <= m && passes[i] + missed[i] > 0);
            REQUIRE(!i || ids[i] > ids[i - 1]);
        }
        free(ids);
        free(passes);
        free(missed);
    } else {
        REQUIRE(cells == 99);
    }
    octa_free_cells_free(finder);
    return 0;
}
