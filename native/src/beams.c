/* A sample of a sweep's beams, small enough to keep with its record. */
#include "sensor.h"

#include <math.h>

#define BLOCK 64 /* points looked at or beams made side by side */

static inline int usable(const float *p) {
    return octa_point_valid(p) && (p[0] != 0.0f || p[1] != 0.0f || p[2] != 0.0f);
}

/* Values that alone make a point usable, whatever its other two valid ones are: the common case, looked at
 * without taking points apart. */
OCTA_HOT static int all_plain(const float *values, size_t n) {
    int plain = 1;
    for (size_t i = 0; i < n; i++)
        plain &= (values[i] >= -OCTA_MAX_COORDINATE_M) & (values[i] <= OCTA_MAX_COORDINATE_M) &
                 (values[i] != 0.0f);
    return plain;
}

static size_t count_usable(const float *points, size_t n) {
    size_t count = 0;
    for (size_t begin = 0; begin < n; begin += BLOCK) {
        const size_t end = begin + BLOCK < n ? begin + BLOCK : n;
        if (all_plain(points + 3 * begin, 3 * (end - begin))) {
            count += end - begin;
            continue;
        }
        for (size_t i = begin; i < end; i++)
            count += (size_t)usable(points + 3 * i);
    }
    return count;
}

/* Directions of n <= BLOCK returns. */
OCTA_HOT static void directions(const double (*p)[BLOCK], size_t n, int16_t *beams) {
    double length[BLOCK];
    for (size_t i = 0; i < BLOCK; i++)
        length[i] = sqrt(p[0][i] * p[0][i] + p[1][i] * p[1][i] + p[2][i] * p[2][i]);
    for (size_t axis = 0; axis < 3; axis++) {
        double share[BLOCK];
        for (size_t i = 0; i < BLOCK; i++)
            share[i] = floor(p[axis][i] / length[i] * OCTA_BEAM_ONE + 0.5);
        for (size_t i = 0; i < n; i++)
            beams[3 * i + axis] = (int16_t)share[i];
    }
}

octa_error octa_beams_sample(const float *points, size_t n, size_t capacity, int16_t *beams, size_t *count) {
    double chosen[3][BLOCK] = {{0}};
    size_t held = 0, seen = 0;
    if (n > OCTA_MAX_POINTS || capacity == 0)
        return OCTA_E_DOMAIN;
    const size_t valid = count_usable(points, n);
    /* Odd, since rings are mostly powers of two: an even stride would miss some in clouds stored by column.
     */
    const size_t least = valid ? (valid + capacity - 1) / capacity : 1, stride = least | (least > 1);
    *count = 0;
    for (size_t i = 0; i < n; i += valid == n ? stride : 1) {
        const float *p = points + 3 * i;
        if (valid < n && (!usable(p) || seen++ % stride))
            continue;
        for (int axis = 0; axis < 3; axis++)
            chosen[axis][held] = p[axis];
        if (++held < BLOCK)
            continue;
        directions((const double (*)[BLOCK])chosen, held, beams + 3 * *count);
        *count += held;
        held = 0;
    }
    directions((const double (*)[BLOCK])chosen, held, beams + 3 * *count);
    *count += held;
    return OCTA_OK;
}
