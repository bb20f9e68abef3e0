/* Portable kernel of a block of points, and the choice between kernels. */
#include "pointblock.h"

#include <math.h>
#include <string.h>

/* One block as columns, so that the loop over its points vectorises. */
typedef struct {
    int32_t site[3][OCTA_BLOCK];
    int32_t sums[OCTA_SUMS][OCTA_BLOCK];
    uint8_t finite[OCTA_BLOCK], ray[OCTA_BLOCK], in_range[OCTA_BLOCK], clamped[OCTA_BLOCK];
} columns;

/* floorf for |x| < 2^31, which vectorises on every machine. */
static inline float round_down(float x) {
    float whole = (float)(int32_t)x;
    return whole > x ? whole - 1.0f : whole;
}

/* Half rounds up, by comparison: floor(x + 1/2) is wrong just below 1/2 in float32. */
static inline float round_half_up(float x) {
    float whole = round_down(x);
    return x - whole >= 0.5f ? whole + 1.0f : whole;
}

static inline int32_t to_fixed(float share) { return (int32_t)round_half_up(share * OCTA_FIXED_ONE); }

/* The odd candidate is 1 away from the even one on each axis, so it is nearer exactly when the three
 * distances to the even one exceed 3/2. */
static inline void snap_point(const octa_sensor *sensor, const float *p, int finite, float site[3],
                              float offset[3]) {
    float even[3];
    for (int axis = 0; axis < 3; axis++) {
        const float *m = sensor->rotation[axis];
        float local = m[0] * p[0] + m[1] * p[1] + m[2] * p[2] + sensor->origin[axis];
        local = finite ? local : 0.0f;
        even[axis] = 2.0f * round_half_up(0.5f * local);
        offset[axis] = local - even[axis];
    }
    float odd = fabsf(offset[0]) + fabsf(offset[1]) + fabsf(offset[2]) > 1.5f ? 1.0f : 0.0f;
    for (int axis = 0; axis < 3; axis++) {
        float step = offset[axis] >= 0.0f ? odd : -odd;
        site[axis] = even[axis] + step;
        offset[axis] -= step;
    }
}

OCTA_HOT static void fill_columns(const octa_snap *snap, const float *points, const float *intensity,
                                  size_t n, columns *out) {
    for (size_t i = 0; i < n; i++) {
        const float *p = points + 3 * i;
        float range2 = p[0] * p[0] + p[1] * p[1] + p[2] * p[2];
        int finite = octa_point_valid(p);
        float site[3], offset[3];
        snap_point(&snap->sensor, p, finite, site, offset);
        for (int axis = 0; axis < 3; axis++)
            out->site[axis][i] = (int32_t)site[axis];
        float raw = intensity[i] / snap->full;
        float share = raw > 0.0f ? raw : 0.0f; /* NaN too */
        share = share < 1.0f ? share : 1.0f;
        out->clamped[i] = share != raw;
        out->finite[i] = (uint8_t)finite;
        out->ray[i] = finite & ((p[0] != 0.0f) | (p[1] != 0.0f) | (p[2] != 0.0f));
        out->in_range[i] =
            finite & (range2 > 0.0f) & (range2 >= snap->range2_min) & (range2 <= snap->range2_max);
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

/* Keys and totals of the points, from their columns. */
static void fill_points(const octa_snap *snap, const columns *from, size_t n, octa_block *block,
                        octa_fates *fates) {
    const int32_t *origin = snap->sensor.site;
    for (size_t i = 0; i < n; i++) {
        int32_t x = from->site[0][i] + origin[0], y = from->site[1][i] + origin[1],
                z = from->site[2][i] + origin[2];
        int binned = from->in_range[i] && octa_in_range(x, y, z);
        uint32_t low = (uint32_t)(x + OCTA_COORD_BIAS) | (uint32_t)(y + OCTA_COORD_BIAS) << 16;
        block->low[OCTA_BEFORE + i] = binned ? low : OCTA_NO_CELL_LOW;
        block->high[OCTA_BEFORE + i] = binned ? (uint32_t)(z + OCTA_COORD_BIAS) : OCTA_NO_CELL_HIGH;
        fates->finite += from->finite[i];
        fates->rays += from->ray[i];
        fates->in_range += from->in_range[i];
        fates->binned += (uint64_t)binned;
        fates->clamped += (uint64_t)(binned & from->clamped[i]);
        for (int sum = 0; sum < OCTA_SUMS; sum++)
            block->totals[i + 1][sum] = (uint16_t)(block->totals[i][sum] + (uint32_t)from->sums[sum][i]);
        block->totals[i + 1][OCTA_SUMS] = (uint16_t)(block->totals[i][OCTA_SUMS] + 1u);
        for (int lane = OCTA_SUMS + 1; lane < OCTA_LANES; lane++)
            block->totals[i + 1][lane] = 0;
    }
}

static void find_begins(octa_block *block) {
    for (size_t word = 0; word < OCTA_BLOCK / 64; word++) {
        block->begins[word] = 0;
        for (size_t i = 0; i < 64; i++) {
            size_t at = OCTA_BEFORE + 64 * word + i;
            uint64_t begins = block->low[at] != block->low[at - 1] || block->high[at] != block->high[at - 1];
            block->begins[word] |= begins << i;
        }
    }
}

static void fill(const octa_snap *snap, const float *points, const float *intensity, size_t n,
                 octa_block *block, octa_fates *fates) {
    columns columns;
    memset(block->totals[0], 0, sizeof block->totals[0]);
    fill_columns(snap, points, intensity, n, &columns);
    fill_points(snap, &columns, n, block, fates);
    for (size_t i = n; i < OCTA_BLOCK; i++) {
        block->low[OCTA_BEFORE + i] = OCTA_NO_CELL_LOW;
        block->high[OCTA_BEFORE + i] = OCTA_NO_CELL_HIGH;
        memcpy(block->totals[i + 1], block->totals[i], sizeof block->totals[i]);
    }
    find_begins(block);
}

static void add_difference(const uint16_t *before, const uint16_t *after, int32_t *line) {
    for (int lane = 0; lane < OCTA_LANES; lane++)
        line[lane] += (int16_t)(uint16_t)(after[lane] - before[lane]);
}

static void add(const octa_block *block, const uint32_t *run_lines, int32_t *lines) {
    const uint16_t *before = block->totals[0];
    int32_t *line = lines;
    for (size_t word = 0; word < OCTA_BLOCK / 64; word++)
        for (uint64_t cuts = octa_block_cuts(block->begins[word]); cuts; cuts &= cuts - 1) {
            int at = __builtin_ctzll(cuts);
            const uint16_t *after = block->totals[64 * word + (size_t)at];
            add_difference(before, after, line);
            run_lines += block->begins[word] >> at & 1u;
            line = lines + (size_t)run_lines[-1] * OCTA_LANES;
            before = after;
        }
    add_difference(before, block->totals[OCTA_BLOCK], line);
}

const octa_block_kernel octa_block_portable = {fill, add};

const octa_block_kernel *octa_block_kernel_here(void) {
#ifdef OCTA_HAVE_AVX2
    if (octa_has_avx2())
        return &octa_block_avx2;
#endif
    return &octa_block_portable;
}
