/* Beams: which returns are taken, within the caller's buffer, and what is refused. */
#include "scene.h"

#include <math.h>
#include <string.h>

/* Into a buffer of exactly that capacity, so that a sanitizer sees a write beyond it. */
static size_t sample(const float *points, size_t n, size_t capacity, int16_t *out) {
    int16_t *beams = scene_alloc(3 * capacity * sizeof *beams);
    size_t count = 99;
    CHECK_OK(octa_beams_sample(points, n, capacity, beams, &count));
    CHECK(count <= capacity);
    if (count)
        memcpy(out, beams, 3 * count * sizeof *beams);
    free(beams);
    return count;
}

static void test_units(void) {
    const float points[] = {3, 0, 0, 0, -0.5f, 0, 0, 0, 9999, -1e-40f, 0, 0, 3, -4, 0, 10000, 10000, -10000};
    static const int16_t expected[] = {32767,  0, 0, 0,     -32767, 0, 0,     0,     32767,
                                       -32767, 0, 0, 19660, -26214, 0, 18918, 18918, -18918};
    int16_t beams[18];
    CHECK(OCTA_BEAM_ONE == 32767);
    CHECK(sample(points, 6, 6, beams) == 6);
    CHECK(memcmp(beams, expected, sizeof beams) == 0);
}

static void test_unusable(void) {
    const float points[] = {NAN, 1,     1, 1, INFINITY, 1,     1,      1,     -INFINITY,
                            0,   -0.0f, 0, 1, 1,        10001, -3e38f, 3e38f, 1};
    int16_t beams[3];
    CHECK(sample(points, 6, 1, beams) == 0);
    CHECK(sample(NULL, 0, 1, beams) == 0);
}

static void test_capacities(void) {
    enum { N = 101 };
    float *points, *intensity;
    int16_t all[3 * N], some[3 * N];
    scene_points(5, N, &points, &intensity);
    CHECK(sample(points, N, N, all) == N);
    for (size_t capacity = 1; capacity <= N + 1; capacity++) {
        size_t least = (N + capacity - 1) / capacity, stride = least | (least > 1),
               count = sample(points, N, capacity, some);
        CHECK(count == (N + stride - 1) / stride);
        for (size_t i = 0; i < count; i++)
            CHECK(memcmp(some + 3 * i, all + 3 * i * stride, 3 * sizeof *some) == 0);
    }
    free(points);
    free(intensity);
}

static void test_refusals(void) {
    const float point[3] = {1, 2, 3};
    int16_t beams[3] = {7, 7, 7};
    size_t count = 99;
    CHECK_CODE(octa_beams_sample(point, 1, 0, beams, &count), OCTA_E_DOMAIN);
    CHECK_CODE(octa_beams_sample(point, OCTA_MAX_POINTS + 1, 1, beams, &count), OCTA_E_DOMAIN);
    CHECK_CODE(octa_beams_sample(point, SIZE_MAX, 1, beams, &count), OCTA_E_DOMAIN);
    CHECK(beams[0] == 7 && beams[2] == 7 && count == 99);
}

void test_beams(void) {
    test_units();
    test_unusable();
    test_capacities();
    test_refusals();
}
