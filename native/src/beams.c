/* A sample of a sweep's beams, small enough to keep with its record. */
#include "sensor.h"

#include <math.h>

static inline int16_t to_share(double v) { return (int16_t)floor(v * OCTA_BEAM_ONE + 0.5); }

static int usable(const float *p) {
    return octa_point_valid(p) && (p[0] != 0.0f || p[1] != 0.0f || p[2] != 0.0f);
}

octa_error octa_beams_sample(const float *points, size_t n, size_t capacity, int16_t *beams, size_t *count) {
    size_t valid = 0, seen = 0;
    if (n > OCTA_MAX_POINTS || capacity == 0)
        return OCTA_E_DOMAIN;
    for (size_t i = 0; i < n; i++)
        valid += (size_t)usable(points + 3 * i);
    size_t stride = valid ? (valid + capacity - 1) / capacity : 1;
    *count = 0;
    for (size_t i = 0; i < n; i++) {
        const float *p = points + 3 * i;
        if (!usable(p) || seen++ % stride)
            continue;
        double x = p[0], y = p[1], z = p[2], length = sqrt(x * x + y * y + z * z);
        int16_t *b = beams + 3 * (*count)++;
        b[0] = to_share(x / length);
        b[1] = to_share(y / length);
        b[2] = to_share(z / length);
    }
    return OCTA_OK;
}
