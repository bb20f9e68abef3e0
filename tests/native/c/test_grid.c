/* A grid with a value outside its domain makes no handle of any kind. */
#include "scene.h"

#include <math.h>

static void check_refused(octa_grid grid) {
    octa_binner *binner = NULL;
    octa_rays *rays = NULL;
    octa_window *window = NULL;
    octa_window_options options = scene_options();
    options.grid = grid;
    CHECK_CODE(octa_binner_new(&grid, &binner), OCTA_E_DOMAIN);
    CHECK_CODE(octa_rays_new(&grid, &rays), OCTA_E_DOMAIN);
    CHECK_CODE(octa_window_new(&options, &window), OCTA_E_DOMAIN);
    CHECK(!binner && !rays && !window);
}

#define REFUSE(field, value)                                                                                 \
    do {                                                                                                     \
        octa_grid grid = scene_grid();                                                                       \
        grid.field = value;                                                                                  \
        check_refused(grid);                                                                                 \
    } while (0)

void test_grid(void) {
    const double lengths[] = {0.0, -1.0, NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        REFUSE(half_edge_m, lengths[i]);
        REFUSE(range_max_m, lengths[i]);
        REFUSE(intensity_max, lengths[i]);
        if (lengths[i] != 0.0)
            REFUSE(range_min_m, lengths[i]);
    }
    REFUSE(half_edge_m, 1e-9); /* a site would not fit an int32 */
    REFUSE(range_min_m, 60.0);
    REFUSE(tier, 4);
    REFUSE(lod, 16);
}
