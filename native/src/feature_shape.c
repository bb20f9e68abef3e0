/* Columns of the local surface: principal axes of the returns in a cell and its neighbours. */
#include "extraction.h"

#include <math.h>
#include <string.h>

#define JACOBI_SWEEPS 4    /* converges quadratically: off-diagonals are below float precision by then */
#define JACOBI_FLOOR 1e-7f /* of the trace; a smaller off-diagonal does not show in float32 */
#define LANES OCTA_CELL_LANES

/* Symmetric matrices in columns, and the eigenvectors they have been turned by. */
typedef struct {
    float xx[LANES], yy[LANES], zz[LANES], xy[LANES], xz[LANES], yz[LANES];
    float v[3][3][LANES];
} matrices;

/* Moments of a cell's returns and its neighbours'; an absent neighbour has none. */
OCTA_HOT static void pool_moments(const octa_extraction *e, size_t begin, const int32_t *neighbors,
                                  double pooled[MOMENTS][LANES]) {
    const size_t cells = octa_block_cells(e, begin);
    for (size_t lane = 0; lane < cells; lane++) {
        const int32_t *rows = neighbors + (begin + lane) * OCTA_NEIGHBORS;
        const octa_doubles *own = e->moments[begin + lane];
        octa_doubles sum[3] = {own[0], own[1], own[2]};
        for (int n = 0; n < OCTA_NEIGHBORS; n++) {
            const octa_doubles *other = e->moments[rows[n]];
            sum[0] += other[0];
            sum[1] += other[1];
            sum[2] += other[2];
        }
        for (int m = 0; m < MOMENTS; m++)
            pooled[m][lane] = sum[m / 4][m % 4];
    }
}

/* Covariances in double, since they are differences of large numbers; float is enough from there on. */
OCTA_HOT static void set_covariances(double pooled[MOMENTS][LANES], matrices *a) {
    for (int i = 0; i < LANES; i++) {
        const double n = pooled[MOMENT_COUNT][i], x = pooled[MOMENT_FIRST][i] / n,
                     y = pooled[MOMENT_FIRST + 1][i] / n, z = pooled[MOMENT_FIRST + 2][i] / n;
        a->xx[i] = (float)(pooled[0][i] / n - x * x);
        a->yy[i] = (float)(pooled[1][i] / n - y * y);
        a->zz[i] = (float)(pooled[2][i] / n - z * z);
        a->xy[i] = (float)(pooled[3][i] / n - x * y);
        a->xz[i] = (float)(pooled[4][i] / n - x * z);
        a->yz[i] = (float)(pooled[5][i] / n - y * z);
    }
}

/* One Jacobi rotation in the plane of axes p and q that clears pq in every lane; r is the third axis. */
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

/* The axis of the least eigenvalue, and the eigenvalues ascending, not below 0, in xx, yy and zz. */
OCTA_HOT static void sort_axes(matrices *a, float normal[3][LANES]) {
    for (size_t i = 0; i < LANES; i++) {
        const float x = a->xx[i], y = a->yy[i], z = a->zz[i];
        const int y_least = y < x && y <= z, z_least = z < x && z < y;
        const float least = y_least ? y : z_least ? z : x;
        const float low = x < y ? x : y, high = x < y ? y : x;
        const float most = z > high ? z : high, middle = z > high ? high : z > low ? z : low;
        for (int axis = 0; axis < 3; axis++)
            normal[axis][i] = y_least ? a->v[1][axis][i] : z_least ? a->v[2][axis][i] : a->v[0][axis][i];
        a->xx[i] = least > 0 ? least : 0;
        a->yy[i] = middle > 0 ? middle : 0;
        a->zz[i] = most > 0 ? most : 0;
    }
}

/* Cosine between the normals and the lines from a pose's origin to the sites. */
OCTA_HOT static void view_cosine(const octa_extraction *e, const double *pose, size_t begin,
                                 float normal[3][LANES], float *cosine) {
    const size_t cells = octa_block_cells(e, begin);
    const double h = e->window->options.grid.half_edge_m;
    float line[3][LANES];
    memset(line, 0, sizeof line);
    for (size_t lane = 0; lane < cells; lane++)
        for (int axis = 0; axis < 3; axis++)
            line[axis][lane] = (float)(e->sites[begin + lane][axis] * h - pose[4 * axis + 3]);
    for (size_t i = 0; i < LANES; i++) {
        const float x = line[0][i], y = line[1][i], z = line[2][i], range = sqrtf(x * x + y * y + z * z);
        const float along = fabsf(x * normal[0][i] + y * normal[1][i] + z * normal[2][i]);
        cosine[i] = range > 0 ? along / range : 0;
    }
}

OCTA_HOT static void ratio_columns(const matrices *a, float normal[3][LANES], octa_column *f) {
    for (size_t i = 0; i < LANES; i++) {
        const float least = a->xx[i], middle = a->yy[i], largest = a->zz[i];
        const float most = largest > 0 ? largest : 1, sum = largest > 0 ? least + middle + largest : 1;
        f[FEATURE_normal_z][i] = fabsf(normal[2][i]);
        f[FEATURE_planarity][i] = (middle - least) / most;
        f[FEATURE_linearity][i] = (largest - middle) / most;
        f[FEATURE_curvature][i] = least / sum;
    }
}

void octa_shape_columns(const octa_extraction *e, size_t begin, const int32_t *neighbors) {
    double pooled[MOMENTS][LANES];
    float normal[3][LANES];
    matrices a;
    memset(pooled, 0, sizeof pooled);
    for (int lane = 0; lane < LANES; lane++)
        pooled[MOMENT_COUNT][lane] = 1; /* lanes behind the last cell */
    pool_moments(e, begin, neighbors, pooled);
    set_covariances(pooled, &a);
    diagonalise(&a);
    sort_axes(&a, normal);
    ratio_columns(&a, normal, octa_named(e));
    view_cosine(e, e->view->pose, begin, normal, octa_named(e)[FEATURE_view_cosine]);
    view_cosine(e, e->view->forecast_pose, begin, normal, octa_named(e)[FEATURE_forecast_view_cosine]);
}
