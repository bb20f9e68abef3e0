/* The cells of regions, row by row.
 *
 * A block is the sites of an aligned cube, whose ids are consecutive: the map is the first, and each falls
 * into eight. A block outside the region is left, one within is listed at once, and of the smallest, a cube
 * of two sites, each is decided by itself. So a row's ids ascend, and the work grows with what bounds the
 * region. */
#include "region.h"

#include <string.h>

#define ROOT_BITS 16
#define SITES_PER_DIGIT                                                                                      \
    2 /* of the eight corners of a cube of edge 2 the all even and the all odd one are sites */
#define TRIES_PER_CELL 16 /* blocks looked at for a cell that may be listed, before the call gives up */
#define SPARE_TRIES 1000000

/* What a run makes. */
typedef struct {
    size_t count, capacity;
    uint64_t *ids;
    double *coverage; /* NULL unless asked for */
    size_t rows;
    uint64_t *offsets; /* rows + 1 */
} result;

struct octa_cover {
    double half_edge_m;
    uint64_t prefix;
    octa_cell_edges edges;
    octa_solid cell;
    result result;
};

/* ---- the handle */

octa_error octa_cover_new(const octa_grid *grid, octa_cover **out) {
    OCTA_TRY(octa_grid_check(grid));
    octa_cover *cover = OCTA_MALLOC(sizeof *cover);
    if (!cover)
        return OCTA_E_MEMORY;
    memset(cover, 0, sizeof *cover);
    cover->half_edge_m = grid->half_edge_m;
    cover->prefix = octa_index64_prefix(grid->frame, grid->tier, grid->lod);
    cover->edges = octa_cell_edges_of();
    octa_solid_cell(&cover->cell);
    *out = cover;
    return OCTA_OK;
}

static void free_result(result *r) {
    OCTA_FREE(r->ids);
    OCTA_FREE(r->coverage);
    OCTA_FREE(r->offsets);
}

void octa_cover_free(octa_cover *cover) {
    if (cover)
        free_result(&cover->result);
    OCTA_FREE(cover);
}

/* ---- one run */

typedef struct {
    const octa_cover *cover;
    octa_region region;
    int with_coverage;
    size_t max_cells, tries;
    result result;
} run;

static octa_error grow(run *r, size_t more) {
    result *out = &r->result;
    if (more > r->max_cells - out->count)
        return OCTA_E_CAPACITY;
    if (out->count + more <= out->capacity)
        return OCTA_OK;
    size_t capacity = out->capacity ? 2 * out->capacity : 256;
    while (capacity < out->count + more)
        capacity *= 2;
    uint64_t *ids = OCTA_REALLOC(out->ids, capacity * sizeof *ids);
    if (!ids)
        return OCTA_E_MEMORY;
    out->ids = ids;
    if (r->with_coverage) {
        double *coverage = OCTA_REALLOC(out->coverage, capacity * sizeof *coverage);
        if (!coverage)
            return OCTA_E_MEMORY;
        out->coverage = coverage;
    }
    out->capacity = capacity;
    return OCTA_OK;
}

static void site_at(const run *r, uint64_t id, double *site) {
    int32_t s[3];
    octa_index64_unpack(id, &s[0], &s[1], &s[2]);
    for (int axis = 0; axis < 3; axis++)
        site[axis] = (double)(s[axis] - r->region.anchor[axis]);
}

static void put(run *r, uint64_t id, int whole) {
    double site[3];
    if (r->with_coverage) {
        site_at(r, id, site);
        r->result.coverage[r->result.count] =
            whole ? 1.0 : octa_region_coverage(&r->region, &r->cover->cell, site);
    }
    r->result.ids[r->result.count++] = id;
}

/* All sites of a block. */
static octa_error put_all(run *r, uint64_t first, int bits, int whole) {
    const uint64_t digits = 1ull << 3 * (bits - 1);
    OCTA_TRY(grow(r, (size_t)(SITES_PER_DIGIT * digits)));
    for (uint64_t digit = 0; digit < digits; digit++) {
        put(r, first | digit << 3, whole);
        put(r, first | digit << 3 | 7, whole);
    }
    return OCTA_OK;
}

static octa_error put_if_held(run *r, uint64_t id) {
    double site[3];
    site_at(r, id, site);
    if (!octa_region_holds(&r->region, site))
        return OCTA_OK;
    OCTA_TRY(grow(r, 1));
    put(r, id, 0);
    return OCTA_OK;
}

/* Sites at first .. first + (2^bits)^3 of Morton order. */
static octa_error walk(run *r, uint64_t first, int bits) {
    double middle[3];
    const double half = (double)((1 << bits) - 1) / 2.0;
    if (r->tries-- == 0)
        return OCTA_E_CAPACITY;
    site_at(r, first, middle);
    for (int axis = 0; axis < 3; axis++)
        middle[axis] += half;
    const int known = octa_region_block(&r->region, middle, half);
    if (known == OCTA_BLOCK_OUT)
        return OCTA_OK;
    if (known == OCTA_BLOCK_WHOLE || (known == OCTA_BLOCK_IN && !r->with_coverage))
        return put_all(r, first, bits, known == OCTA_BLOCK_WHOLE);
    if (bits == 1) {
        OCTA_TRY(put_if_held(r, first));
        return put_if_held(r, first | 7);
    }
    for (uint64_t digit = 0; digit < OCTA_CHILDREN; digit++)
        OCTA_TRY(walk(r, first | digit << 3 * (bits - 1), bits - 1));
    return OCTA_OK;
}

static octa_error cover_all(run *r, uint32_t kind, const double *regions, size_t n, int intersects,
                            size_t *at) {
    const size_t values = octa_region_values(kind);
    r->result.offsets = OCTA_MALLOC((n + 1) * sizeof *r->result.offsets);
    if (!r->result.offsets)
        return OCTA_E_MEMORY;
    r->result.offsets[0] = 0;
    for (*at = 0; *at < n; ++*at) {
        OCTA_TRY(octa_region_prepare(&r->region, kind, regions + *at * values, r->cover->half_edge_m,
                                     intersects, &r->cover->edges));
        OCTA_TRY(walk(r, r->cover->prefix, ROOT_BITS));
        r->result.offsets[*at + 1] = r->result.count;
    }
    r->result.rows = n;
    return OCTA_OK;
}

octa_error octa_cover_run(octa_cover *cover, uint32_t kind, const double *regions, size_t n, uint32_t mode,
                          int with_coverage, size_t max_cells, size_t *cells, size_t *row) {
    if (kind >= OCTA_REGIONS || mode > OCTA_INTERSECTS || max_cells > OCTA_COVER_MAX_CELLS) {
        *row = n;
        return OCTA_E_DOMAIN;
    }
    run r = {.cover = cover, .with_coverage = with_coverage != 0, .max_cells = max_cells};
    r.tries = TRIES_PER_CELL * max_cells + SPARE_TRIES;
    const octa_error error = cover_all(&r, kind, regions, n, mode == OCTA_INTERSECTS, row);
    if (error != OCTA_OK) {
        free_result(&r.result);
        return error;
    }
    free_result(&cover->result);
    cover->result = r.result;
    *cells = cover->result.count;
    return OCTA_OK;
}

octa_error octa_cover_copy(const octa_cover *cover, size_t capacity, uint64_t *offsets, uint64_t *ids,
                           double *coverage) {
    const result *r = &cover->result;
    if (!r->offsets || (coverage && !r->coverage && r->count))
        return OCTA_E_DOMAIN;
    if (capacity < r->count)
        return OCTA_E_CAPACITY;
    memcpy(offsets, r->offsets, (r->rows + 1) * sizeof *offsets);
    if (r->count)
        memcpy(ids, r->ids, r->count * sizeof *ids);
    if (coverage && r->count)
        memcpy(coverage, r->coverage, r->count * sizeof *coverage);
    return OCTA_OK;
}
