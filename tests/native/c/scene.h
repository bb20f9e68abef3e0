/* A small world for the C tests: ground and a wall seen by a sensor, always the same for one seed. */
#ifndef OCTA_TEST_SCENE_H
#define OCTA_TEST_SCENE_H

#include "check.h"

/* A binned sweep with its own copies of everything; record points into them. */
typedef struct {
    octa_record record;
    uint64_t *ids;
    uint32_t *hits, *passes;
    int32_t *sums;
} scene_record;

octa_grid scene_grid(void);
octa_window_options scene_options(void);

/** Sensor pose: turned by a few degrees about z, at x, y, z. */
void scene_pose(double x, double y, double z, double *pose);

/** n points of a scene and their intensities; points 3 n, to be freed by the caller with free. */
void scene_points(uint32_t seed, size_t n, float **points, float **intensity);

/** A view from (1, 2) to come to (2.5, 2), with count beams of a scene; its beams are the caller's to free.
 */
octa_view scene_view(size_t count, int16_t **beams);

/** Bin a scene of n points, with passes from its own rays. */
scene_record scene_bin(uint32_t seed, size_t n, int64_t stamp_ns);
void scene_record_free(scene_record *record);

/** What a window holds, for comparison before and after a call. */
typedef struct {
    size_t cells, records, active;
    uint64_t *ids, *hits, *passes;
    int64_t *sums;
} scene_state;

scene_state scene_state_of(const octa_window *window);
int scene_states_equal(const scene_state *a, const scene_state *b);
void scene_state_free(scene_state *state);

/** CHECK that the window is valid and still holds what it held. */
void scene_check_unchanged(const octa_window *window, const scene_state *before);

/** CHECK that the window is valid, with the reason if it is not. */
void scene_check_valid(const octa_window *window);

/** malloc that ends the test when it fails; not the seam that OCTA_TEST_ALLOC counts. */
void *scene_alloc(size_t size);

#endif
