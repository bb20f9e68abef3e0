/* How much of a convex solid lies in a ball or a cylinder, in closed form.
 *
 * The solid is the signed sum of cones from the ball's centre to its faces, and each cone that of cones to
 * the triangles between the foot of the centre on the face and its edges. Such a triangle, at height a, with
 * its edge at distance b from the foot and reaching from c1 to c2 along it, has within the ball where the
 * face is nearer than the sphere: the cone itself, a b (c2 - c1) / 6; where it is not: a part of the ball of
 * solid angle W, R^3 W / 3, without the cap that the face would cut off. In a cylinder it is prisms below the
 * faces, seen along the axis, instead of cones. */
#include "solid.h"

#define NEARLY_ALONG 1e-9 /* a face that steep is a line, seen along the axis */

/* What an edge is to a point of its face's plane. */
typedef struct {
    double distance, from, to; /* of its line; along it, from the foot of the point */
} edge_place;

static int place_edge(const double (*edge)[3], const double *normal, const double *foot, edge_place *place) {
    double along[3], v[3], outwards[3];
    octa_minus3(edge[1], edge[0], along);
    const double length = sqrt(octa_dot3(along, along));
    if (length == 0.0)
        return 0;
    for (int axis = 0; axis < 3; axis++)
        along[axis] /= length;
    octa_cross3(along, normal, outwards);
    octa_minus3(edge[0], foot, v);
    place->distance = octa_dot3(outwards, v);
    place->from = octa_dot3(along, v);
    place->to = place->from + length;
    return 1;
}

typedef struct {
    double radius, height, rim; /* rim: of the disc in which the face cuts the ball, 0 if it does not */
} cut_ball;

/* Solid angle of the triangle, after Van Oosterom & Strackee 1983, with the differences taken before. */
static double solid_angle(double a, double b, double from, double to) {
    const double d1 = sqrt(a * a + b * b + from * from), d2 = sqrt(a * a + b * b + to * to);
    return 2.0 * atan2(b * (to - from), d1 * d2 + a * (d1 + d2) + b * b + from * to + a * a);
}

/* A triangle whose edge is outside the ball. */
static double beyond_rim(const cut_ball *ball, double b, double from, double to) {
    const double r = ball->radius, a = ball->height, sector = r * r * r / 3.0 * solid_angle(a, b, from, to);
    if (r <= a)
        return sector;
    const double angle = atan2(b * (to - from), b * b + from * to);
    return sector - (r - a) * (r - a) * (a + 2.0 * r) / 6.0 * angle;
}

static double triangle_in_ball(const cut_ball *ball, double b, double from, double to) {
    if (b >= ball->rim)
        return beyond_rim(ball, b, from, to);
    const double half = sqrt((ball->rim - b) * (ball->rim + b));
    const double low = fmax(from, -half), high = fmin(to, half);
    if (low >= high)
        return beyond_rim(ball, b, from, to);
    double sum = ball->height * b * (high - low) / 6.0;
    if (from < low)
        sum += beyond_rim(ball, b, from, low);
    if (high < to)
        sum += beyond_rim(ball, b, high, to);
    return sum;
}

double octa_solid_in_ball(const octa_solid *solid, const double *center, double radius) {
    double sum = 0.0, foot[3];
    for (int f = 0; f < solid->count; f++) {
        const octa_face *face = &solid->faces[f];
        const double height = face->offset - octa_dot3(face->normal, center), a = fabs(height);
        const cut_ball ball = {radius, a, a < radius ? sqrt((radius - a) * (radius + a)) : 0.0};
        double cone = 0.0;
        for (int axis = 0; axis < 3; axis++)
            foot[axis] = center[axis] + height * face->normal[axis];
        for (int i = 0; i < face->count; i++) {
            edge_place place;
            if (!place_edge((const double (*)[3])face->edges[i], face->normal, foot, &place) ||
                place.distance == 0.0)
                continue;
            cone +=
                copysign(triangle_in_ball(&ball, fabs(place.distance), place.from, place.to), place.distance);
        }
        sum += copysign(1.0, height) * cone;
    }
    return sum;
}

/* ---- cylinder */

/* A face seen along the axis: its height there is level + slope . q. */
typedef struct {
    double level, slope[2];
} roof;

static double height_at(const roof *over, const double *q) {
    return over->level + (over->slope[0] * q[0] + over->slope[1] * q[1]);
}

static double cross2(const double *p, const double *q) { return p[0] * q[1] - p[1] * q[0]; }

/* Below the roof, over the triangle between the axis and two points within the disc. */
static double over_triangle(const roof *over, const double *p, const double *q) {
    return cross2(p, q) / 2.0 * (over->level + height_at(over, p) + height_at(over, q)) / 3.0;
}

/* Below the roof, over the sector of the disc between the directions of two points. */
static double over_sector(const roof *over, double radius, const double *p, const double *q) {
    const double angle = atan2(cross2(p, q), p[0] * q[0] + p[1] * q[1]);
    const double along_p = sqrt(p[0] * p[0] + p[1] * p[1]), along_q = sqrt(q[0] * q[0] + q[1] * q[1]);
    const double x = q[1] / along_q - p[1] / along_p, y = p[0] / along_p - q[0] / along_q;
    return radius * radius / 2.0 * over->level * angle +
           radius * radius * radius / 3.0 * (over->slope[0] * x + over->slope[1] * y);
}

static double edge_in_disc(const roof *over, double radius, const double *p, const double *q) {
    const double along[2] = {q[0] - p[0], q[1] - p[1]},
                 length = sqrt(along[0] * along[0] + along[1] * along[1]);
    if (length == 0.0 || cross2(p, q) == 0.0)
        return 0.0;
    const double from = (p[0] * along[0] + p[1] * along[1]) / length, b = fabs(cross2(p, q)) / length;
    const double half = b < radius ? sqrt((radius - b) * (radius + b)) : 0.0;
    const double low = fmax(from, -half) - from, high = fmin(from + length, half) - from;
    if (b >= radius || low >= high)
        return over_sector(over, radius, p, q);
    const double u[2] = {p[0] + low / length * along[0], p[1] + low / length * along[1]};
    const double v[2] = {p[0] + high / length * along[0], p[1] + high / length * along[1]};
    double sum = over_triangle(over, low > 0.0 ? u : p, high < length ? v : q);
    if (low > 0.0)
        sum += over_sector(over, radius, p, u);
    if (high < length)
        sum += over_sector(over, radius, v, q);
    return sum;
}

double octa_solid_in_cylinder(const octa_solid *solid, const double *on_axis, const double *axis,
                              double radius) {
    const double far[3] = {fabs(axis[0]) < 0.5 ? 1.0 : 0.0, fabs(axis[0]) < 0.5 ? 0.0 : 1.0, 0.0};
    double across[2][3], sum = 0.0;
    octa_cross3(axis, far, across[0]);
    const double length = sqrt(octa_dot3(across[0], across[0]));
    for (int k = 0; k < 3; k++)
        across[0][k] /= length;
    octa_cross3(axis, across[0], across[1]);
    for (int f = 0; f < solid->count; f++) {
        const octa_face *face = &solid->faces[f];
        const double lean = octa_dot3(face->normal, axis);
        if (fabs(lean) < NEARLY_ALONG)
            continue;
        const roof over = {
            (face->offset - octa_dot3(face->normal, on_axis)) / lean,
            {-octa_dot3(face->normal, across[0]) / lean, -octa_dot3(face->normal, across[1]) / lean}};
        for (int i = 0; i < face->count; i++) {
            double v[3], ends[2][2];
            for (int end = 0; end < 2; end++) {
                octa_minus3(face->edges[i][end], on_axis, v);
                ends[end][0] = octa_dot3(across[0], v);
                ends[end][1] = octa_dot3(across[1], v);
            }
            sum += edge_in_disc(&over, radius, ends[0], ends[1]);
        }
    }
    return sum;
}
