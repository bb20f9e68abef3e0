/* Points of a moving sensor, brought to where it was at the sweep's stamp.
 *
 * Only + - * / in a fixed order: equal bits on every machine and on every dispatch path. */
#include "sensor.h"

#include <math.h>
#include <string.h>

#define MAX_MOTION_M 10000.0

/* The motion between two knots: translation and quaternion at both, the quaternions on one side. */
typedef struct {
    int32_t begin;
    double length;
    double from[7], to[7];
} stretch;

static void enter(const int32_t *knot_ns, const double *poses, size_t knot, stretch *out) {
    const double *a = poses + 7 * knot, *b = a + 7;
    const double dot = ((a[3] * b[3] + a[4] * b[4]) + a[5] * b[5]) + a[6] * b[6];
    out->begin = knot_ns[knot];
    out->length = (double)knot_ns[knot + 1] - (double)knot_ns[knot];
    memcpy(out->from, a, sizeof out->from);
    memcpy(out->to, b, sizeof out->to);
    for (int i = 3; i < 7; i++)
        out->to[i] = dot < 0.0 ? -b[i] : b[i];
}

/* Points whose times lie in one stretch. The matrix of a quaternion that is not of unit length is that of the
 * normalised one, so no square root is needed. */
OCTA_HOT static void move(const stretch *s, const float *restrict points, const int32_t *restrict offset_ns,
                          size_t n, float *restrict out) {
    for (size_t i = 0; i < n; i++) {
        const float *p = points + 3 * i;
        const double u = ((double)offset_ns[i] - (double)s->begin) / s->length, v = 1.0 - u;
        double c[7];
        for (int k = 0; k < 7; k++)
            c[k] = s->from[k] * v + s->to[k] * u;
        const double x = c[3], y = c[4], z = c[5], w = c[6];
        const double s2 = 2.0 / (((x * x + y * y) + z * z) + w * w);
        const double r[9] = {
            1.0 - s2 * (y * y + z * z), s2 * (x * y - z * w),       s2 * (x * z + y * w),
            s2 * (x * y + z * w),       1.0 - s2 * (x * x + z * z), s2 * (y * z - x * w),
            s2 * (x * z - y * w),       s2 * (y * z + x * w),       1.0 - s2 * (x * x + y * y),
        };
        const double px = p[0], py = p[1], pz = p[2];
        const double qx = (r[0] * px + r[1] * py) + r[2] * pz;
        const double qy = (r[3] * px + r[4] * py) + r[5] * pz;
        const double qz = (r[6] * px + r[7] * py) + r[8] * pz;
        /* The origin stands for a beam without an answer: it has no direction, and gets none. */
        const int usable = octa_point_valid(p) & ((p[0] != 0.0f) | (p[1] != 0.0f) | (p[2] != 0.0f));
        out[3 * i] = usable ? (float)(qx + c[0]) : p[0];
        out[3 * i + 1] = usable ? (float)(qy + c[1]) : p[1];
        out[3 * i + 2] = usable ? (float)(qz + c[2]) : p[2];
    }
}

static octa_error check_knots(const int32_t *knot_ns, const double *poses, size_t knots) {
    if (knots < 2)
        return OCTA_E_DOMAIN;
    for (size_t k = 0; k < knots; k++) {
        double matrix[12];
        if (k > 0 && knot_ns[k] <= knot_ns[k - 1])
            return OCTA_E_ORDER;
        OCTA_TRY(octa_pose_matrix(poses + 7 * k, matrix));
        for (int axis = 0; axis < 3; axis++)
            if (fabs(poses[7 * k + (size_t)axis]) > MAX_MOTION_M)
                return OCTA_E_DOMAIN;
    }
    return OCTA_OK;
}

static int all_within(const int32_t *offset_ns, size_t n, int32_t first, int32_t last) {
    int within = 1;
    for (size_t i = 0; i < n; i++)
        within &= (offset_ns[i] >= first) & (offset_ns[i] <= last);
    return within;
}

octa_error octa_deskew(const float *points, const int32_t *offset_ns, size_t n, const int32_t *knot_ns,
                       const double *poses, size_t knots, float *out) {
    OCTA_TRY(check_knots(knot_ns, poses, knots));
    if (!all_within(offset_ns, n, knot_ns[0], knot_ns[knots - 1]))
        return OCTA_E_DOMAIN;
    /* Points come by time, or by time within each ring, so most runs of one stretch are long. */
    size_t knot = 0;
    stretch s;
    enter(knot_ns, poses, knot, &s);
    for (size_t begin = 0, end; begin < n; begin = end) {
        const int32_t t = offset_ns[begin];
        const size_t before = knot;
        while (knot > 0 && t < knot_ns[knot])
            knot--;
        while (knot + 2 < knots && t >= knot_ns[knot + 1])
            knot++;
        if (knot != before)
            enter(knot_ns, poses, knot, &s);
        const int32_t low = knot_ns[knot], high = knot_ns[knot + 1];
        const int last = knot + 2 == knots;
        for (end = begin + 1; end < n && offset_ns[end] >= low && (offset_ns[end] < high || last); end++)
            ;
        move(&s, points + 3 * begin, offset_ns + begin, end - begin, out + 3 * begin);
    }
    return OCTA_OK;
}
