/* Which cells did the rays of a sweep see through: exact ray-cell tests behind the direction index.
 *
 * A cell asks the index for the rays inside its silhouette's bounding box on the faces of the cube and tests
 * those against the seven slabs of the truncated octahedron. */
#include "rays.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(OCTA_NO_DISPATCH)
#define OCTA_RAYS_AVX2
#include <immintrin.h>
#endif

#ifdef __GNUC__
#define ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE inline
#endif

/* A cell as the sensor sees it. A ray with inverse v meets a slab's planes p at p * v, in units of its
 * length. */
typedef struct {
    float center[3];
    /* Where the ray enters: the nearer plane, 0 (at once) for a slab that holds the sensor. */
    float near[OCTA_SLABS];
    /* Where it leaves: the larger of far * v and back * v. Both are the farther plane, unless the slab holds
     * the sensor: then the ray's sign chooses. */
    float far[OCTA_SLABS], back[OCTA_SLABS];
    int outside; /* no slab holds the sensor: far and back are equal */
    float reach; /* squared length under which a ray surely ends before the cell */
} cell_view;

static inline void view_cell(const octa_rays *rays, uint64_t id, cell_view *cell) {
    int32_t site[3];
    octa_index64_unpack(id, &site[0], &site[1], &site[2]);
    float *c = cell->center, along[OCTA_SLABS];
    for (int axis = 0; axis < 3; axis++)
        c[axis] = (float)(site[axis] - rays->sensor.site[axis]) - rays->sensor.origin[axis];
    octa_along_slabs(c, along);
    int within = 0;
    for (int slab = 0; slab < OCTA_SLABS; slab++) {
        float low = along[slab] - octa_slab_bound[slab], high = along[slab] + octa_slab_bound[slab];
        int ahead = low >= 0.0f, behind = high <= 0.0f;
        cell->near[slab] = octa_larger(low, 0.0f) + octa_smaller(high, 0.0f);
        cell->far[slab] = behind ? low : high;
        cell->back[slab] = ahead ? high : low;
        within += !(ahead | behind);
    }
    cell->outside = !within;
    /* The corners are sqrt(5/4) from the site; the rest is slack for rounding. */
    float nearest = sqrtf(c[0] * c[0] + c[1] * c[1] + c[2] * c[2]) * (1.0f - OCTA_SLACK) - 1.2f;
    cell->reach = nearest > 0.0f ? nearest * nearest : 0.0f;
}

/* A ray crosses if it enters the cell before it leaves it, and leaves it before its return, at 1. One that
 * points away from a slab meets the farther plane first, at a negative place, and so fails. */
static uint32_t count_crossings(const octa_rays *rays, size_t begin, size_t end, const cell_view *cell) {
    uint32_t count = 0;
    for (size_t first = begin & ~(size_t)(OCTA_RAY_LANES - 1); first < end; first += OCTA_RAY_LANES) {
        const octa_ray_block *block = rays->blocks + first / OCTA_RAY_LANES;
        if (rays->reach[first / OCTA_RAY_LANES] < cell->reach)
            continue;
        for (size_t lane = 0; lane < OCTA_RAY_LANES; lane++) {
            float enter = 0.0f, leave = INFINITY;
            for (size_t slab = 0; slab < OCTA_SLABS; slab++) {
                float v = block->inverse[slab][lane], near = cell->near[slab] * v;
                float far = octa_larger(cell->far[slab] * v, cell->back[slab] * v);
                enter = octa_larger(enter, near);
                leave = octa_smaller(leave, far);
            }
            int listed = (first + lane >= begin) & (first + lane < end);
            count += (uint32_t)(listed & (enter < leave) & (leave < 1.0f));
        }
    }
    return count;
}

#ifdef OCTA_RAYS_AVX2
#define AVX2 __attribute__((target("avx2,popcnt")))

/* The same for the eight rays of a block at once; one bit a ray. */
AVX2 static ALWAYS_INLINE unsigned crossing_bits(const octa_ray_block *block, const cell_view *cell,
                                                 int outside) {
    __m256 enter = _mm256_setzero_ps(), leave = _mm256_set1_ps(1.0f);
    for (size_t slab = 0; slab < OCTA_SLABS; slab++) {
        __m256 v = _mm256_loadu_ps(block->inverse[slab]);
        __m256 far = _mm256_mul_ps(v, _mm256_set1_ps(cell->far[slab]));
        if (!outside)
            far = _mm256_max_ps(far, _mm256_mul_ps(v, _mm256_set1_ps(cell->back[slab])));
        enter = _mm256_max_ps(enter, _mm256_mul_ps(v, _mm256_set1_ps(cell->near[slab])));
        leave = slab ? _mm256_min_ps(leave, far) : far;
    }
    __m256 crossed = _mm256_cmp_ps(enter, leave, _CMP_LT_OQ);
    __m256 before = _mm256_cmp_ps(leave, _mm256_set1_ps(1.0f), _CMP_LT_OQ);
    return (unsigned)_mm256_movemask_ps(_mm256_and_ps(crossed, before));
}

/* Blocks [first, last], at most eight, with a ray long enough for the cell; one bit a block. */
AVX2 static ALWAYS_INLINE unsigned reaching_bits(const octa_rays *rays, size_t first, size_t last,
                                                 float reach) {
    __m256 reaches = _mm256_loadu_ps(rays->reach + first);
    unsigned bits = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(reaches, _mm256_set1_ps(reach), _CMP_GE_OQ));
    return last - first < 7 ? bits & ((2u << (last - first)) - 1) : bits;
}

AVX2 static ALWAYS_INLINE uint32_t count_in_blocks(const octa_rays *rays, size_t begin, size_t end,
                                                   const cell_view *cell, int outside) {
    if (begin == end)
        return 0;
    const size_t first = begin / OCTA_RAY_LANES, last = (end - 1) / OCTA_RAY_LANES;
    const unsigned head = 0xffu << begin % OCTA_RAY_LANES, tail = 0xffu >> (7 - (end - 1) % OCTA_RAY_LANES);
    uint32_t count = 0;
    for (size_t b = first; b <= last; b += 8)
        for (unsigned left = reaching_bits(rays, b, last, cell->reach); left; left &= left - 1) {
            size_t at = b + (size_t)__builtin_ctz(left);
            unsigned bits = crossing_bits(rays->blocks + at, cell, outside);
            bits &= (at == first ? head : 0xffu) & (at == last ? tail : 0xffu);
            count += (uint32_t)__builtin_popcount(bits);
        }
    return count;
}

AVX2 static ALWAYS_INLINE uint32_t count_crossings_avx2(const octa_rays *rays, size_t begin, size_t end,
                                                        const cell_view *cell) {
    return cell->outside ? count_in_blocks(rays, begin, end, cell, 1)
                         : count_in_blocks(rays, begin, end, cell, 0);
}
#endif

typedef uint32_t count_function(const octa_rays *, size_t, size_t, const cell_view *);

/* Compiled once for each way of counting. */
static ALWAYS_INLINE void passes_of_cells(const octa_rays *rays, const uint64_t *ids, size_t m,
                                          uint32_t *passes, count_function *count) {
    for (size_t i = 0; i < m; i++) {
        cell_view cell;
        octa_patch box;
        uint32_t sum = 0;
        view_cell(rays, ids[i], &cell);
        for (int face = 0; face < OCTA_FACES; face++) {
            if (!octa_face_patch(face, cell.center, OCTA_FACE_ROWS, OCTA_FACE_COLUMNS, &box))
                continue;
            for (int row = box.first_row; row <= box.last_row; row++) {
                const uint32_t *start = rays->start + (size_t)(face * OCTA_FACE_ROWS + row) * OCTA_ROW_STRIDE;
                sum += count(rays, start[box.first_column], start[box.last_column + 1], &cell);
            }
        }
        passes[i] = sum;
    }
}

static void passes_portable(const octa_rays *rays, const uint64_t *ids, size_t m, uint32_t *passes) {
    passes_of_cells(rays, ids, m, passes, count_crossings);
}

#ifdef OCTA_RAYS_AVX2
AVX2 static void passes_avx2(const octa_rays *rays, const uint64_t *ids, size_t m, uint32_t *passes) {
    passes_of_cells(rays, ids, m, passes, count_crossings_avx2);
}
#endif

static octa_error check_cells(const octa_rays *rays, const uint64_t *ids, size_t m) {
    const uint64_t prefix = octa_index64_prefix(rays->grid.frame, rays->grid.tier, rays->grid.lod);
    for (size_t i = 0; i < m; i++)
        OCTA_TRY(octa_index64_check(ids[i], prefix));
    return OCTA_OK;
}

octa_error octa_rays_passes(const octa_rays *rays, const uint64_t *ids, size_t m, uint32_t *passes) {
    OCTA_TRY(check_cells(rays, ids, m));
#ifdef OCTA_RAYS_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt")) {
        passes_avx2(rays, ids, m, passes);
        return OCTA_OK;
    }
#endif
    passes_portable(rays, ids, m, passes);
    return OCTA_OK;
}
