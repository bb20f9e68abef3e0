/* Which cells did the rays of a sweep see through: exact ray-cell tests behind the direction index.
 *
 * A cell asks the index for the rays inside its silhouette's bounding box on the faces of the cube and tests
 * those against the seven slabs of the truncated octahedron. */
#include "rays.h"

/* Counts the rays that see through one cell. */
typedef struct {
    const octa_rays *rays;
    octa_ray_query cell;
    uint32_t count;
} counter;

/* A ray saw through the cell if it crosses it and leaves it before its return, at 1. */
static void count_run(void *context, size_t begin, size_t end) {
    counter *c = context;
    for (size_t first = begin & ~(size_t)(OCTA_RAY_LANES - 1); first < end; first += OCTA_RAY_LANES) {
        const octa_ray_block *block = c->rays->blocks + first / OCTA_RAY_LANES;
        if (c->rays->reach[first / OCTA_RAY_LANES] < c->cell.reach)
            continue;
        for (size_t lane = 0; lane < OCTA_RAY_LANES; lane++) {
            float enter, leave;
            octa_crossing(block, lane, &c->cell.view, &enter, &leave);
            int listed = (first + lane >= begin) & (first + lane < end);
            c->count += (uint32_t)(listed & (enter < leave) & (leave < 1.0f));
        }
    }
}

#ifdef OCTA_HAVE_AVX2
/* The same for the eight rays of a block at once; one bit a ray. */
OCTA_AVX2 static OCTA_ALWAYS_INLINE unsigned crossing_bits(const octa_ray_block *block,
                                                           const octa_cell_view *cell, int outside) {
    __m256 enter, leave;
    octa_crossings_avx2(block, cell, outside, &enter, &leave);
    __m256 crossed = _mm256_cmp_ps(enter, leave, _CMP_LT_OQ);
    __m256 before = _mm256_cmp_ps(leave, _mm256_set1_ps(1.0f), _CMP_LT_OQ);
    return (unsigned)_mm256_movemask_ps(_mm256_and_ps(crossed, before));
}

/* Blocks [first, last], at most eight, with a ray long enough for the cell; one bit a block. */
OCTA_AVX2 static OCTA_ALWAYS_INLINE unsigned reaching_bits(const octa_rays *rays, size_t first, size_t last,
                                                           float reach) {
    __m256 reaches = _mm256_loadu_ps(rays->reach + first);
    unsigned bits = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(reaches, _mm256_set1_ps(reach), _CMP_GE_OQ));
    return last - first < 7 ? bits & ((2u << (last - first)) - 1) : bits;
}

OCTA_AVX2 static OCTA_ALWAYS_INLINE uint32_t count_in_blocks(const octa_rays *rays, size_t begin, size_t end,
                                                             const octa_ray_query *cell, int outside) {
    const size_t first = begin / OCTA_RAY_LANES, last = (end - 1) / OCTA_RAY_LANES;
    const unsigned head = 0xffu << begin % OCTA_RAY_LANES, tail = 0xffu >> (7 - (end - 1) % OCTA_RAY_LANES);
    uint32_t count = 0;
    for (size_t b = first; b <= last; b += 8)
        for (unsigned left = reaching_bits(rays, b, last, cell->reach); left; left &= left - 1) {
            size_t at = b + (size_t)__builtin_ctz(left);
            unsigned bits = crossing_bits(rays->blocks + at, &cell->view, outside);
            bits &= (at == first ? head : 0xffu) & (at == last ? tail : 0xffu);
            count += (uint32_t)__builtin_popcount(bits);
        }
    return count;
}

OCTA_AVX2 static OCTA_ALWAYS_INLINE void count_run_avx2(void *context, size_t begin, size_t end) {
    counter *c = context;
    c->count += c->cell.view.outside ? count_in_blocks(c->rays, begin, end, &c->cell, 1)
                                     : count_in_blocks(c->rays, begin, end, &c->cell, 0);
}
#endif

/* Compiled once for each way of counting. */
static OCTA_ALWAYS_INLINE void passes_of_cells(const octa_rays *rays, const uint64_t *ids, size_t m,
                                               uint32_t *passes, octa_run *count) {
    const octa_direction_index index = octa_rays_index(rays);
    counter c = {.rays = rays};
    for (size_t i = 0; i < m; i++) {
        int32_t site[3];
        octa_index64_unpack(ids[i], &site[0], &site[1], &site[2]);
        octa_query_cell(rays, site, &c.cell);
        c.count = 0;
        octa_each_run(&index, c.cell.view.center, count, &c);
        passes[i] = c.count;
    }
}

static void passes_portable(const octa_rays *rays, const uint64_t *ids, size_t m, uint32_t *passes) {
    passes_of_cells(rays, ids, m, passes, count_run);
}

#ifdef OCTA_HAVE_AVX2
OCTA_AVX2 static void passes_avx2(const octa_rays *rays, const uint64_t *ids, size_t m, uint32_t *passes) {
    passes_of_cells(rays, ids, m, passes, count_run_avx2);
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
#ifdef OCTA_HAVE_AVX2
    if (octa_has_avx2()) {
        passes_avx2(rays, ids, m, passes);
        return OCTA_OK;
    }
#endif
    passes_portable(rays, ids, m, passes);
    return OCTA_OK;
}
