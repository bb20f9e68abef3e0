/* Points to cells: transform, snap, aggregate. */
#include "cellmap.h"
#include "sensor.h"
#include "sort.h"

#include <math.h>
#include <string.h>

#define BLOCK 512

enum { POINT_BINNED, POINT_NOT_FINITE, POINT_ORIGIN, POINT_OUT_OF_RANGE };

/* One block of points between the two phases; columns, so that the first phase vectorises. */
typedef struct {
    int32_t site[3][BLOCK];
    int32_t sums[OCTA_SUMS][BLOCK];
    uint8_t fate[BLOCK];
    uint8_t clamped[BLOCK];
} point_block;

struct octa_binner {
    octa_grid grid;
    octa_cellmap map;
    size_t points;
    size_t cells;
    size_t capacity; /* points that the buffers below have room for */
    uint64_t *ids;
    uint32_t *hits;
    int32_t (*sums)[OCTA_SUMS];
    int32_t *point_rows;
    octa_id_row *order; /* capacity pairs and as many of scratch */
};

octa_error octa_binner_new(const octa_grid *grid, octa_binner **out) {
    OCTA_TRY(octa_grid_check(grid));
    octa_binner *binner = OCTA_MALLOC(sizeof *binner);
    if (!binner)
        return OCTA_E_MEMORY;
    memset(binner, 0, sizeof *binner);
    binner->grid = *grid;
    *out = binner;
    return OCTA_OK;
}

static void free_buffers(octa_binner *binner) {
    OCTA_FREE(binner->ids);
    OCTA_FREE(binner->hits);
    OCTA_FREE(binner->sums);
    OCTA_FREE(binner->point_rows);
    OCTA_FREE(binner->order);
}

void octa_binner_free(octa_binner *binner) {
    if (!binner)
        return;
    octa_cellmap_free(&binner->map);
    free_buffers(binner);
    OCTA_FREE(binner);
}

static octa_error reserve(octa_binner *binner, size_t points) {
    OCTA_TRY(octa_cellmap_reserve(&binner->map, points));
    if (points <= binner->capacity && binner->order)
        return OCTA_OK;
    points = points ? points : 1;
    octa_binner bigger = *binner;
    bigger.ids = OCTA_MALLOC(points * sizeof *bigger.ids);
    bigger.hits = OCTA_MALLOC(points * sizeof *bigger.hits);
    bigger.sums = OCTA_MALLOC(points * sizeof *bigger.sums);
    bigger.point_rows = OCTA_MALLOC(points * sizeof *bigger.point_rows);
    bigger.order = OCTA_MALLOC(2 * points * sizeof *bigger.order);
    if (!bigger.ids || !bigger.hits || !bigger.sums || !bigger.point_rows || !bigger.order) {
        free_buffers(&bigger);
        return OCTA_E_MEMORY;
    }
    free_buffers(binner);
    bigger.capacity = points;
    bigger.cells = bigger.points = 0;
    *binner = bigger;
    return OCTA_OK;
}

/* Half rounds up, by comparison: floor(x + 1/2) is wrong just below 1/2 in float32. */
static inline float round_half_up(float x) {
    float whole = floorf(x);
    return x - whole >= 0.5f ? whole + 1.0f : whole;
}

static inline int32_t to_fixed(float share) { return (int32_t)round_half_up(share * OCTA_FIXED_ONE); }

/* Phase 1: where each point of the block lands and what it adds there. The odd candidate is 1 away from the
 * even one on each axis, so it is nearer exactly when the three distances to the even one exceed 3/2. */
OCTA_HOT static void snap_block(const octa_grid *grid, const octa_sensor *sensor, const float *points,
                                const float *intensity, size_t n, point_block *out) {
    const float min = (float)grid->range_min_m, max = (float)grid->range_max_m;
    const float range2_min = min * min, range2_max = max * max, full = (float)grid->intensity_max;
    for (size_t i = 0; i < n; i++) {
        const float *p = points + 3 * i;
        float range2 = p[0] * p[0] + p[1] * p[1] + p[2] * p[2];
        int valid = octa_point_valid(p);
        float offset[3], even[3], site[3];
        for (int axis = 0; axis < 3; axis++) {
            const float *m = sensor->rotation[axis];
            float local = m[0] * p[0] + m[1] * p[1] + m[2] * p[2] + sensor->origin[axis];
            local = valid ? local : 0.0f;
            even[axis] = 2.0f * round_half_up(0.5f * local);
            offset[axis] = local - even[axis];
        }
        float odd = fabsf(offset[0]) + fabsf(offset[1]) + fabsf(offset[2]) > 1.5f ? 1.0f : 0.0f;
        for (int axis = 0; axis < 3; axis++) {
            float step = offset[axis] >= 0.0f ? odd : -odd;
            site[axis] = even[axis] + step;
            offset[axis] -= step;
            out->site[axis][i] = (int32_t)site[axis];
        }
        float raw = intensity[i] / full;
        float share = raw > 0.0f ? raw : 0.0f; /* NaN too */
        share = share < 1.0f ? share : 1.0f;
        out->clamped[i] = share != raw;
        uint8_t fate = range2 >= range2_min && range2 <= range2_max ? POINT_BINNED : POINT_OUT_OF_RANGE;
        fate = range2 > 0.0f ? fate : POINT_ORIGIN;
        out->fate[i] = valid ? fate : POINT_NOT_FINITE;
        out->sums[OCTA_SUM_X][i] = to_fixed(offset[0]);
        out->sums[OCTA_SUM_Y][i] = to_fixed(offset[1]);
        out->sums[OCTA_SUM_Z][i] = to_fixed(offset[2]);
        out->sums[OCTA_SUM_XX][i] = to_fixed(offset[0] * offset[0]);
        out->sums[OCTA_SUM_YY][i] = to_fixed(offset[1] * offset[1]);
        out->sums[OCTA_SUM_ZZ][i] = to_fixed(offset[2] * offset[2]);
        out->sums[OCTA_SUM_XY][i] = to_fixed(offset[0] * offset[1]);
        out->sums[OCTA_SUM_XZ][i] = to_fixed(offset[0] * offset[2]);
        out->sums[OCTA_SUM_YZ][i] = to_fixed(offset[1] * offset[2]);
        out->sums[OCTA_SUM_INTENSITY][i] = to_fixed(share);
        out->sums[OCTA_SUM_INTENSITY2][i] = to_fixed(share * share);
    }
}

/* Row of a site, a new one if it was not seen yet. */
static inline uint32_t row_of(octa_binner *binner, uint64_t id) {
    uint32_t row = octa_cellmap_insert(&binner->map, id, (uint32_t)binner->cells);
    if (row == binner->cells) {
        binner->ids[row] = id;
        binner->hits[row] = 0;
        memset(binner->sums[row], 0, sizeof binner->sums[row]);
        binner->cells++;
    }
    return row;
}

/* Phase 2: add each point of the block to its cell. Scan order repeats a cell, so the last row is kept. */
static void add_block(octa_binner *binner, const octa_sensor *sensor, const point_block *block, size_t n,
                      int32_t *rows, octa_bin_counts *counts) {
    const uint64_t prefix = octa_index64_prefix(binner->grid.frame, binner->grid.tier, binner->grid.lod);
    int32_t last[3] = {INT32_MAX, INT32_MAX, INT32_MAX};
    uint32_t row = OCTA_NO_ROW;
    for (size_t i = 0; i < n; i++) {
        rows[i] = -1;
        counts->not_finite += block->fate[i] == POINT_NOT_FINITE;
        counts->out_of_range += block->fate[i] == POINT_ORIGIN || block->fate[i] == POINT_OUT_OF_RANGE;
        counts->rays += block->fate[i] == POINT_BINNED || block->fate[i] == POINT_OUT_OF_RANGE;
        if (block->fate[i] != POINT_BINNED)
            continue;
        int32_t x = block->site[0][i], y = block->site[1][i], z = block->site[2][i];
        if (x != last[0] || y != last[1] || z != last[2]) {
            int32_t mx = x + sensor->site[0], my = y + sensor->site[1], mz = z + sensor->site[2];
            if (!octa_in_range(mx, my, mz)) {
                counts->off_map++;
                continue;
            }
            row = row_of(binner, octa_index64_pack(prefix, mx, my, mz));
            last[0] = x, last[1] = y, last[2] = z;
        }
        for (int sum = 0; sum < OCTA_SUMS; sum++)
            binner->sums[row][sum] += block->sums[sum][i];
        binner->hits[row]++;
        counts->intensity_clamped += block->clamped[i];
        counts->binned++;
        rows[i] = (int32_t)row;
    }
}

/* Give the rows their canonical order: ascending by id, whatever order the points came in. */
static void sort_rows(octa_binner *binner) {
    octa_id_row *order = binner->order, *scratch = binner->order + binner->capacity;
    for (size_t row = 0; row < binner->cells; row++)
        order[row] = (octa_id_row){binner->ids[row], (uint32_t)row};
    octa_sort_id_rows(order, scratch, binner->cells);
}

octa_error octa_binner_run(octa_binner *binner, const float *points, const float *intensity, size_t n,
                           const double *pose, octa_bin_counts *counts, size_t *cells) {
    if (n > OCTA_MAX_POINTS)
        return OCTA_E_DOMAIN;
    octa_sensor sensor;
    OCTA_TRY(octa_sensor_at(&binner->grid, pose, &sensor));
    OCTA_TRY(reserve(binner, n));
    octa_cellmap_clear(&binner->map);
    binner->cells = 0;
    binner->points = n;
    memset(counts, 0, sizeof *counts);
    for (size_t begin = 0; begin < n; begin += BLOCK) {
        size_t size = n - begin < BLOCK ? n - begin : BLOCK;
        point_block block;
        snap_block(&binner->grid, &sensor, points + 3 * begin, intensity + begin, size, &block);
        add_block(binner, &sensor, &block, size, binner->point_rows + begin, counts);
    }
    sort_rows(binner);
    *cells = binner->cells;
    return OCTA_OK;
}

octa_error octa_binner_copy(const octa_binner *binner, size_t capacity, uint64_t *ids, uint32_t *hits,
                            int32_t *sums) {
    if (capacity < binner->cells)
        return OCTA_E_CAPACITY;
    for (size_t i = 0; i < binner->cells; i++) {
        uint32_t row = binner->order[i].row;
        ids[i] = binner->ids[row];
        hits[i] = binner->hits[row];
        memcpy(sums + i * OCTA_SUMS, binner->sums[row], sizeof binner->sums[row]);
    }
    return OCTA_OK;
}

octa_error octa_binner_point_rows(const octa_binner *binner, size_t capacity, int32_t *rows) {
    if (capacity < binner->points)
        return OCTA_E_CAPACITY;
    int32_t *sorted = OCTA_MALLOC((binner->cells + 1) * sizeof *sorted);
    if (!sorted)
        return OCTA_E_MEMORY;
    for (size_t i = 0; i < binner->cells; i++)
        sorted[binner->order[i].row] = (int32_t)i;
    for (size_t i = 0; i < binner->points; i++)
        rows[i] = binner->point_rows[i] < 0 ? -1 : sorted[binner->point_rows[i]];
    OCTA_FREE(sorted);
    return OCTA_OK;
}
