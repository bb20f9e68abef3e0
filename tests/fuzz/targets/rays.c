/* Points from anywhere seen from anywhere, and cells from anywhere: no cell is passed by more rays than there
 * are, and one level's count is the other's where they are the same. */
#include "../bytes.h"

enum { MOST = 24, CELLS = 16 };

static void coarsened(uint64_t *ids, size_t n, size_t levels) {
    for (size_t level = 0; level < levels; level++)
        for (size_t i = 0; i < n; i++)
            if (octa_index64_parent(ids + i, 1, ids + i) != OCTA_OK)
                return;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    static octa_rays *rays; /* its index is large: one for all runs, which a run must not notice */
    static const octa_grid grid = {0.4, 3, 1, 7, 0.0, 60.0, 1.0};
    float points[3 * MOST];
    double pose[12];
    uint64_t ids[CELLS];
    uint32_t passes[CELLS], coarse[CELLS];
    if (!rays)
        REQUIRE(octa_rays_new(&grid, &rays) == OCTA_OK);
    fuzz_pose(&bytes, pose);
    const size_t n = fuzz_up_to(&bytes, MOST), levels = fuzz_up_to(&bytes, 3);
    fuzz_floats(&bytes, points, 3 * n);
    const size_t m = fuzz_ids(&bytes, &grid, ids, CELLS);
    if (octa_rays_load(rays, points, n, pose) != OCTA_OK)
        return 0;
    if (octa_rays_passes(rays, ids, m, passes) == OCTA_OK) {
        REQUIRE(octa_rays_coarse_passes(rays, ids, m, coarse) == OCTA_OK);
        for (size_t i = 0; i < m; i++)
            REQUIRE(passes[i] <= n && passes[i] == coarse[i]);
    }
    coarsened(ids, m, levels);
    if (octa_rays_coarse_passes(rays, ids, m, coarse) == OCTA_OK)
        for (size_t i = 0; i < m; i++)
            REQUIRE(coarse[i] <= n);
    return 0;
}
