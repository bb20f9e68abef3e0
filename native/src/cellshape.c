#include "cellshape.h"

const double octa_cell_directions[OCTA_CELL_DIRECTIONS][3] = {{0, 1, 1},  {0, 1, -1}, {1, 0, 1},
                                                              {1, 0, -1}, {1, 1, 0},  {1, -1, 0}};

const double octa_cell_normals[OCTA_CELL_NORMALS][3] = {{1, 0, 0},  {0, 1, 0},  {0, 0, 1},  {1, 1, 1},
                                                        {1, 1, -1}, {1, -1, 1}, {1, -1, -1}};

static double squared(double v) { return v * v; }

static void swap_if_less(double *a, double *b) {
    if (*a < *b) {
        const double t = *a;
        *a = *b;
        *b = t;
    }
}

/* By symmetry the point may have a >= b >= c >= 0, and what is nearest to it has too: on the square x = 1, on
 * the hexagon x + y + z = 3/2, on the edge between them, on the edge z = 0 of the hexagon, or at their
 * corner. */
double octa_cell_distance2(const double *point) {
    double a = fabs(point[0]), b = fabs(point[1]), c = fabs(point[2]);
    swap_if_less(&a, &b);
    swap_if_less(&b, &c);
    swap_if_less(&a, &b);
    const double over = ((a + b) + c) - 1.5, t = over / 3.0;
    if (a <= 1.0 && over <= 0.0)
        return 0.0;
    if (a >= 1.0 && b + c <= 0.5)
        return squared(a - 1.0);
    if (over > 0.0 && c >= t && a - t <= 1.0)
        return over * over / 3.0;
    const double w = (b + c - 0.5) / 2.0, u = (a + b - 1.5) / 2.0;
    const double corner = squared(a - 1.0) + squared(b - 0.5) + squared(c);
    const double beside_square = c >= w ? squared(a - 1.0) + 2.0 * squared(w) : corner;
    const double between_hexagons = a - u <= 1.0 ? 2.0 * squared(u) + squared(c) : corner;
    return fmin(beside_square, between_hexagons);
}

double octa_segment_distance2(const double *point, const double *from, const double *to) {
    double along[3], v[3];
    octa_minus3(to, from, along);
    octa_minus3(point, from, v);
    const double length2 = octa_dot3(along, along), dot = octa_dot3(v, along);
    const double t = dot <= 0.0 || length2 == 0.0 ? 0.0 : dot >= length2 ? 1.0 : dot / length2;
    for (int axis = 0; axis < 3; axis++)
        v[axis] -= t * along[axis];
    return octa_dot3(v, v);
}

/* Whether some of from + t (to - from), 0 <= t <= 1, is within every pair of faces. */
static int meets(const double *from, const double *to) {
    double first = 0.0, last = 1.0, along[3];
    octa_minus3(to, from, along);
    for (int k = 0; k < OCTA_CELL_NORMALS; k++) {
        const double reach = octa_cell_support(octa_cell_normals[k]);
        const double at = octa_dot3(octa_cell_normals[k], from),
                     rate = octa_dot3(octa_cell_normals[k], along);
        if (rate == 0.0) {
            if (fabs(at) > reach)
                return 0;
            continue;
        }
        const double one = (-reach - at) / rate, other = (reach - at) / rate;
        first = fmax(first, fmin(one, other));
        last = fmin(last, fmax(one, other));
    }
    return first <= last;
}

/* Nearest points of two segments that are not parallel, if both lie within; the ends are left to others. */
static double crossing_distance2(const double *from, const double *along, const double *edge,
                                 const double *edge_along) {
    double between[3], normal[3], turned[3];
    octa_cross3(along, edge_along, normal);
    const double size2 = octa_dot3(normal, normal);
    if (size2 == 0.0)
        return INFINITY;
    octa_minus3(edge, from, between);
    octa_cross3(between, edge_along, turned);
    const double t = octa_dot3(turned, normal);
    octa_cross3(between, along, turned);
    const double s = octa_dot3(turned, normal);
    if (t < 0.0 || t > size2 || s < 0.0 || s > size2)
        return INFINITY;
    return squared(octa_dot3(between, normal)) / size2;
}

/* Two convex bodies that do not meet are nearest at a corner of one and a face of the other, or at two edges.
 */
double octa_cell_segment_distance2(const octa_cell_edges *edges, const double *from, const double *to) {
    double along[3], edge_along[3];
    if (meets(from, to))
        return 0.0;
    octa_minus3(to, from, along);
    double least = fmin(octa_cell_distance2(from), octa_cell_distance2(to));
    for (int k = 0; k < OCTA_CELL_EDGES; k++) {
        const double (*ends)[3] = edges->ends[k];
        octa_minus3(ends[1], ends[0], edge_along);
        least = fmin(least, crossing_distance2(from, along, ends[0], edge_along));
        least = fmin(least, octa_segment_distance2(ends[0], from, to));
        least = fmin(least, octa_segment_distance2(ends[1], from, to));
    }
    return least;
}

/* An edge joins corners that differ by (0, 1/2, 1/2) in some order and with some signs. */
octa_cell_edges octa_cell_edges_of(void) {
    double corners[24][3];
    octa_cell_edges edges;
    int count = 0, found = 0;
    for (int zero = 0; zero < 3; zero++)
        for (int half = 0; half < 2; half++)
            for (int signs = 0; signs < 4; signs++, count++) {
                corners[count][zero] = 0.0;
                corners[count][(zero + 1 + half) % 3] = signs & 1 ? -0.5 : 0.5;
                corners[count][(zero + 2 - half) % 3] = signs & 2 ? -1.0 : 1.0;
            }
    for (int i = 0; i < count; i++)
        for (int j = i + 1; j < count; j++) {
            double between[3];
            octa_minus3(corners[i], corners[j], between);
            if (octa_dot3(between, between) != 0.5)
                continue;
            for (int axis = 0; axis < 3; axis++) {
                edges.ends[found][0][axis] = corners[i][axis];
                edges.ends[found][1][axis] = corners[j][axis];
            }
            found++;
        }
    return edges;
}
