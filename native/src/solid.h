/* Convex solids by their faces: what planes leave of a cell, and how much of that lies in a ball or cylinder.
 */
#ifndef OCTA_SOLID_H
#define OCTA_SOLID_H

#include "cellshape.h"

#define OCTA_SOLID_FACES 24 /* of a cell 14, and one for every plane */
#define OCTA_SOLID_EDGES 24 /* of one face */

/* Points x of a face have normal . x = offset; its edges go round it against the clock, seen from outside, in
 * any order. */
typedef struct {
    double normal[3]; /* of unit length, outwards */
    double offset;
    int count;
    double edges[OCTA_SOLID_EDGES][2][3];
} octa_face;

typedef struct {
    int count;
    octa_face faces[OCTA_SOLID_FACES];
} octa_solid;

/* A cell about its site. */
void octa_solid_cell(octa_solid *solid);

/* Copy what is in use, a tenth of the whole. */
void octa_solid_copy(octa_solid *to, const octa_solid *from);

/* Keep what has normal . x <= offset; the normal need not be of unit length. At most 8 planes may cut a cell.
 */
void octa_solid_cut(octa_solid *solid, const double *normal, double offset);

double octa_solid_volume(const octa_solid *solid);

/* Volume of what lies within a ball. Its error is below 1e-12 of the radius squared. */
double octa_solid_in_ball(const octa_solid *solid, const double *center, double radius);

/* Volume of what lies within an endless cylinder about a line with a direction of unit length. */
double octa_solid_in_cylinder(const octa_solid *solid, const double *on_axis, const double *axis,
                              double radius);

#endif
