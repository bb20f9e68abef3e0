/* Logarithm and exponential of float32 by + - * / and comparisons alone, so that they vectorise and give the
 * same bits on every machine; relative errors stay within a few units of the last place. */
#ifndef OCTA_FUNCTIONS_H
#define OCTA_FUNCTIONS_H

#include <stdint.h>
#include <string.h>

#define OCTA_LN2 0.693147180559945f

/* log(1 + x), 0 <= x < 2^127: with 1 + x = m 2^e and s = (m - 1) / (m + 1), log m = 2 atanh s. The last term
 * is what the rounding of 1 + x left out. */
static inline float octa_log1p(float x) {
    float whole = 1.0f + x, m;
    int32_t bits;
    memcpy(&bits, &whole, sizeof bits);
    int32_t e = (bits >> 23) - 127, mantissa = (bits & 0x7fffff) | 0x3f800000;
    memcpy(&m, &mantissa, sizeof m);
    const int high = m > 1.41421356f;
    m = high ? 0.5f * m : m;
    e += high;
    const float s = (m - 1.0f) / (m + 1.0f), q = s * s;
    const float series = 1.0f + q * (1.0f / 3 + q * (1.0f / 5 + q * (1.0f / 7 + q * (1.0f / 9))));
    return (float)e * OCTA_LN2 + (2.0f * s * series + (x - (whole - 1.0f)) / whole);
}

/* exp(-x), x >= 0: 2^-n times the series of exp at what is left, within ln 2 / 2 of 0. */
static inline float octa_exp_minus(float x) {
    const float capped = x < 80.0f ? x : 80.0f;
    const int32_t n = (int32_t)(capped * (1.0f / OCTA_LN2) + 0.5f);
    const float r = (float)n * OCTA_LN2 - capped;
    /* In an order that leaves little to wait for. */
    const float r2 = r * r, low = 1.0f + r, middle = 1.0f / 2 + r * (1.0f / 6),
                high = 1.0f / 24 + (r * (1.0f / 120) + r2 * (1.0f / 720));
    const float series = low + r2 * (middle + r2 * high);
    const int32_t bits = (127 - n) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale * series;
}

#endif
