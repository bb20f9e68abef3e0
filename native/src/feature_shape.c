/* Columns of the local surface: principal axes of the returns in a cell and its
 * neighbours. */
#include "extraction.h"

#include <math.h>
#include <string.h>

#define JACOBI_SWEEPS                                                                                        \
    4                      /* converges quadratically: off-diagonals are below float precision by            \
                              then */
#define JACOBI_FLOOR 1e-7f /* of the trace; a smaller off-diagonal does not show in float32 */
#define LANES 16           /* matrices diagonalised side by side */

typedef octa_moments moments;

/* A cell's returns about its own site. */
static moments own_moments(const octa_cell *cell) {
    const double scale = 1.0 / OCTA_FIXED_ONE;
    moments m = {.n = (double)cell->hits};
    for (int axis = 0; axis < 3; axis++)
        m.first[axis] = scale * (double)cell->sums[OCTA_SUM_X + axis];
    for (int p = 0; p < 6; p++)
        m.second[p] = scale * (double)cell->sums[OCTA_SUM_XX + p];
    return m;
}

/* Add the returns of a cell at an offset. */
static inline void add_moments(moments *m, const moments *other, const int8_t *offset) {
    const double n = other->n, *first = other->first, x = offset[0], y = offset[1], z = offset[2];
    m->second[0] += other->second[0] + x * first[0] + x * first[0] + n * x * x;
    m->second[1] += other->second[1] + y * first[1] + y * first[1] + n * y * y;
    m->second[2] += other->second[2] + z * first[2] + z * first[2] + n * z * z;
    m->second[3] += other->second[3] + x * first[1] + y * first[0] + n * x * y;
    m->second[4] += other->second[4] + x * first[2] + z * first[0] + n * x * z;
    m->second[5] += other->second[5] + y * first[2] + z * first[1] + n * y * z;
    m->first[0] += first[0] + n * x;
    m->first[1] += first[1] + n * y;
    m->first[2] += first[2] + n * z;
    m->n += n;
}

/* Symmetric matrices in columns, and the eigenvectors they have been turned by.
 */
typedef struct {
    float xx[LANES], yy[LANES], zz[LANES], xy[LANES], xz[LANES], yz[LANES];
    float v[3][3][LANES];
} matrices;

/* Covariance in double, since it is a difference of large numbers; float is
 * enough from there on. */
static void set_covariance(matrices *a, size_t lane, const moments *m) {
    const double mean[3] = {m->first[0] / m->n, m->first[1] / m->n, m->first[2] / m->n};
    a->xx[lane] = (float)(m->second[0] / m->n - mean[0] * mean[0]);
    a->yy[lane] = (float)(m->second[1] / m->n - mean[1] * mean[1]);
    a->zz[lane] = (float)(m->second[2] / m->n - mean[2] * mean[2]);
    a->xy[lane] = (float)(m->second[3] / m->n - mean[0] * mean[1]);
    a->xz[lane] = (float)(m->second[4] / m->n - mean[0] * mean[2]);
    a->yz[lane] = (float)(m->second[5] / m->n - mean[1] * mean[2]);
}

/* One Jacobi rotation in the plane of axes p and q that clears pq in every
 * lane; r is the third axis. */
static inline void rotate(float *restrict pp, float *restrict qq, float *restrict pq, float *restrict pr,
                          float *restrict qr, const float *restrict floor, float (*vp)[LANES],
                          float (*vq)[LANES]) {
    float cosine[LANES], sine[LANES];
    for (size_t i = 0; i < LANES; i++) {
        int turn = fabsf(pq[i]) > floor[i];
        float off = turn ? pq[i] : 1.0f, theta = (qq[i] - pp[i]) / (2.0f * off);
        float t = 1.0f / (fabsf(theta) + sqrtf(theta * theta + 1.0f));
        t = theta >= 0.0f ? t : -t;
        t = turn ? t : 0.0f;
        cosine[i] = 1.0f / sqrtf(t * t + 1.0f);
        sine[i] = t * cosine[i];
        pp[i] -= t * pq[i];
        qq[i] += t * pq[i];
        pq[i] = turn ? 0.0f : pq[i];
        float p = pr[i], q = qr[i];
        pr[i] = cosine[i] * p - sine[i] * q;
        qr[i] = sine[i] * p + cosine[i] * q;
    }
    for (int axis = 0; axis < 3; axis++)
        for (size_t i = 0; i < LANES; i++) {
            float p = vp[axis][i], q = vq[axis][i];
            vp[axis][i] = cosine[i] * p - sine[i] * q;
            vq[axis][i] = sine[i] * p + cosine[i] * q;
        }
}

/* v[k][axis] becomes the eigenvector of the k-th diagonal element. */
OCTA_HOT static void diagonalise(matrices *a) {
    float floor[LANES];
    for (size_t i = 0; i < LANES; i++) {
        /* Rounding can leave a trace of a single return just below 0. */
        floor[i] = JACOBI_FLOOR * fabsf(a->xx[i] + a->yy[i] + a->zz[i]);
        for (int k = 0; k < 3; k++)
            for (int axis = 0; axis < 3; axis++)
                a->v[k][axis][i] = k == axis;
    }
    for (int sweep = 0; sweep < JACOBI_SWEEPS; sweep++) {
        rotate(a->xx, a->yy, a->xy, a->xz, a->yz, floor, a->v[0], a->v[1]);
        rotate(a->xx, a->zz, a->xz, a->xy, a->yz, floor, a->v[0], a->v[2]);
        rotate(a->yy, a->zz, a->yz, a->xy, a->xz, floor, a->v[1], a->v[2]);
    }
}

/* Eigenvalues ascending, and the axis of the least. */
static void principal_axes(const matrices *a, size_t lane, double values[3], double normal[3]) {
    const float diagonal[3] = {a->xx[lane], a->yy[lane], a->zz[lane]};
    int least = 0, most = 0;
    for (int i = 1; i < 3; i++) {
        least = diagonal[i] < diagonal[least] ? i : least;
        most = diagonal[i] >= diagonal[most] ? i : most;
    }
    int middle = least == most ? (least + 1) % 3 : 3 - least - most;
    values[0] = diagonal[least] > 0 ? diagonal[least] : 0;
    values[1] = diagonal[middle] > 0 ? diagonal[middle] : 0;
    values[2] = diagonal[most] > 0 ? diagonal[most] : 0;
    for (int axis = 0; axis < 3; axis++)
        normal[axis] = a->v[least][axis][lane];
}

/* Cosine between the normal and the line from a pose's origin to the site. */
static float view_cosine(const octa_extraction *e, const double *pose, const int32_t *site,
                         const double *normal) {
    double dot = 0, range2 = 0;
    for (int axis = 0; axis < 3; axis++) {
        double d = site[axis] * e->window->options.grid.half_edge_m - pose[4 * axis + 3];
        dot += d * normal[axis];
        range2 += d * d;
    }
    return range2 > 0 ? (float)(fabs(dot) / sqrt(range2)) : 0.0f;
}

static void shape_of_cell(const octa_extraction *e, size_t row, const matrices *a, size_t lane, float *f) {
    double values[3], normal[3];
    principal_axes(a, lane, values, normal);
    double most = values[2] > 0 ? values[2] : 1.0, sum = values[0] + values[1] + values[2];
    f[FEATURE_normal_z] = (float)fabs(normal[2]);
    f[FEATURE_view_cosine] = view_cosine(e, e->view->pose, e->sites[row], normal);
    f[FEATURE_forecast_view_cosine] = view_cosine(e, e->view->forecast_pose, e->sites[row], normal);
    f[FEATURE_planarity] = (float)((values[1] - values[0]) / most);
    f[FEATURE_linearity] = (float)((values[2] - values[1]) / most);
    f[FEATURE_curvature] = (float)(sum > 0 ? values[0] / sum : 0.0);
}

/* Returns of a cell and of its neighbours in the window, about the cell's site.
 */
static moments pooled(const octa_extraction *e, size_t row, const int32_t *neighbors) {
    moments m = e->moments[row];
    for (int n = 0; n < OCTA_NEIGHBORS; n++)
        if ((size_t)neighbors[n] < e->count)
            add_moments(&m, &e->moments[neighbors[n]], octa_neighbor_offsets[n]);
    return m;
}

void octa_shape_columns(octa_extraction *e, float *x, const int32_t *neighbors) {
    for (size_t i = 0; i < e->count; i++)
        e->moments[i] = own_moments(&e->window->cells[e->order[i].row]);
    for (size_t begin = 0; begin < e->count; begin += LANES) {
        const size_t lanes = e->count - begin < LANES ? e->count - begin : LANES;
        matrices a;
        memset(&a, 0, sizeof a);
        for (size_t lane = 0; lane < lanes; lane++) {
            moments m = pooled(e, begin + lane, neighbors + (begin + lane) * OCTA_NEIGHBORS);
            set_covariance(&a, lane, &m);
        }
        diagonalise(&a);
        for (size_t lane = 0; lane < lanes; lane++)
            shape_of_cell(e, begin + lane, &a, lane, octa_row_columns(e, x, begin + lane));
    }
}
