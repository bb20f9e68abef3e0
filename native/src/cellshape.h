/* The shape of a cell about its site: the truncated octahedron |x|, |y|, |z| <= 1, |x| + |y| + |z| <= 3/2. */
#ifndef OCTA_CELLSHAPE_H
#define OCTA_CELLSHAPE_H

#include <math.h>

#define OCTA_CELL_VOLUME 4.0
#define OCTA_CELL_INRADIUS 0.8660254037844386    /* to the hexagons: sqrt(3) / 2 */
#define OCTA_CELL_CIRCUMRADIUS 1.118033988749895 /* to the corners: sqrt(5) / 2 */
#define OCTA_CELL_EDGES 36
#define OCTA_CELL_DIRECTIONS 6 /* of edges */
#define OCTA_CELL_NORMALS 7    /* of faces, each with its opposite */

extern const double octa_cell_directions[OCTA_CELL_DIRECTIONS][3];
extern const double octa_cell_normals[OCTA_CELL_NORMALS][3];

/* Edges of a cell, both ends each. */
typedef struct {
    double ends[OCTA_CELL_EDGES][2][3];
} octa_cell_edges;

octa_cell_edges octa_cell_edges_of(void);

static inline double octa_dot3(const double *a, const double *b) {
    return (a[0] * b[0] + a[1] * b[1]) + a[2] * b[2];
}

static inline void octa_minus3(const double *a, const double *b, double *out) {
    for (int axis = 0; axis < 3; axis++)
        out[axis] = a[axis] - b[axis];
}

static inline void octa_cross3(const double *a, const double *b, double *out) {
    const double x = a[1] * b[2] - a[2] * b[1], y = a[2] * b[0] - a[0] * b[2], z = a[0] * b[1] - a[1] * b[0];
    out[0] = x;
    out[1] = y;
    out[2] = z;
}

/* How far the cell reaches along a direction: its corners are (0, 1/2, 1) in any order and with any signs. */
static inline double octa_cell_support(const double *n) {
    const double x = fabs(n[0]), y = fabs(n[1]), z = fabs(n[2]);
    const double most = fmax(x, fmax(y, z)), least = fmin(x, fmin(y, z));
    return most + 0.5 * (((x + y) + z) - most - least);
}

/* Squared distance of a point from the cell; 0 within it. */
double octa_cell_distance2(const double *point);

/* Squared distance of a segment from the cell; 0 where they meet. */
double octa_cell_segment_distance2(const octa_cell_edges *edges, const double *from, const double *to);

/* Squared distance of a point from a segment. */
double octa_segment_distance2(const double *point, const double *from, const double *to);

#endif
