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

/* Relative, and far more than float32 rounding: only the tests may leave out a ray. */
#define SLACK 1e-5f

static inline float larger(float a, float b) { return a > b ? a : b; }
static inline float smaller(float a, float b) { return a < b ? a : b; }

/* A cell as the sensor sees it. A ray with inverse v meets a slab's planes p at p * v, in units of its
 * length. */
typedef struct {
    float center[3];
    /* Where the ray enters: the nearer plane, 0 (at once) for a slab that holds the sensor. */
    float near[OCTA_SLABS];
    /* Where it leaves: the larger of far * v and back * v. Both are the farther plane, unless the slab holds
     * the sensor: then the ray's sign chooses. */
    float far[OCTA_SLABS], back[OCTA_SLABS];
    int outside;    /* no slab holds the sensor: far and back are equal */
    float distance; /* along the axis where it is farthest */
    float reach;    /* squared length under which a ray surely ends before the cell */
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
        cell->near[slab] = larger(low, 0.0f) + smaller(high, 0.0f);
        cell->far[slab] = behind ? low : high;
        cell->back[slab] = ahead ? high : low;
        within += !(ahead | behind);
    }
    cell->outside = !within;
    cell->distance = larger(fabsf(c[0]), larger(fabsf(c[1]), fabsf(c[2])));
    /* The corners are sqrt(5/4) from the site; the rest is slack for rounding. */
    float nearest = sqrtf(c[0] * c[0] + c[1] * c[1] + c[2] * c[2]) * (1.0f - SLACK) - 1.2f;
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
                float far = larger(cell->far[slab] * v, cell->back[slab] * v);
                enter = larger(enter, near);
                leave = smaller(leave, far);
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

/* An interval of slopes, kept a little wider than computed, so that rounding never leaves out a ray. */
typedef struct {
    float low, high;
} interval;

/* Slopes under which [b - half, b + half] is seen at depths [near, far], 0 < near. */
static inline interval seen(float b, float half, float near, float far) {
    float low = b - half, high = b + half;
    return (interval){low / (low >= 0.0f ? far : near) - SLACK, high / (high >= 0.0f ? near : far) + SLACK};
}

/* Slopes of a cell's silhouette along one direction of a face. Seen along the other one the cell is an
 * octagon with corners at (+-1, +-1/2) and (+-1/2, +-1); its box would be up to a third wider. */
static inline interval silhouette(float b, float depth) {
    interval a = seen(b, 0.5f, depth - 1.0f, depth + 1.0f), c = seen(b, 1.0f, depth - 0.5f, depth + 0.5f);
    return (interval){smaller(a.low, c.low), larger(a.high, c.high)};
}

static inline int clip_bin(float slope, int bins) {
    return octa_slope_bin(slope < -1.0f ? -1.0f : slope > 1.0f ? 1.0f : slope, bins);
}

/* The bins of a face whose rays may cross the cell; 0 if there are none. */
static inline int face_box(int face, const cell_view *cell, octa_patch *box) {
    const uint8_t *axes = octa_face_axes[face];
    const float *center = cell->center;
    float depth = face & 1 ? -center[axes[0]] : center[axes[0]];
    /* On a face no coordinate exceeds the depth, so rays have at least this depth inside the cell. */
    float far = depth + 1.0f, near = cell->distance - 1.0f - SLACK * far;
    if (far <= 0.0f || near > far)
        return 0;
    float u = center[axes[1]], v = center[axes[2]];
    interval column = {-1.0f, 1.0f}, row = {-1.0f, 1.0f};
    /* Nearer, the rounding of the diagonal planes would count for more than the slack. */
    if (depth > 2.0f) {
        column = silhouette(u, depth);
        row = silhouette(v, depth);
    } else if (near > 1e-3f) {
        column = seen(u, 1.0f, near, far);
        row = seen(v, 1.0f, near, far);
    }
    if (column.low > 1.0f || column.high < -1.0f || row.low > 1.0f || row.high < -1.0f)
        return 0;
    box->first_column = clip_bin(column.low, OCTA_FACE_COLUMNS);
    box->last_column = clip_bin(column.high, OCTA_FACE_COLUMNS);
    box->first_row = face * OCTA_FACE_ROWS + clip_bin(row.low, OCTA_FACE_ROWS);
    box->last_row = face * OCTA_FACE_ROWS + clip_bin(row.high, OCTA_FACE_ROWS);
    return 1;
}

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
            if (!face_box(face, &cell, &box))
                continue;
            for (int row = box.first_row; row <= box.last_row; row++) {
                const uint32_t *start = rays->start + (size_t)row * OCTA_ROW_STRIDE;
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
