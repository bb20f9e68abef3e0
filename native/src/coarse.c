/* The next coarser level as exact sums of its children.
 *
 * A child's site lies d half edges from its parent's, d a small integer vector. A point at offset o from the
 * child lies at o + d from the parent, so first moments gain d a point, and second moments
 *     (o + d)_i (o + d)_j = o_i o_j + d_i o_j + d_j o_i + d_i d_j.
 * Summed over points every term is an integer multiple of a sum that is there: nothing is rounded. */
#include "neighbors.h"
#include "sort.h"

typedef __int128 wide; /* of 8 children, each below 2^64 hits * 2^12 * (2^15 half edges)^2 */

static const uint8_t moment_axes[6][2] = {{0, 0}, {1, 1}, {2, 2}, {0, 1}, {0, 2}, {1, 2}};

/* A cell's totals: sums, then hits. */
typedef struct {
    wide sums[OCTA_SUMS];
    wide hits;
} totals;

/* From the parent's site to the child's, in half edges of the unit. */
static inline void offset_of(uint64_t child, uint64_t parent, int unit_lod, int64_t d[3]) {
    int32_t c[3], p[3];
    const int levels = unit_lod - (int)(child >> 48 & 15u);
    octa_index64_unpack(child, &c[0], &c[1], &c[2]);
    octa_index64_unpack(parent, &p[0], &p[1], &p[2]);
    for (int axis = 0; axis < 3; axis++)
        d[axis] = (int64_t)(c[axis] - 2 * p[axis]) * (1 << levels);
}

static inline void add_child(totals *t, const octa_cells *fine, size_t row, uint64_t parent) {
    const int64_t *s = fine->sums + row * OCTA_SUMS;
    const wide ones = (wide)fine->hits[row] * OCTA_FIXED_ONE;
    int64_t d[3];
    offset_of(fine->ids[row], parent, fine->unit_lod, d);
    for (int axis = 0; axis < 3; axis++)
        t->sums[OCTA_SUM_X + axis] += s[OCTA_SUM_X + axis] + d[axis] * ones;
    for (int moment = 0; moment < 6; moment++) {
        const int i = moment_axes[moment][0], j = moment_axes[moment][1];
        t->sums[OCTA_SUM_XX + moment] += s[OCTA_SUM_XX + moment] + d[i] * (wide)s[OCTA_SUM_X + j] +
                                         d[j] * (wide)s[OCTA_SUM_X + i] + d[i] * d[j] * ones;
    }
    t->sums[OCTA_SUM_INTENSITY] += s[OCTA_SUM_INTENSITY];
    t->sums[OCTA_SUM_INTENSITY2] += s[OCTA_SUM_INTENSITY2];
    t->hits += fine->hits[row];
}

/* Totals of the parent of child i of the order; returns the first child of the next one. */
static size_t add_children(const octa_cells *fine, const octa_id_row *order, size_t i, totals *t) {
    const uint64_t parent = order[i].id;
    *t = (totals){0};
    for (; i < fine->cells && order[i].id == parent; i++)
        add_child(t, fine, order[i].row, parent);
    return i;
}

static int fits(const totals *t) {
    int ok = t->hits <= UINT64_MAX;
    for (int k = 0; k < OCTA_SUMS; k++)
        ok &= t->sums[k] >= INT64_MIN && t->sums[k] <= INT64_MAX;
    return ok;
}

/* The usual case, seen at a glance: with d up to 2^8 half edges no total reaches
 * 8 * (2^48 + 2 * 2^8 * 2^48 + 2^16 * 2^12 * 2^28) < 2^61. */
OCTA_HOT static int are_small(const octa_cells *fine) {
    int64_t bits = 0;
    uint64_t hits = 0;
    for (size_t i = 0; i < fine->cells * OCTA_SUMS; i++)
        bits |= fine->sums[i] ^ fine->sums[i] >> 63;
    for (size_t i = 0; i < fine->cells; i++)
        hits |= fine->hits[i];
    return bits >> 48 == 0 && hits >> 28 == 0 && fine->unit_lod - (int)(fine->ids[0] >> 48 & 15u) < 8;
}

static octa_error check_fits(const octa_cells *fine, const octa_id_row *order) {
    totals t;
    if (fine->cells == 0 || are_small(fine))
        return OCTA_OK;
    for (size_t i = 0; i < fine->cells;) {
        i = add_children(fine, order, i, &t);
        if (!fits(&t))
            return OCTA_E_DOMAIN;
    }
    return OCTA_OK;
}

static size_t write_parents(const octa_cells *fine, const octa_id_row *order, uint64_t *ids, uint64_t *hits,
                            int64_t *sums, int32_t *rows) {
    size_t count = 0;
    totals t;
    for (size_t i = 0, next; i < fine->cells; i = next, count++) {
        next = add_children(fine, order, i, &t);
        ids[count] = order[i].id;
        hits[count] = (uint64_t)t.hits;
        for (int k = 0; k < OCTA_SUMS; k++)
            sums[count * OCTA_SUMS + (size_t)k] = (int64_t)t.sums[k];
        for (size_t child = i; rows && child < next; child++)
            rows[order[child].row] = (int32_t)count;
    }
    return count;
}

static octa_error check_fine(const octa_cells *fine) {
    OCTA_TRY(octa_cells_check(fine->ids, fine->cells));
    if (fine->cells == 0)
        return OCTA_OK;
    const unsigned lod = fine->ids[0] >> 48 & 15u;
    if (lod == 0)
        return OCTA_E_LOD;
    return fine->unit_lod >= lod && fine->unit_lod <= 15 ? OCTA_OK : OCTA_E_DOMAIN;
}

octa_error octa_coarsen(const octa_cells *fine, uint64_t *ids, uint64_t *hits, int64_t *sums, int32_t *rows,
                        size_t *cells) {
    OCTA_TRY(check_fine(fine));
    const size_t n = fine->cells;
    octa_id_row *order = OCTA_MALLOC((2 * n + 1) * sizeof *order);
    if (!order)
        return OCTA_E_MEMORY;
    for (size_t i = 0; i < n; i++) {
        (void)octa_index64_parent(fine->ids + i, 1, &order[i].id); /* checked above */
        order[i].row = (uint32_t)i;
    }
    octa_sort_id_rows(order, order + n, n);
    octa_error error = check_fits(fine, order);
    if (error == OCTA_OK)
        *cells = write_parents(fine, order, ids, hits, sums, rows);
    OCTA_FREE(order);
    return error;
}
