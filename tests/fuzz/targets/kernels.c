/* A block of points from anywhere: the kernel for AVX2 gives the bits of the portable one. */
#include "../bytes.h"
#include "pointblock.h"

#ifdef OCTA_HAVE_AVX2
enum { MOST = 60 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    static octa_block blocks[2];
    float points[3 * MOST], intensity[MOST];
    double pose[12];
    const octa_grid grid = fuzz_grid(&bytes);
    const float least = (float)grid.range_min_m, most = (float)grid.range_max_m;
    octa_snap snap = {.range2_min = least * least, .range2_max = most * most, .full = 1.0f};
    octa_fates fates[2] = {{0}, {0}};
    fuzz_pose(&bytes, pose);
    const size_t n = fuzz_up_to(&bytes, MOST);
    fuzz_floats(&bytes, points, 3 * n);
    fuzz_floats(&bytes, intensity, n);
    if (!octa_has_avx2() || grid.half_edge_m < 1e-3 || octa_sensor_at(&grid, pose, &snap.sensor) != OCTA_OK)
        return 0;
    const octa_block_kernel *kernels[2] = {&octa_block_portable, &octa_block_avx2};
    for (int k = 0; k < 2; k++) {
        blocks[k].low[OCTA_BEFORE - 1] = 1;
        blocks[k].high[OCTA_BEFORE - 1] = OCTA_NO_CELL_HIGH;
        kernels[k]->fill(&snap, points, intensity, n, &blocks[k], &fates[k]);
    }
    REQUIRE(memcmp(&fates[0], &fates[1], sizeof fates[0]) == 0);
    REQUIRE(memcmp(blocks[0].begins, blocks[1].begins, sizeof blocks[0].begins) == 0);
    REQUIRE(memcmp(blocks[0].low + OCTA_BEFORE, blocks[1].low + OCTA_BEFORE, OCTA_BLOCK * 4) == 0);
    REQUIRE(memcmp(blocks[0].high + OCTA_BEFORE, blocks[1].high + OCTA_BEFORE, OCTA_BLOCK * 4) == 0);
    return 0;
}
#else
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    (void)data;
    (void)size;
    return 0;
}
#endif
