/* Rigid transforms as vectors (translation, quaternion x y z w) and as 3 x 4 matrices.
 *
 * Only + - * / and sqrt in a fixed order: equal bits on every machine. All functions allow out to be an
 * input. */
#include "internal.h"

#include <math.h>
#include <string.h>

#define TOLERANCE 1e-3

static int all_finite(const double *values, int n) {
    for (int i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return 0;
    return 1;
}

static inline double dot4(const double *a, const double *b) {
    return ((a[0] * b[0] + a[1] * b[1]) + a[2] * b[2]) + a[3] * b[3];
}

static octa_error check_vector(const double *pose) {
    if (!all_finite(pose, 7))
        return OCTA_E_POSE;
    double norm = sqrt(dot4(pose + 3, pose + 3));
    return fabs(norm - 1.0) <= TOLERANCE ? OCTA_OK : OCTA_E_POSE;
}

static double column_dot(const double *m, int i, int j) {
    return (m[i] * m[j] + m[4 + i] * m[4 + j]) + m[8 + i] * m[8 + j];
}

static double determinant(const double *m) {
    return (m[0] * (m[5] * m[10] - m[6] * m[9]) - m[1] * (m[4] * m[10] - m[6] * m[8])) +
           m[2] * (m[4] * m[9] - m[5] * m[8]);
}

octa_error octa_pose_check(const double *matrix) {
    if (!all_finite(matrix, 12))
        return OCTA_E_POSE;
    for (int i = 0; i < 3; i++)
        for (int j = i; j < 3; j++)
            if (!(fabs(column_dot(matrix, i, j) - (i == j)) <= TOLERANCE))
                return OCTA_E_POSE;
    return determinant(matrix) > 0.0 ? OCTA_OK : OCTA_E_POSE;
}

static void normalise(double *q) {
    double norm = sqrt(dot4(q, q));
    for (int i = 0; i < 4; i++)
        q[i] /= norm;
}

octa_error octa_pose_interpolate(const double *a, const double *b, double u, double *out) {
    if (!(u >= 0.0 && u <= 1.0))
        return OCTA_E_DOMAIN;
    OCTA_TRY(check_vector(a));
    OCTA_TRY(check_vector(b));
    double v = 1.0 - u;
    double sign = dot4(a + 3, b + 3) < 0.0 ? -1.0 : 1.0;
    double pose[7];
    for (int i = 0; i < 3; i++) /* equal ends stay as they are: a robot at rest does not tremble */
        pose[i] = a[i] == b[i] ? a[i] : a[i] * v + b[i] * u;
    for (int i = 3; i < 7; i++)
        pose[i] = a[i] * v + sign * b[i] * u;
    normalise(pose + 3);
    memcpy(out, pose, sizeof pose);
    return OCTA_OK;
}

octa_error octa_pose_matrix(const double *pose, double *out) {
    OCTA_TRY(check_vector(pose));
    const double x = pose[3], y = pose[4], z = pose[5], w = pose[6];
    const double s =
        2.0 / dot4(pose + 3, pose + 3); /* a rotation also for a quaternion that is a little off */
    const double matrix[12] = {
        1.0 - s * (y * y + z * z), s * (x * y - z * w),       s * (x * z + y * w),       pose[0],
        s * (x * y + z * w),       1.0 - s * (x * x + z * z), s * (y * z - x * w),       pose[1],
        s * (x * z - y * w),       s * (y * z + x * w),       1.0 - s * (x * x + y * y), pose[2],
    };
    memcpy(out, matrix, sizeof matrix);
    return OCTA_OK;
}

/* Shepperd's method: divide by the largest component, so nothing cancels. */
static void quaternion(const double *m, double *q) {
    const double trace = m[0] + m[5] + m[10];
    if (trace > m[0] && trace > m[5] && trace > m[10]) {
        q[0] = m[9] - m[6];
        q[1] = m[2] - m[8];
        q[2] = m[4] - m[1];
        q[3] = 1.0 + trace;
    } else {
        const int i = m[0] >= m[5] && m[0] >= m[10] ? 0 : m[5] >= m[10] ? 1 : 2;
        const int j = (i + 1) % 3, k = (i + 2) % 3;
        q[i] = 1.0 + m[5 * i] - m[5 * j] - m[5 * k];
        q[j] = m[4 * i + j] + m[4 * j + i];
        q[k] = m[4 * i + k] + m[4 * k + i];
        q[3] = m[4 * k + j] - m[4 * j + k];
    }
    normalise(q);
    if (q[3] < 0.0)
        for (int i = 0; i < 4; i++)
            q[i] = -q[i];
}

octa_error octa_pose_vector(const double *matrix, double *out) {
    OCTA_TRY(octa_pose_check(matrix));
    double pose[7] = {matrix[3], matrix[7], matrix[11], 0.0, 0.0, 0.0, 0.0};
    quaternion(matrix, pose + 3);
    memcpy(out, pose, sizeof pose);
    return OCTA_OK;
}

octa_error octa_pose_compose(const double *a, const double *b, double *out) {
    OCTA_TRY(octa_pose_check(a));
    OCTA_TRY(octa_pose_check(b));
    double matrix[12];
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 4; j++) {
            double sum = (a[4 * i] * b[j] + a[4 * i + 1] * b[4 + j]) + a[4 * i + 2] * b[8 + j];
            matrix[4 * i + j] = j == 3 ? sum + a[4 * i + 3] : sum;
        }
    OCTA_TRY(octa_pose_check(matrix)); /* two transforms a little off may add up to one that is too far off */
    memcpy(out, matrix, sizeof matrix);
    return OCTA_OK;
}

octa_error octa_pose_invert(const double *a, double *out) {
    OCTA_TRY(octa_pose_check(a));
    double matrix[12];
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++)
            matrix[4 * i + j] = a[4 * j + i];
        matrix[4 * i + 3] = -((a[i] * a[3] + a[4 + i] * a[7]) + a[8 + i] * a[11]);
    }
    OCTA_TRY(octa_pose_check(matrix));
    memcpy(out, matrix, sizeof matrix);
    return OCTA_OK;
}
