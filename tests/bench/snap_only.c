/* What binning cannot be faster than: reading every point and its intensity, moving the point to the map and
 * finding its site, and nothing else. Compiled by roofline.py with the flags of the core. */
#include "pointblock_avx2.c"

#include <math.h>

#define BLOCK 512

static inline float half_up(float x) {
    float whole = floorf(x);
    return x - whole >= 0.5f ? whole + 1.0f : whole;
}

static inline int32_t nearest(float local, float *offset) {
    float even = 2.0f * half_up(0.5f * local);
    *offset = local - even;
    return (int32_t)even;
}

/* Plain C, vectorised by the compiler; keys go to a block that stays in the first-level cache. */
OCTA_HOT static uint64_t snap_plain(const octa_sensor *s, const float *points, const float *intensity,
                                    size_t n) {
    uint64_t keys[BLOCK], check = 0;
    for (size_t begin = 0; begin < n; begin += BLOCK) {
        const size_t size = n - begin < BLOCK ? n - begin : BLOCK;
        for (size_t i = 0; i < size; i++) {
            const float *p = points + 3 * (begin + i);
            float offset[3];
            int32_t site[3];
            for (int axis = 0; axis < 3; axis++) {
                const float *m = s->rotation[axis];
                site[axis] =
                    nearest(m[0] * p[0] + m[1] * p[1] + m[2] * p[2] + s->origin[axis], offset + axis);
            }
            int32_t odd = fabsf(offset[0]) + fabsf(offset[1]) + fabsf(offset[2]) > 1.5f;
            for (int axis = 0; axis < 3; axis++)
                site[axis] += offset[axis] >= 0.0f ? odd : -odd;
            keys[i] = (uint64_t)(uint16_t)site[0] | (uint64_t)(uint16_t)site[1] << 16 |
                      (uint64_t)(uint16_t)site[2] << 32 | (uint64_t)(intensity[begin + i] > 0.5f) << 48;
        }
        __asm__ volatile("" : : "r"(keys) : "memory");
        check ^= keys[size / 2];
    }
    return check;
}

#ifdef OCTA_HAVE_AVX2
/* The core's own AVX2 snap, without range, counts and sums. */
OCTA_AVX2 static uint64_t snap_core(const octa_snap *snap, const float *points, const float *intensity, size_t n) {
    _Alignas(64) uint32_t low[BLOCK], high[BLOCK];
    const wide w = spread(snap);
    uint64_t check = 0;
    for (size_t begin = 0; begin + BLOCK <= n; begin += BLOCK) {
        for (size_t i = 0; i < BLOCK; i += GROUP) {
            vector3 offset;
            site3 site = snap_points(&w, load_points(points + 3 * (begin + i)), &offset);
            __m256i bright = _mm256_castps_si256(
                _mm256_cmp_ps(_mm256_loadu_ps(intensity + begin + i), _mm256_set1_ps(0.5f), _CMP_GT_OQ));
            _mm256_store_si256((__m256i *)(void *)(low + i),
                               _mm256_or_si256(site.x, _mm256_slli_epi32(site.y, 16)));
            _mm256_store_si256((__m256i *)(void *)(high + i), _mm256_xor_si256(site.z, bright));
        }
        __asm__ volatile("" : : "r"(low), "r"(high) : "memory");
        check ^= low[BLOCK / 2];
    }
    return check;
}
#endif

static uint64_t read_all(const float *points, const float *intensity, size_t n) {
    uint64_t sum = 0;
    const uint64_t *from = (const uint64_t *)(const void *)points;
    for (size_t i = 0; i < 3 * n / 2; i++)
        sum += from[i];
    from = (const uint64_t *)(const void *)intensity;
    for (size_t i = 0; i < n / 2; i++)
        sum += from[i];
    return sum;
}

/** way: 0 plain C, 1 the core's AVX2 code, 2 reading alone.  @return -1 if this machine or pose has no such
 * way */
__attribute__((visibility("default"))) int snap_only(int way, const octa_grid *grid, const float *points,
                                                     const float *intensity, size_t n, const double *pose,
                                                     uint64_t *check) {
    octa_snap snap = {.range2_max = 1e9f, .full = 1.0f};
    if (octa_sensor_at(grid, pose, &snap.sensor))
        return -1;
    *check = 0;
    if (way == 0)
        *check = snap_plain(&snap.sensor, points, intensity, n);
    else if (way == 2)
        *check = read_all(points, intensity, n);
#ifdef OCTA_HAVE_AVX2
    else if (way == 1 && octa_block_kernel_here() == &octa_block_avx2)
        *check = snap_core(&snap, points, intensity, n);
#endif
    else
        return -1;
    return 0;
}
