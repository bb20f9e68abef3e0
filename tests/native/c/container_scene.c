#include "container_scene.h"

#include <string.h>

octa_container_options container_scene_options(void) {
    return (octa_container_options){
        .grid = scene_grid(),
        .levels = 3,
        .free_level = 1,
        .keep = 1,
        .max_records = 100,
        .max_rows = 100000,
        .columns = 4,
        .widths = {2, 1, 1, 2},
        .rules = {OCTA_RULE_SUM, OCTA_RULE_LEAST, OCTA_RULE_GREATEST, OCTA_RULE_LATEST}};
}

static uint32_t next(uint32_t *state, uint32_t below) {
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) % below;
}

static int compare_ids(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Ids of different sites within some half edges of the origin, ascending; returns how many. */
static size_t make_ids(uint32_t *state, const octa_grid *grid, uint8_t lod, int32_t reach, size_t n,
                       uint64_t *ids) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const int32_t odd = (int32_t)next(state, 2);
        int32_t site[3];
        for (int axis = 0; axis < 3; axis++)
            site[axis] = 2 * ((int32_t)next(state, (uint32_t)reach) - reach / 2) + odd;
        CHECK_OK(octa_index64_encode(site, 1, grid->frame, grid->tier, lod, &ids[i]));
    }
    qsort(ids, n, sizeof *ids, compare_ids);
    for (size_t i = 0; i < n; i++)
        if (!i || ids[i] != ids[i - 1])
            ids[count++] = ids[i];
    return count;
}

static void make_values(cell_record *r, const octa_container_options *options, uint32_t *state) {
    int64_t *value = r->values;
    for (uint32_t c = 0; c < options->columns; c++)
        for (size_t i = 0; i < r->rows.cells; i++) {
            const int none = next(state, 3) == 0;
            for (uint32_t k = 0; k < options->widths[c]; k++, value++) {
                static const int64_t neutral[] = {0, INT64_MAX, INT64_MIN, INT64_MIN};
                *value = none ? neutral[options->rules[c]] : (int64_t)next(state, 2001) - 1000;
                if (!none && options->rules[c] == OCTA_RULE_LATEST && k == 0)
                    *value = r->key.stamp_ns;
            }
        }
}

cell_record cell_record_of(const octa_container_options *options, uint32_t seed, int64_t stamp_ns,
                           uint64_t source, uint32_t part) {
    enum { N = 60, MOST_VALUES = 8 };
    uint32_t state = seed * 7919u + 17u;
    cell_record r = {.key = {stamp_ns, source, part},
                     .ids = scene_alloc(N * sizeof *r.ids),
                     .hits = scene_alloc(N * sizeof *r.hits),
                     .passes = scene_alloc(N * sizeof *r.passes),
                     .sums = scene_alloc(N * OCTA_SUMS * sizeof *r.sums),
                     .values = scene_alloc(N * MOST_VALUES * sizeof *r.values),
                     .free_ids = scene_alloc(N * sizeof *r.free_ids),
                     .free_passes = scene_alloc(N * sizeof *r.free_passes),
                     .free_misses = scene_alloc(N * sizeof *r.free_misses)};
    r.rows.cells = make_ids(&state, &options->grid, options->grid.lod, 12, N, r.ids);
    r.rows.free_cells = make_ids(&state, &options->grid, (uint8_t)(options->grid.lod - options->free_level),
                                 8, N / 2, r.free_ids);
    for (size_t i = 0; i < r.rows.cells; i++) {
        r.hits[i] = next(&state, 2) * next(&state, 30);
        r.passes[i] = next(&state, 2) * next(&state, 30);
        for (size_t k = 0; k < OCTA_SUMS; k++)
            r.sums[i * OCTA_SUMS + k] = ((int64_t)next(&state, 8193) - 4096) * (int64_t)r.hits[i];
    }
    for (size_t i = 0; i < r.rows.free_cells; i++) {
        r.free_passes[i] = next(&state, 3);
        r.free_misses[i] = next(&state, 3);
    }
    r.rows.ids = r.ids;
    r.rows.hits = r.hits;
    r.rows.passes = r.passes;
    r.rows.sums = r.sums;
    r.rows.values = r.values;
    r.rows.free_ids = r.free_ids;
    r.rows.free_passes = r.free_passes;
    r.rows.free_misses = r.free_misses;
    make_values(&r, options, &state);
    return r;
}

void cell_record_free(cell_record *r) {
    free(r->ids);
    free(r->hits);
    free(r->passes);
    free(r->sums);
    free(r->values);
    free(r->free_ids);
    free(r->free_passes);
    free(r->free_misses);
}

int64_t cell_offset_x(uint64_t id, uint8_t level) {
    int32_t site[3], above[3];
    uint64_t up = id;
    CHECK_OK(octa_index64_decode(&id, 1, site, NULL, NULL, NULL));
    for (uint8_t l = 0; l < level; l++)
        CHECK_OK(octa_index64_parent(&up, 1, &up));
    CHECK_OK(octa_index64_decode(&up, 1, above, NULL, NULL, NULL));
    return site[0] - (int64_t)above[0] * (1 << level);
}

container_state container_state_of(const octa_container *container, const octa_container_options *options,
                                   uint8_t level) {
    size_t width = 0;
    for (uint32_t c = 0; c < options->columns; c++)
        width += options->widths[c];
    const size_t n = octa_container_cells(container, level);
    container_state s = {.cells = n,
                         .ids = scene_alloc(n * sizeof *s.ids),
                         .hits = scene_alloc(n * sizeof *s.hits),
                         .passes = scene_alloc(n * sizeof *s.passes),
                         .free_passes = scene_alloc(n * sizeof *s.free_passes),
                         .free_misses = scene_alloc(n * sizeof *s.free_misses),
                         .sums = scene_alloc(n * OCTA_SUMS * sizeof *s.sums),
                         .values = scene_alloc(n * width * sizeof *s.values)};
    CHECK_OK(octa_container_copy(container, level, n, s.ids, s.hits, s.passes, s.free_passes, s.free_misses,
                                 s.sums, s.values));
    return s;
}

void container_state_free(container_state *s) {
    free(s->ids);
    free(s->hits);
    free(s->passes);
    free(s->free_passes);
    free(s->free_misses);
    free(s->sums);
    free(s->values);
}

void container_check_equal(const octa_container *a, const octa_container *b,
                           const octa_container_options *options) {
    CHECK(octa_container_records(a) == octa_container_records(b));
    for (uint8_t level = 0; level < options->levels; level++) {
        container_state x = container_state_of(a, options, level), y = container_state_of(b, options, level);
        const size_t n = x.cells;
        size_t width = 0;
        for (uint32_t c = 0; c < options->columns; c++)
            width += options->widths[c];
        CHECK(n == y.cells);
        CHECK(memcmp(x.ids, y.ids, n * sizeof *x.ids) == 0);
        CHECK(memcmp(x.hits, y.hits, n * sizeof *x.hits) == 0);
        CHECK(memcmp(x.passes, y.passes, n * sizeof *x.passes) == 0);
        CHECK(memcmp(x.free_passes, y.free_passes, n * sizeof *x.free_passes) == 0);
        CHECK(memcmp(x.free_misses, y.free_misses, n * sizeof *x.free_misses) == 0);
        CHECK(memcmp(x.sums, y.sums, n * OCTA_SUMS * sizeof *x.sums) == 0);
        CHECK(memcmp(x.values, y.values, n * width * sizeof *x.values) == 0);
        container_state_free(&x);
        container_state_free(&y);
    }
}

void container_check_valid(const octa_container *container) {
    const char *reason = "not set";
    const int valid = octa_container_validate(container, &reason);
    if (!valid)
        fprintf(stderr, "invalid container: %s\n", reason ? reason : "no reason given");
    CHECK(valid && reason == NULL);
}
