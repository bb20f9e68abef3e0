/* Deskewing: points move by the pose at their time, unusable ones stay, and nothing is written on error. */
#include "check.h"

#include <math.h>
#include <string.h>

static const int32_t knot_ns[3] = {-100, 0, 300};
static const double poses[21] = {
    -1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0, -1, /* -q is the same rotation as q */
};

static void test_moves(void) {
    const float points[15] = {5, 6, 7, 5, 6, 7, 5, 6, 7, 0, 0, 0, NAN, 2, INFINITY};
    const int32_t offset_ns[5] = {300, -50, 100, 100, 100};
    const float expected[12] = {8, 6, 7, 4.5f, 6, 7, 6, 6, 7, 0, 0, 0};
    float out[15];
    CHECK_OK(octa_deskew(points, offset_ns, 5, knot_ns, poses, 3, out));
    CHECK(memcmp(out, expected, sizeof expected) == 0);
    CHECK(memcmp(out + 12, points + 12, 3 * sizeof *out) == 0);
    CHECK_OK(octa_deskew(points, offset_ns, 0, knot_ns, poses, 3, out));
}

static void test_refusals(void) {
    const float point[3] = {1, 2, 3};
    const int32_t early = -101, late = 301, now = 0, same[2] = {0, 0};
    const double far[14] = {0, 0, 0, 0, 0, 0, 1, 0, 1e300, 0, 0, 0, 0, 1};
    const double zero[14] = {0, 0, 0, 0, 0, 0, 1};
    float out[3] = {9, 9, 9};
    CHECK_CODE(octa_deskew(point, &early, 1, knot_ns, poses, 3, out), OCTA_E_DOMAIN);
    CHECK_CODE(octa_deskew(point, &late, 1, knot_ns, poses, 3, out), OCTA_E_DOMAIN);
    CHECK_CODE(octa_deskew(point, &now, 1, knot_ns, poses, 1, out), OCTA_E_DOMAIN);
    CHECK_CODE(octa_deskew(point, &now, 1, same, poses, 2, out), OCTA_E_ORDER);
    CHECK_CODE(octa_deskew(point, &now, 1, knot_ns, far, 2, out), OCTA_E_DOMAIN);
    CHECK_CODE(octa_deskew(point, &now, 1, knot_ns, zero, 2, out), OCTA_E_POSE);
    CHECK(out[0] == 9 && out[1] == 9 && out[2] == 9);
}

void test_deskew(void) {
    test_moves();
    test_refusals();
}
