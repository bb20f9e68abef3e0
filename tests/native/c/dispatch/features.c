/* Writes a scene's features to the standard output: passes of its rays, beams and casts among them. */
#include "scene.h"

#include <stdlib.h>

int main(void) {
    const octa_window_options options = scene_options();
    int16_t *beams;
    const octa_view view = scene_view(5000, &beams);
    octa_window *window;
    uint64_t evicted;
    CHECK_OK(octa_window_new(&options, &window));
    for (int sweep = 0; sweep < 12; sweep++) {
        scene_record binned = scene_bin((uint32_t)sweep + 1, 20000, (int64_t)(sweep + 1) * 100000000);
        CHECK_OK(octa_window_push(window, &binned.record, &evicted));
        fwrite(binned.passes, sizeof *binned.passes, binned.record.cells, stdout);
        scene_record_free(&binned);
    }
    const size_t m = octa_window_active(window), width = octa_features_count(options.bins);
    uint64_t *ids = scene_alloc(m * sizeof *ids);
    float *x = scene_alloc(m * width * sizeof *x);
    int32_t *neighbors = scene_alloc(m * OCTA_NEIGHBORS * sizeof *neighbors);
    uint8_t *before = scene_alloc(m);
    CHECK_OK(octa_window_features(window, &view, m, ids, x, neighbors, before));
    fwrite(x, sizeof *x, m * width, stdout);
    free(before);
    free(neighbors);
    free(x);
    free(ids);
    free(beams);
    octa_window_free(window);
    return 0;
}
