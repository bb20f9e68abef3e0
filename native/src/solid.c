#include "solid.h"

#include <string.h>

static void add_edge(octa_face *face, const double *from, const double *to) {
    if (face->count == OCTA_SOLID_EDGES)
        return; /* never: a convex face has fewer edges than its solid has faces */
    memcpy(face->edges[face->count][0], from, sizeof face->edges[0][0]);
    memcpy(face->edges[face->count][1], to, sizeof face->edges[0][1]);
    face->count++;
}

static void copy_face(octa_face *to, const octa_face *from) {
    memcpy(to->normal, from->normal, sizeof to->normal);
    to->offset = from->offset;
    to->count = from->count;
    memcpy(to->edges, from->edges, (size_t)from->count * sizeof *from->edges);
}

void octa_solid_copy(octa_solid *to, const octa_solid *from) {
    to->count = from->count;
    for (int f = 0; f < from->count; f++)
        copy_face(&to->faces[f], &from->faces[f]);
}

/* Edges of a face whose corners are given in turn, one way or the other. */
static void add_polygon(octa_solid *solid, const double *outwards, double (*corners)[3], int count) {
    octa_face *face = &solid->faces[solid->count++];
    double first[3], second[3], turn[3];
    const double length = sqrt(octa_dot3(outwards, outwards));
    face->count = 0;
    for (int axis = 0; axis < 3; axis++)
        face->normal[axis] = outwards[axis] / length;
    face->offset = octa_dot3(face->normal, corners[0]);
    octa_minus3(corners[1], corners[0], first);
    octa_minus3(corners[2], corners[1], second);
    octa_cross3(first, second, turn);
    const int forwards = octa_dot3(turn, outwards) > 0.0;
    for (int i = 0; i < count; i++) {
        const int next = (i + 1) % count;
        add_edge(face, corners[forwards ? i : next], corners[forwards ? next : i]);
    }
}

static void add_square(octa_solid *solid, int axis, double sign) {
    double corners[4][3], outwards[3] = {0.0, 0.0, 0.0};
    outwards[axis] = sign;
    for (int i = 0; i < 4; i++) {
        corners[i][axis] = sign;
        corners[i][(axis + 1) % 3] = i == 0 ? 0.5 : i == 2 ? -0.5 : 0.0;
        corners[i][(axis + 2) % 3] = i == 1 ? 0.5 : i == 3 ? -0.5 : 0.0;
    }
    add_polygon(solid, outwards, corners, 4);
}

static void add_hexagon(octa_solid *solid, const double *signs) {
    static const double first[6][3] = {{1, 0.5, 0}, {1, 0, 0.5}, {0.5, 0, 1},
                                       {0, 0.5, 1}, {0, 1, 0.5}, {0.5, 1, 0}};
    double corners[6][3];
    for (int i = 0; i < 6; i++)
        for (int axis = 0; axis < 3; axis++)
            corners[i][axis] = signs[axis] * first[i][axis];
    add_polygon(solid, signs, corners, 6);
}

void octa_solid_cell(octa_solid *solid) {
    solid->count = 0;
    for (int axis = 0; axis < 3; axis++) {
        add_square(solid, axis, 1.0);
        add_square(solid, axis, -1.0);
    }
    for (int k = 0; k < 8; k++) {
        const double signs[3] = {k & 1 ? -1.0 : 1.0, k & 2 ? -1.0 : 1.0, k & 4 ? -1.0 : 1.0};
        add_hexagon(solid, signs);
    }
}

/* Where an edge meets a plane, from its end within: the same point for both faces of the edge. */
static void meet(const double *within, double inside, const double *beyond, double outside, double *out) {
    const double t = inside / (inside - outside);
    for (int axis = 0; axis < 3; axis++)
        out[axis] = within[axis] + t * (beyond[axis] - within[axis]);
}

/* Cut one face and give the plane's face the edge along which it was cut. */
static void cut_face(octa_face *face, const double *normal, double offset, octa_face *plane) {
    octa_face kept;
    double leaves[3], enters[3];
    int left = 0, entered = 0;
    kept.count = 0;
    for (int i = 0; i < face->count; i++) {
        const double *from = face->edges[i][0], *to = face->edges[i][1];
        const double a = octa_dot3(normal, from) - offset, b = octa_dot3(normal, to) - offset;
        if (a <= 0.0 && b <= 0.0) {
            add_edge(&kept, from, to);
        } else if (a <= 0.0) {
            meet(from, a, to, b, leaves);
            add_edge(&kept, from, leaves);
            left = 1;
        } else if (b <= 0.0) {
            meet(to, b, from, a, enters);
            add_edge(&kept, enters, to);
            entered = 1;
        }
    }
    if (left && entered) {
        add_edge(&kept, leaves, enters);
        add_edge(plane, enters, leaves);
    }
    memcpy(face->edges, kept.edges, (size_t)kept.count * sizeof *kept.edges);
    face->count = kept.count;
}

void octa_solid_cut(octa_solid *solid, const double *normal, double offset) {
    octa_face plane;
    const double length = sqrt(octa_dot3(normal, normal));
    int kept = 0;
    plane.count = 0;
    for (int f = 0; f < solid->count; f++) {
        cut_face(&solid->faces[f], normal, offset, &plane);
        if (solid->faces[f].count > 2) {
            if (kept != f)
                copy_face(&solid->faces[kept], &solid->faces[f]);
            kept++;
        }
    }
    solid->count = kept;
    if (plane.count < 3 || solid->count == OCTA_SOLID_FACES)
        return;
    for (int axis = 0; axis < 3; axis++)
        plane.normal[axis] = normal[axis] / length;
    plane.offset = offset / length;
    copy_face(&solid->faces[solid->count++], &plane);
}

/* Of tetrahedra from the origin: the faces are flat, so each is a fan from any of its corners. */
double octa_solid_volume(const octa_solid *solid) {
    double sixfold = 0.0, turn[3];
    for (int f = 0; f < solid->count; f++) {
        const octa_face *face = &solid->faces[f];
        for (int i = 0; i < face->count; i++) {
            octa_cross3(face->edges[i][0], face->edges[i][1], turn);
            sixfold += octa_dot3(face->edges[0][0], turn);
        }
    }
    return sixfold / 6.0;
}
