/* Columns of the local surface: principal axes of the returns in a cell and its neighbours. */
#include "extraction.h"

#include <math.h>
#include <string.h>

#define JACOBI_SWEEPS 4   /* converges quadratically: off-diagonals are below float precision by then */
#define JACOBI_FLOOR 1e-7 /* of the trace; a smaller off-diagonal does not show in float32 */

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

static void covariance(const moments *m, double a[3][3]) {
    const double mean[3] = {m->first[0] / m->n, m->first[1] / m->n, m->first[2] / m->n};
    a[0][0] = m->second[0] / m->n - mean[0] * mean[0];
    a[1][1] = m->second[1] / m->n - mean[1] * mean[1];
    a[2][2] = m->second[2] / m->n - mean[2] * mean[2];
    a[0][1] = a[1][0] = m->second[3] / m->n - mean[0] * mean[1];
    a[0][2] = a[2][0] = m->second[4] / m->n - mean[0] * mean[2];
    a[1][2] = a[2][1] = m->second[5] / m->n - mean[1] * mean[2];
}

/* One Jacobi rotation that clears a[p][q]; columns of v turn along. */
static void rotate(double a[3][3], double v[3][3], int p, int q) {
    /* Rounding can leave a trace of a single return just below 0. */
    if (fabs(a[p][q]) <= JACOBI_FLOOR * fabs(a[0][0] + a[1][1] + a[2][2]))
        return;
    double theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    double t = (theta >= 0 ? 1.0 : -1.0) / (fabs(theta) + sqrt(theta * theta + 1.0));
    double c = 1.0 / sqrt(t * t + 1.0), s = t * c;
    for (int k = 0; k < 3; k++) {
        double kp = a[k][p], kq = a[k][q];
        a[k][p] = c * kp - s * kq;
        a[k][q] = s * kp + c * kq;
    }
    for (int k = 0; k < 3; k++) {
        double pk = a[p][k], qk = a[q][k], vp = v[k][p], vq = v[k][q];
        a[p][k] = c * pk - s * qk;
        a[q][k] = s * pk + c * qk;
        v[k][p] = c * vp - s * vq;
        v[k][q] = s * vp + c * vq;
    }
}

/* Eigenvalues ascending, and the axis of the least. */
static void principal_axes(double a[3][3], double values[3], double normal[3]) {
    double v[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    for (int sweep = 0; sweep < JACOBI_SWEEPS; sweep++) {
        rotate(a, v, 0, 1);
        rotate(a, v, 0, 2);
        rotate(a, v, 1, 2);
    }
    int least = 0, most = 0;
    for (int i = 1; i < 3; i++) {
        least = a[i][i] < a[least][least] ? i : least;
        most = a[i][i] >= a[most][most] ? i : most;
    }
    int middle = least == most ? (least + 1) % 3 : 3 - least - most;
    values[0] = a[least][least] > 0 ? a[least][least] : 0;
    values[1] = a[middle][middle] > 0 ? a[middle][middle] : 0;
    values[2] = a[most][most] > 0 ? a[most][most] : 0;
    for (int axis = 0; axis < 3; axis++)
        normal[axis] = v[axis][least];
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

void octa_shape_columns(octa_extraction *e, float *x, const int32_t *neighbors) {
    for (size_t i = 0; i < e->count; i++)
        e->moments[i] = own_moments(&e->window->cells[e->order[i].row]);
    for (size_t i = 0; i < e->count; i++) {
        moments m = e->moments[i];
        double a[3][3], values[3], normal[3];
        for (int n = 0; n < OCTA_NEIGHBORS; n++) {
            size_t row = (size_t)neighbors[i * OCTA_NEIGHBORS + n];
            if (row < e->count)
                add_moments(&m, &e->moments[row], octa_neighbor_offsets[n]);
        }
        covariance(&m, a);
        principal_axes(a, values, normal);
        float *f = octa_row_columns(e, x, i);
        double most = values[2] > 0 ? values[2] : 1.0, sum = values[0] + values[1] + values[2];
        f[FEATURE_normal_z] = (float)fabs(normal[2]);
        f[FEATURE_view_cosine] = view_cosine(e, e->view->pose, e->sites[i], normal);
        f[FEATURE_forecast_view_cosine] = view_cosine(e, e->view->forecast_pose, e->sites[i], normal);
        f[FEATURE_planarity] = (float)((values[1] - values[0]) / most);
        f[FEATURE_linearity] = (float)((values[2] - values[1]) / most);
        f[FEATURE_curvature] = (float)(sum > 0 ? values[0] / sum : 0.0);
    }
}
