/* Which coarse cells did the rays of a sweep see through: a coarse cell is the union of its finest cells,
 * since those decide which returns fall into it. Its nominal site is off-centre, and the nominal truncated
 * octahedron about it holds only part of the union. */
#include "rays.h"

#include <string.h>

#define LEVELS_MAX 6
#define STAMP_ONE (1ull << 16)

/* What the rays did in the cells of one union that were looked at so far. A word a block of rays: the union's
 * stamp, then a bit a ray for having passed a cell, then for ending in one; an old stamp means none did. */
typedef struct {
    const octa_rays *rays;
    uint64_t *blocks;
    uint64_t stamp;  /* a multiple of STAMP_ONE */
    uint32_t passes; /* rays that passed and did not end */
} survey;

static inline int pass_count(uint64_t bits) { return __builtin_popcountll(bits >> 8 & ~bits & 0xff); }

static inline void note(survey *s, size_t block, uint64_t bits) {
    const uint64_t old = s->blocks[block], known = old - s->stamp < STAMP_ONE ? old : s->stamp;
    s->blocks[block] = known | bits;
    s->passes += (uint32_t)(pass_count(known | bits) - pass_count(known));
}

/* Rays of a block that cross the cell: 8 bits of those that leave it before their return, 8 of those that end
 * in it. */
static inline uint64_t crossing_bits(const octa_ray_block *block, const octa_cell_view *cell) {
    float enter[OCTA_RAY_LANES] = {0}, leave[OCTA_RAY_LANES];
    for (size_t lane = 0; lane < OCTA_RAY_LANES; lane++)
        leave[lane] = INFINITY;
    for (size_t slab = 0; slab < OCTA_SLABS; slab++)
        for (size_t lane = 0; lane < OCTA_RAY_LANES; lane++) {
            const float v = block->inverse[slab][lane];
            enter[lane] = octa_larger(enter[lane], cell->near[slab] * v);
            leave[lane] = octa_smaller(leave[lane], octa_larger(cell->far[slab] * v, cell->back[slab] * v));
        }
    uint64_t bits = 0;
    for (size_t lane = 0; lane < OCTA_RAY_LANES; lane++) {
        const uint64_t crossed = enter[lane] < leave[lane] && enter[lane] < 1.0f;
        bits |= crossed << (leave[lane] < 1.0f ? 8 + lane : lane);
    }
    return bits;
}

/* One finest cell of the union. */
typedef struct {
    survey *survey;
    octa_ray_query cell;
} visit;

static inline void note_run(void *context, size_t begin, size_t end) {
    const visit *v = context;
    const octa_rays *rays = v->survey->rays;
    for (size_t first = begin & ~(size_t)(OCTA_RAY_LANES - 1); first < end; first += OCTA_RAY_LANES) {
        const size_t block = first / OCTA_RAY_LANES;
        if (rays->reach[block] < v->cell.reach)
            continue;
        uint64_t listed = 0xff;
        if (first < begin)
            listed &= 0xffu << (begin - first);
        if (end - first < OCTA_RAY_LANES)
            listed &= 0xffu >> (OCTA_RAY_LANES - (end - first));
        const uint64_t bits = crossing_bits(rays->blocks + block, &v->cell.view) & (listed | listed << 8);
        if (bits)
            note(v->survey, block, bits);
    }
}

OCTA_HOT static void note_cell(survey *s, const int32_t *site) {
    const octa_direction_index index = octa_rays_index(s->rays);
    visit v = {.survey = s};
    octa_query_cell(s->rays, site, &v.cell);
    octa_each_run(&index, v.cell.view.center, note_run, &v);
}

/* Sites that have no id hold no returns either. */
static void note_union(survey *s, const int32_t *site, int levels) {
    if (levels == 0) {
        if (octa_in_range(site[0], site[1], site[2]))
            note_cell(s, site);
        return;
    }
    int32_t children[OCTA_CHILDREN][3];
    (void)octa_lattice_children(site, 1, &children[0][0]); /* at most 2^(16 + LEVELS_MAX) */
    for (int child = 0; child < OCTA_CHILDREN; child++)
        note_union(s, children[child], levels - 1);
}

static int levels_of(const octa_grid *grid, uint64_t id) { return grid->lod - (int)(id >> 48 & 15u); }

static octa_error check_coarse(const octa_grid *grid, const uint64_t *ids, size_t m) {
    for (size_t i = 0; i < m; i++) {
        const uint8_t lod = (uint8_t)(ids[i] >> 48 & 15u);
        OCTA_TRY(octa_index64_check(ids[i], octa_index64_prefix(grid->frame, grid->tier, lod)));
        if (levels_of(grid, ids[i]) < 0 || levels_of(grid, ids[i]) > LEVELS_MAX)
            return OCTA_E_LOD;
    }
    return OCTA_OK;
}

octa_error octa_rays_coarse_passes(const octa_rays *rays, const uint64_t *ids, size_t m, uint32_t *passes) {
    OCTA_TRY(check_coarse(&rays->grid, ids, m));
    const size_t blocks = rays->n / OCTA_RAY_LANES + 1;
    survey s = {rays, OCTA_MALLOC(blocks * sizeof *s.blocks), 0, 0};
    if (!s.blocks)
        return OCTA_E_MEMORY;
    memset(s.blocks, 0, blocks * sizeof *s.blocks);
    for (size_t i = 0; i < m; i++) {
        int32_t site[3];
        octa_index64_unpack(ids[i], &site[0], &site[1], &site[2]);
        s.stamp += STAMP_ONE;
        s.passes = 0;
        note_union(&s, site, levels_of(&rays->grid, ids[i]));
        passes[i] = s.passes;
    }
    OCTA_FREE(s.blocks);
    return OCTA_OK;
}
