/* Poses: outputs may be inputs, and nothing is written when a call fails. */
#include "check.h"

#include <math.h>
#include <string.h>

static void check_near(const double *a, const double *b, int n) {
    for (int i = 0; i < n; i++)
        CHECK(fabs(a[i] - b[i]) < 1e-12);
}

static void test_aliases(void) {
    const double start[7] = {1, 2, 3, 0, 0, 0.6, 0.8}, end[7] = {2, 3, 5, 0, 0, -0.6, -0.8};
    double pose[7], matrix[12], inverse[12];
    memcpy(pose, start, sizeof pose);
    CHECK_OK(octa_pose_interpolate(pose, end, 0.5, pose));
    const double middle[7] = {1.5, 2.5, 4, 0, 0, 0.6, 0.8};
    check_near(pose, middle, 7);
    CHECK_OK(octa_pose_matrix(pose, matrix));
    CHECK_OK(octa_pose_invert(matrix, inverse));
    CHECK_OK(octa_pose_compose(matrix, inverse, inverse));
    const double identity[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    check_near(inverse, identity, 12);
    double again[12];
    memcpy(again, matrix, sizeof again);
    CHECK_OK(octa_pose_invert(again, again));
    CHECK_OK(octa_pose_invert(again, again));
    check_near(again, matrix, 12);
    CHECK_OK(octa_pose_vector(matrix, pose));
    check_near(pose, middle, 7);
}

/* Every turn comes back, whichever component of its quaternion is the largest. */
static void test_turns(void) {
    for (int axis = 0; axis < 3; axis++)
        for (int degrees = -175; degrees <= 175; degrees += 25) {
            const double half = degrees / 2.0 * 3.14159265358979323846 / 180.0;
            double pose[7] = {1, -2, 3, 0.1, 0.1, 0.1, cos(half)}, matrix[12], again[7];
            pose[3 + axis] = sin(half);
            double norm = 0.0;
            for (int i = 3; i < 7; i++)
                norm += pose[i] * pose[i];
            for (int i = 3; i < 7; i++)
                pose[i] /= sqrt(norm);
            CHECK_OK(octa_pose_matrix(pose, matrix));
            CHECK_OK(octa_pose_vector(matrix, again));
            CHECK(again[6] >= 0.0);
            check_near(again, pose, 7); /* cos of at most 90 degrees: w is not negative */
        }
}

static void test_refusals(void) {
    const double good[7] = {0, 0, 0, 0, 0, 0, 1}, zero[7] = {0}, far[7] = {1e308, INFINITY, 0, 0, 0, 0, 1};
    const double huge[7] = {0, 0, 0, 1e200, 0, 0, 0};
    const double mirror[12] = {-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0}, none[12] = {NAN};
    const double vast[12] = {1, 0, 0, 1.5e308, 0, 1, 0, 0, 0, 0, 1, 0};
    double out[12] = {9, 9};
    CHECK_CODE(octa_pose_interpolate(good, good, NAN, out), OCTA_E_DOMAIN);
    CHECK_CODE(octa_pose_interpolate(good, good, 1.0001, out), OCTA_E_DOMAIN);
    CHECK_CODE(octa_pose_interpolate(good, zero, 0.5, out), OCTA_E_POSE);
    CHECK_CODE(octa_pose_interpolate(far, good, 0.5, out), OCTA_E_POSE);
    CHECK_CODE(octa_pose_matrix(huge, out), OCTA_E_POSE);
    CHECK_CODE(octa_pose_vector(mirror, out), OCTA_E_POSE);
    CHECK_CODE(octa_pose_vector(none, out), OCTA_E_POSE);
    CHECK_CODE(octa_pose_compose(mirror, vast, out), OCTA_E_POSE);
    CHECK_CODE(octa_pose_compose(vast, vast, out), OCTA_E_POSE); /* the sum overflows */
    CHECK_CODE(octa_pose_invert(mirror, out), OCTA_E_POSE);
    CHECK(out[0] == 9 && out[1] == 9);
}

void test_pose(void) {
    test_aliases();
    test_turns();
    test_refusals();
}
