/* Forecast casts. Beams carry the share of them that is still under way in fixed point, so that sums within a
 * cell do not depend on the order of additions. */
#include "casts.h"

#include <string.h>

#define SIDE 128 /* bins along a face's edge: 0.7 degrees */
#define BINS (OCTA_FACES * SIDE * SIDE)
#define WHOLE 32768 /* a beam that nothing has stopped */
#define RUN 32768   /* beams whose shares an int32 can add up */

void octa_cast_end(octa_cast *cast) {
    OCTA_FREE(cast->block);
    OCTA_FREE(cast->left);
    OCTA_FREE(cast->direction);
    OCTA_FREE(cast->bin);
    OCTA_FREE(cast->start);
    OCTA_FREE(cast->order);
    OCTA_FREE(cast->reach);
    OCTA_FREE(cast->hits);
    memset(cast, 0, sizeof *cast);
}

octa_error octa_cast_begin(octa_cast *cast, size_t n, size_t m) {
    memset(cast, 0, sizeof *cast);
    cast->block = OCTA_MALLOC((OCTA_SLABS * n + 1) * sizeof *cast->block);
    cast->left = OCTA_MALLOC((n + 1) * sizeof *cast->left);
    cast->direction = OCTA_MALLOC((n + 1) * sizeof *cast->direction);
    cast->bin = OCTA_MALLOC((n + 1) * sizeof *cast->bin);
    cast->start = OCTA_MALLOC((BINS + 1) * sizeof *cast->start);
    cast->order = OCTA_MALLOC((2 * m + 1) * sizeof *cast->order);
    cast->reach = OCTA_MALLOC((m + 1) * sizeof *cast->reach);
    cast->hits = OCTA_MALLOC((m + 1) * sizeof *cast->hits);
    if (!cast->block || !cast->left || !cast->direction || !cast->bin || !cast->start || !cast->order ||
        !cast->reach || !cast->hits) {
        octa_cast_end(cast);
        return OCTA_E_MEMORY;
    }
    for (size_t slab = 0; slab < OCTA_SLABS; slab++)
        cast->inverse[slab] = cast->block + slab * n;
    return OCTA_OK;
}

/* Sort the beams by direction bin, as their inverse slab products. */
static void load_beams(octa_cast *cast, const int16_t *beams, size_t n) {
    cast->n = 0;
    memset(cast->start, 0, (BINS + 1) * sizeof *cast->start);
    for (size_t i = 0; i < n; i++) {
        const int16_t *b = beams + 3 * i;
        float *d = cast->direction[cast->n];
        for (int axis = 0; axis < 3; axis++) {
            const float *m = cast->sensor.rotation[axis];
            d[axis] = m[0] * (float)b[0] + m[1] * (float)b[1] + m[2] * (float)b[2];
        }
        if (d[0] == 0.0f && d[1] == 0.0f && d[2] == 0.0f)
            continue;
        cast->bin[cast->n] = octa_direction_bin(d, SIDE, SIDE);
        cast->start[cast->bin[cast->n++]]++;
    }
    uint32_t sum = 0;
    for (size_t bin = 0; bin <= BINS; bin++) {
        uint32_t count = cast->start[bin];
        cast->start[bin] = sum;
        sum += count;
    }
    for (size_t i = 0; i < cast->n; i++) {
        float along[OCTA_SLABS];
        size_t slot = cast->start[cast->bin[i]]++;
        octa_along_slabs(cast->direction[i], along);
        for (size_t slab = 0; slab < OCTA_SLABS; slab++)
            cast->inverse[slab][slot] = octa_inverse(along[slab]);
        cast->left[slot] = WHOLE;
    }
    /* Filling moved every start to its end, which is the next bin's start: shift back by one. */
    memmove(cast->start + 1, cast->start, BINS * sizeof *cast->start);
    cast->start[0] = 0;
}

static void order_by_range(octa_cast *cast, const int32_t (*sites)[3], size_t m) {
    for (size_t i = 0; i < m; i++) {
        double range2 = 0;
        for (int axis = 0; axis < 3; axis++) {
            double d = (double)(sites[i][axis] - cast->sensor.site[axis]) - (double)cast->sensor.origin[axis];
            range2 += d * d;
        }
        /* At most 3 * 2^34 square half edges: 10 bits of fraction fit the sort's 48 bits. */
        cast->order[i] = (octa_id_row){(uint64_t)(range2 * 1024.0), (uint32_t)i};
    }
    octa_sort_id_rows(cast->order, cast->order + m, m);
}

/* One run of beams against one cell: those that cross it ahead of the sensor reach it, and a share ends
 * there. */
static inline void cast_run(octa_cast *cast, size_t begin, size_t end, const float *low, const float *high,
                            int32_t stop, int64_t *reached, int64_t *ended) {
    int32_t sum_reached = 0, sum_ended = 0;
    for (size_t i = begin; i < end; i++) {
        float enter = -INFINITY, leave = INFINITY;
        for (size_t slab = 0; slab < OCTA_SLABS; slab++) {
            float a = low[slab] * cast->inverse[slab][i], b = high[slab] * cast->inverse[slab][i];
            float near = a < b ? a : b, far = a < b ? b : a;
            enter = near > enter ? near : enter;
            leave = far < leave ? far : leave;
        }
        int32_t share = (enter < leave) & (leave > 0.0f) ? cast->left[i] : 0;
        int32_t ends = share * stop >> 15;
        sum_reached += share;
        sum_ended += ends;
        cast->left[i] -= ends;
    }
    *reached += sum_reached;
    *ended += sum_ended;
}

OCTA_HOT static void cast_cells(octa_cast *cast, const int32_t (*sites)[3], const float *stop, size_t m) {
    for (size_t k = 0; k < m; k++) {
        uint32_t cell = cast->order[k].row;
        float center[3], low[OCTA_SLABS], high[OCTA_SLABS];
        int64_t reached = 0, ended = 0;
        int32_t share = (int32_t)(stop[cell] * (WHOLE - 1));
        for (int axis = 0; axis < 3; axis++)
            center[axis] = (float)(sites[cell][axis] - cast->sensor.site[axis]) - cast->sensor.origin[axis];
        octa_along_slabs(center, low);
        for (size_t slab = 0; slab < OCTA_SLABS; slab++) {
            high[slab] = low[slab] + octa_slab_bound[slab];
            low[slab] -= octa_slab_bound[slab];
        }
        for (int face = 0; face < OCTA_FACES; face++) {
            octa_patch patch;
            if (!octa_face_patch(face, center, SIDE, SIDE, &patch))
                continue;
            for (int row = patch.first_row; row <= patch.last_row; row++) {
                const uint32_t *start = cast->start + ((size_t)face * SIDE + (size_t)row) * SIDE;
                const size_t last = start[patch.last_column + 1];
                for (size_t at = start[patch.first_column]; at < last; at += RUN)
                    cast_run(cast, at, at + RUN < last ? at + RUN : last, low, high, share, &reached, &ended);
            }
        }
        cast->reach[cell] = (float)reached / WHOLE;
        cast->hits[cell] = (float)ended / WHOLE;
    }
}

void octa_cast_run(octa_cast *cast, const int16_t *beams, size_t n, const int32_t (*sites)[3],
                   const float *stop, size_t m) {
    load_beams(cast, beams, n);
    order_by_range(cast, sites, m);
    cast_cells(cast, sites, stop, m);
}
