/* The rays of one sweep, sorted by direction. */
#include "rays.h"

#include <string.h>

#define CACHE_LINE 64

octa_error octa_rays_new(const octa_grid *grid, octa_rays **out) {
    OCTA_TRY(octa_grid_check(grid));
    octa_rays *rays = OCTA_MALLOC(sizeof *rays);
    if (!rays)
        return OCTA_E_MEMORY;
    memset(rays, 0, sizeof *rays);
    rays->grid = *grid;
    rays->start = OCTA_MALLOC((OCTA_RAY_BINS + 1) * sizeof *rays->start);
    if (!rays->start) {
        OCTA_FREE(rays);
        return OCTA_E_MEMORY;
    }
    memset(rays->start, 0, (OCTA_RAY_BINS + 1) * sizeof *rays->start);
    *out = rays;
    return OCTA_OK;
}

static void free_buffers(octa_rays *rays) {
    OCTA_FREE(rays->memory);
    OCTA_FREE(rays->direction[0]);
    OCTA_FREE(rays->bin);
    OCTA_FREE(rays->order);
}

void octa_rays_free(octa_rays *rays) {
    if (!rays)
        return;
    free_buffers(rays);
    OCTA_FREE(rays->start);
    OCTA_FREE(rays);
}

/* Starts back to zero, only where there are any. */
static void clear_index(octa_rays *rays) {
    for (size_t row = 0; row < OCTA_RAY_ROWS; row++)
        if (rays->used[row])
            memset(rays->start + row * OCTA_ROW_STRIDE, 0, OCTA_ROW_STRIDE * sizeof *rays->start);
    rays->start[OCTA_RAY_BINS] = 0;
    memset(rays->used, 0, sizeof rays->used);
    rays->n = 0;
}

/* The blocks first, on a cache line; the reaches behind them. Eight of those are read at a time. */
static octa_error allocate_blocks(octa_rays *rays, size_t n) {
    const size_t count = (n + OCTA_RAY_LANES - 1) / OCTA_RAY_LANES, reaches = count + OCTA_RAY_LANES;
    const size_t size = count * sizeof *rays->blocks + reaches * sizeof *rays->reach;
    rays->memory = OCTA_MALLOC(size + CACHE_LINE);
    if (!rays->memory)
        return OCTA_E_MEMORY;
    memset(rays->memory, 0, size + CACHE_LINE);
    char *memory = rays->memory;
    rays->blocks = (octa_ray_block *)(memory + CACHE_LINE - (uintptr_t)memory % CACHE_LINE);
    rays->reach = (float *)(rays->blocks + count);
    return OCTA_OK;
}

static octa_error reserve(octa_rays *rays, size_t n) {
    if (n <= rays->capacity)
        return OCTA_OK;
    octa_rays bigger = *rays;
    octa_error error = allocate_blocks(&bigger, n);
    bigger.direction[0] = OCTA_MALLOC(3 * n * sizeof *bigger.direction[0]);
    bigger.bin = OCTA_MALLOC(2 * n * sizeof *bigger.bin);
    bigger.order = OCTA_MALLOC(n * sizeof *bigger.order);
    if (error != OCTA_OK || !bigger.direction[0] || !bigger.bin || !bigger.order) {
        free_buffers(&bigger);
        return OCTA_E_MEMORY;
    }
    free_buffers(rays);
    bigger.direction[1] = bigger.direction[0] + n;
    bigger.direction[2] = bigger.direction[0] + 2 * n;
    bigger.rank = bigger.bin + n;
    bigger.capacity = n;
    *rays = bigger;
    return OCTA_OK;
}

/* Bin of a direction other than zero. Selections, no branches, so that a loop over it vectorises. */
static inline uint32_t direction_bin(float x, float y, float z) {
    float size_x = fabsf(x), size_y = fabsf(y), size_z = fabsf(z);
    int x_major = (size_x >= size_y) & (size_x >= size_z), y_major = !x_major & (size_y >= size_z);
    float major = x_major ? x : y_major ? y : z;
    float size = fabsf(major);
    float u = x_major ? y : x, v = x_major | y_major ? z : y;
    int face = (x_major ? 0 : y_major ? 2 : 4) + (major < 0.0f);
    int column = octa_slope_bin(u / size, OCTA_FACE_COLUMNS), row = octa_slope_bin(v / size, OCTA_FACE_ROWS);
    return (uint32_t)((face * OCTA_FACE_ROWS + row) * OCTA_ROW_STRIDE + column);
}

/* Directions in half edges along the map axes, and their bins; an unusable return gets the bin after the
 * last. So does a return so near that its direction underflows: it crosses nothing. */
OCTA_HOT static void aim(const octa_rays *rays, const float *restrict points, size_t n) {
    float *restrict x = rays->direction[0], *restrict y = rays->direction[1],
                    *restrict z = rays->direction[2];
    uint32_t *restrict bin = rays->bin;
    const octa_sensor sensor = rays->sensor;
    for (size_t i = 0; i < n; i++) {
        const float *p = points + 3 * i;
        float d[3];
        for (int axis = 0; axis < 3; axis++) {
            const float *m = sensor.rotation[axis];
            d[axis] = m[0] * p[0] + m[1] * p[1] + m[2] * p[2];
        }
        int usable = octa_point_valid(p) & ((d[0] != 0.0f) | (d[1] != 0.0f) | (d[2] != 0.0f));
        x[i] = usable ? d[0] : 1.0f;
        y[i] = usable ? d[1] : 0.0f;
        z[i] = usable ? d[2] : 0.0f;
        uint32_t at = direction_bin(x[i], y[i], z[i]);
        bin[i] = usable ? at : OCTA_RAY_BINS;
    }
}

/* Counting sort of the points by bin; the unusable ones come last. */
static void sort_by_bin(octa_rays *rays, size_t n) {
    uint32_t *start = rays->start;
    for (size_t i = 0; i < n; i++) {
        uint32_t bin = rays->bin[i];
        rays->rank[i] = start[bin]++;
        rays->used[bin / OCTA_ROW_STRIDE] = 1;
    }
    uint32_t sum = 0;
    for (size_t row = 0; row < OCTA_RAY_ROWS; row++) {
        if (!rays->used[row])
            continue;
        uint32_t *bins = start + row * OCTA_ROW_STRIDE;
        for (size_t column = 0; column < OCTA_ROW_STRIDE; column++) {
            uint32_t count = bins[column];
            bins[column] = sum;
            sum += count;
        }
    }
    start[OCTA_RAY_BINS] = sum;
    rays->n = sum;
    for (size_t i = 0; i < n; i++)
        rays->order[start[rays->bin[i]] + rays->rank[i]] = (int32_t)i;
}

/* A direction parallel to a slab crosses it "at infinity"; a large finite number avoids 0 * inf. */
static inline float inverse_of(float x) {
    float inverse = 1.0f / x;
    return fabsf(x) < 1e-30f ? 1e30f : inverse;
}

/* One block from its rays' directions; returns its reach. */
static inline float fill_block(octa_ray_block *block, const float (*d)[OCTA_RAY_LANES]) {
    float squared[OCTA_RAY_LANES], reach = 0.0f;
    for (size_t lane = 0; lane < OCTA_RAY_LANES; lane++) {
        const float direction[3] = {d[0][lane], d[1][lane], d[2][lane]};
        float along[OCTA_SLABS];
        octa_along_slabs(direction, along);
        for (size_t slab = 0; slab < OCTA_SLABS; slab++)
            block->inverse[slab][lane] = inverse_of(along[slab]);
        squared[lane] = along[0] * along[0] + along[1] * along[1] + along[2] * along[2];
    }
    for (size_t lane = 0; lane < OCTA_RAY_LANES; lane++)
        reach = squared[lane] > reach ? squared[lane] : reach;
    return reach;
}

OCTA_HOT static void fill_blocks(const octa_rays *rays) {
    const size_t whole = rays->n / OCTA_RAY_LANES, rest = rays->n % OCTA_RAY_LANES;
    float d[3][OCTA_RAY_LANES];
    for (size_t b = 0; b < whole; b++) {
        const int32_t *order = rays->order + b * OCTA_RAY_LANES;
        for (size_t axis = 0; axis < 3; axis++)
            for (size_t lane = 0; lane < OCTA_RAY_LANES; lane++)
                d[axis][lane] = rays->direction[axis][order[lane]];
        rays->reach[b] = fill_block(rays->blocks + b, d);
    }
    if (rest == 0)
        return;
    memset(d, 0, sizeof d);
    for (size_t axis = 0; axis < 3; axis++)
        for (size_t lane = 0; lane < rest; lane++)
            d[axis][lane] = rays->direction[axis][rays->order[whole * OCTA_RAY_LANES + lane]];
    rays->reach[whole] = fill_block(rays->blocks + whole, d);
}

octa_error octa_rays_load(octa_rays *rays, const float *points, size_t n, const double *pose) {
    if (n > OCTA_MAX_POINTS)
        return OCTA_E_DOMAIN;
    octa_sensor sensor;
    OCTA_TRY(octa_sensor_at(&rays->grid, pose, &sensor));
    OCTA_TRY(reserve(rays, n));
    clear_index(rays);
    rays->sensor = sensor;
    aim(rays, points, n);
    sort_by_bin(rays, n);
    fill_blocks(rays);
    return OCTA_OK;
}
