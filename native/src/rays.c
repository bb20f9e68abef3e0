/* Which cells did the rays of a sweep see through: exact ray-cell tests behind a direction index.
 *
 * Rays are sorted into a grid over the six faces of a cube around the sensor (no trigonometry). A cell asks
 * the grid for the rays inside its bounding box as seen from the sensor, and tests those against the seven
 * slabs of the truncated octahedron. The index only leaves out rays that cannot cross; it never decides. */
#include "sensor.h"

#include <math.h>
#include <string.h>

#define FACES 6
#define COLUMNS 256
#define ROWS 256
#define BINS (FACES * ROWS * COLUMNS)
#define SLABS 7

/* A cell is the intersection of |n . x| <= bound over these normals. */
static const float slab_bound[SLABS] = {1.0f, 1.0f, 1.0f, 1.5f, 1.5f, 1.5f, 1.5f};

struct octa_rays {
    octa_grid grid;
    octa_sensor sensor;
    size_t n;
    size_t capacity;
    float *inverse[SLABS]; /* 1 / (normal . direction) of each ray, direction from origin to return */
    float *block;          /* owns the columns above */
    uint32_t *start;       /* BINS + 1: first ray of each bin */
    /* scratch of load */
    float (*direction)[3];
    uint32_t *bin;
};

/* The axes of a face: major, then the two that span it. */
static const uint8_t face_axes[FACES][3] = {{0, 1, 2}, {0, 1, 2}, {1, 0, 2}, {1, 0, 2}, {2, 0, 1}, {2, 0, 1}};

octa_error octa_rays_new(const octa_grid *grid, octa_rays **out) {
    OCTA_TRY(octa_grid_check(grid));
    octa_rays *rays = OCTA_MALLOC(sizeof *rays);
    if (!rays)
        return OCTA_E_MEMORY;
    memset(rays, 0, sizeof *rays);
    rays->grid = *grid;
    rays->start = OCTA_MALLOC((BINS + 1) * sizeof *rays->start);
    if (!rays->start) {
        OCTA_FREE(rays);
        return OCTA_E_MEMORY;
    }
    memset(rays->start, 0, (BINS + 1) * sizeof *rays->start);
    *out = rays;
    return OCTA_OK;
}

static void free_buffers(octa_rays *rays) {
    OCTA_FREE(rays->block);
    OCTA_FREE(rays->direction);
    OCTA_FREE(rays->bin);
}

void octa_rays_free(octa_rays *rays) {
    if (!rays)
        return;
    free_buffers(rays);
    OCTA_FREE(rays->start);
    OCTA_FREE(rays);
}

static octa_error reserve(octa_rays *rays, size_t n) {
    if (n <= rays->capacity)
        return OCTA_OK;
    octa_rays bigger = *rays;
    bigger.block = OCTA_MALLOC(SLABS * n * sizeof *bigger.block);
    bigger.direction = OCTA_MALLOC(n * sizeof *bigger.direction);
    bigger.bin = OCTA_MALLOC(n * sizeof *bigger.bin);
    if (!bigger.block || !bigger.direction || !bigger.bin) {
        free_buffers(&bigger);
        return OCTA_E_MEMORY;
    }
    free_buffers(rays);
    for (size_t slab = 0; slab < SLABS; slab++)
        bigger.inverse[slab] = bigger.block + slab * n;
    bigger.capacity = n;
    bigger.n = 0;
    *rays = bigger;
    memset(rays->start, 0, (BINS + 1) * sizeof *rays->start);
    return OCTA_OK;
}

/* Bin of a slope in [-1, 1]; monotone, so an interval of slopes is an interval of bins. */
static inline int slope_bin(float slope, int bins) {
    int bin = (int)((slope + 1.0f) * (0.5f * (float)bins));
    return bin < 0 ? 0 : bin >= bins ? bins - 1 : bin;
}

static uint32_t direction_bin(const float *d) {
    float size[3] = {fabsf(d[0]), fabsf(d[1]), fabsf(d[2])};
    int major = size[0] >= size[1] ? (size[0] >= size[2] ? 0 : 2) : (size[1] >= size[2] ? 1 : 2);
    int face = 2 * major + (d[major] < 0.0f);
    int column = slope_bin(d[face_axes[face][1]] / size[major], COLUMNS);
    int row = slope_bin(d[face_axes[face][2]] / size[major], ROWS);
    return (uint32_t)((face * ROWS + row) * COLUMNS + column);
}

/* A direction parallel to a slab crosses it "at infinity"; a large finite number avoids 0 * inf. */
static inline float inverse_of(float x) { return fabsf(x) < 1e-30f ? 1e30f : 1.0f / x; }

static void store_inverses(octa_rays *rays, size_t slot, const float *d) {
    const float along[SLABS] = {
        d[0], d[1], d[2], d[0] + d[1] + d[2], d[0] + d[1] - d[2], d[0] - d[1] + d[2], -d[0] + d[1] + d[2]};
    for (size_t slab = 0; slab < SLABS; slab++)
        rays->inverse[slab][slot] = inverse_of(along[slab]);
}

/* Directions of the usable returns, in half edges along the map axes; returns how many. */
static size_t rotate_points(octa_rays *rays, const float *points, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const float *p = points + 3 * i;
        if (!octa_point_valid(p))
            continue;
        float *d = rays->direction[count];
        for (int axis = 0; axis < 3; axis++) {
            const float *m = rays->sensor.rotation[axis];
            d[axis] = m[0] * p[0] + m[1] * p[1] + m[2] * p[2];
        }
        /* A return so near that its direction underflows crosses nothing. */
        count += d[0] != 0.0f || d[1] != 0.0f || d[2] != 0.0f;
    }
    return count;
}

octa_error octa_rays_load(octa_rays *rays, const float *points, size_t n, const double *pose) {
    if (n > OCTA_MAX_POINTS)
        return OCTA_E_DOMAIN;
    octa_sensor sensor;
    OCTA_TRY(octa_sensor_at(&rays->grid, pose, &sensor));
    OCTA_TRY(reserve(rays, n));
    rays->sensor = sensor;
    rays->n = rotate_points(rays, points, n);
    uint32_t *start = rays->start;
    memset(start, 0, (BINS + 1) * sizeof *start);
    for (size_t i = 0; i < rays->n; i++) {
        rays->bin[i] = direction_bin(rays->direction[i]);
        start[rays->bin[i]]++;
    }
    uint32_t sum = 0;
    for (size_t bin = 0; bin <= BINS; bin++) {
        uint32_t count = start[bin];
        start[bin] = sum;
        sum += count;
    }
    for (size_t i = 0; i < rays->n; i++)
        store_inverses(rays, start[rays->bin[i]]++, rays->direction[i]);
    /* Filling moved every start to its end, which is the next bin's start: shift back by one. */
    memmove(start + 1, start, BINS * sizeof *start);
    start[0] = 0;
    return OCTA_OK;
}

/* Rays [begin, end) that enter the cell before they leave it, ahead of the sensor, and leave it before their
 * return (t = 1). low and high are the two planes of each slab as seen from the sensor. */
static inline uint32_t count_crossings(const octa_rays *rays, size_t begin, size_t end, const float *low,
                                       const float *high) {
    uint32_t count = 0;
    for (size_t i = begin; i < end; i++) {
        float enter = -INFINITY, leave = INFINITY;
        for (size_t slab = 0; slab < SLABS; slab++) {
            float a = low[slab] * rays->inverse[slab][i], b = high[slab] * rays->inverse[slab][i];
            float near = a < b ? a : b, far = a < b ? b : a;
            enter = near > enter ? near : enter;
            leave = far < leave ? far : leave;
        }
        count += (uint32_t)((enter < leave) & (leave > 0.0f) & (leave < 1.0f));
    }
    return count;
}

/* Slopes under which an interval [b - 1, b + 1] is seen at depths [near, far], 0 < near. A little wider, so
 * that rounding never leaves out a ray. */
static inline void slope_interval(float b, float near, float far, float *low, float *high) {
    *low = (b - 1.0f) / (b - 1.0f >= 0.0f ? far : near) - 1e-5f;
    *high = (b + 1.0f) / (b + 1.0f >= 0.0f ? near : far) + 1e-5f;
}

static inline uint32_t face_passes(const octa_rays *rays, int face, const float *center, const float *low,
                                   const float *high) {
    const uint8_t *axes = face_axes[face];
    float depth = face & 1 ? -center[axes[0]] : center[axes[0]];
    if (depth + 1.0f <= 0.0f)
        return 0;
    float column_low = -1.0f, column_high = 1.0f, row_low = -1.0f, row_high = 1.0f;
    if (depth - 1.0f > 1e-3f) {
        slope_interval(center[axes[1]], depth - 1.0f, depth + 1.0f, &column_low, &column_high);
        slope_interval(center[axes[2]], depth - 1.0f, depth + 1.0f, &row_low, &row_high);
        if (column_low > 1.0f || column_high < -1.0f || row_low > 1.0f || row_high < -1.0f)
            return 0;
    }
    int first_column = slope_bin(column_low < -1.0f ? -1.0f : column_low, COLUMNS);
    int last_column = slope_bin(column_high > 1.0f ? 1.0f : column_high, COLUMNS);
    int first_row = slope_bin(row_low < -1.0f ? -1.0f : row_low, ROWS);
    int last_row = slope_bin(row_high > 1.0f ? 1.0f : row_high, ROWS);
    uint32_t count = 0;
    for (int row = first_row; row <= last_row; row++) {
        const uint32_t *start = rays->start + ((size_t)face * ROWS + (size_t)row) * COLUMNS;
        count += count_crossings(rays, start[first_column], start[last_column + 1], low, high);
    }
    return count;
}

OCTA_HOT static void passes_of_cells(const octa_rays *rays, const uint64_t *ids, size_t m, uint32_t *passes) {
    for (size_t i = 0; i < m; i++) {
        int32_t site[3];
        octa_index64_unpack(ids[i], &site[0], &site[1], &site[2]);
        float c[3], low[SLABS], high[SLABS];
        for (int axis = 0; axis < 3; axis++)
            c[axis] = (float)(site[axis] - rays->sensor.site[axis]) - rays->sensor.origin[axis];
        const float along[SLABS] = {c[0],
                                    c[1],
                                    c[2],
                                    c[0] + c[1] + c[2],
                                    c[0] + c[1] - c[2],
                                    c[0] - c[1] + c[2],
                                    -c[0] + c[1] + c[2]};
        for (size_t slab = 0; slab < SLABS; slab++) {
            low[slab] = along[slab] - slab_bound[slab];
            high[slab] = along[slab] + slab_bound[slab];
        }
        passes[i] = 0;
        for (int face = 0; face < FACES; face++)
            passes[i] += face_passes(rays, face, c, low, high);
    }
}

octa_error octa_rays_passes(const octa_rays *rays, const uint64_t *ids, size_t m, uint32_t *passes) {
    const uint64_t prefix = octa_index64_prefix(rays->grid.frame, rays->grid.tier, rays->grid.lod);
    for (size_t i = 0; i < m; i++)
        OCTA_TRY(octa_index64_check(ids[i], prefix));
    passes_of_cells(rays, ids, m, passes);
    return OCTA_OK;
}
