#include "region.h"

#include <string.h>

/* How far apart what is decided for a box and what is decided for a site may be: far more than rounding. */
#define SLACK 1e-9
#define PARALLEL 1e-12 /* length of the product of two edges below which it is no direction */
#define CORNERS 8

/* ---- a region as it is given, in half edges from its anchor */

typedef struct {
    int corners, normals, directions;
    double corner[CORNERS][3];
    double normal[5][3], direction[6][3];
} hull;

static int all_finite(const double *values, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return 0;
    return 1;
}

size_t octa_region_values(uint32_t kind) {
    static const size_t counts[OCTA_REGIONS] = {4, 6, 15, 7, 16};
    return kind < OCTA_REGIONS ? counts[kind] : 0;
}

static octa_error check_values(uint32_t kind, const double *v) {
    if (!all_finite(v, octa_region_values(kind)))
        return OCTA_E_DOMAIN;
    switch (kind) {
    case OCTA_SPHERE:
        return v[3] >= 0.0 ? OCTA_OK : OCTA_E_DOMAIN;
    case OCTA_BOX:
        return v[0] <= v[3] && v[1] <= v[4] && v[2] <= v[5] ? OCTA_OK : OCTA_E_DOMAIN;
    case OCTA_ORIENTED_BOX:
        return v[12] >= 0.0 && v[13] >= 0.0 && v[14] >= 0.0 ? octa_pose_check(v) : OCTA_E_DOMAIN;
    case OCTA_CAPSULE:
        return v[6] >= 0.0 ? OCTA_OK : OCTA_E_DOMAIN;
    default:
        return v[12] > 0.0 && v[13] > 0.0 && v[14] >= 0.0 && v[14] < v[15] ? octa_pose_check(v)
                                                                           : OCTA_E_DOMAIN;
    }
}

/* Columns of a rotation that is one to rounding. */
static octa_error axes_of(const double *pose, double axes[3][3]) {
    double vector[7], matrix[12];
    OCTA_TRY(octa_pose_vector(pose, vector));
    OCTA_TRY(octa_pose_matrix(vector, matrix));
    for (int column = 0; column < 3; column++)
        for (int row = 0; row < 3; row++)
            axes[column][row] = matrix[4 * row + column];
    return OCTA_OK;
}

/* The site near the middle of a box, and the box from there; an error where a site beyond the map is within.
 */
static octa_error place_anchor(octa_region *region, const double *low, const double *high) {
    const double more = region->intersects ? 1.0 : 0.0;
    for (int axis = 0; axis < 3; axis++) {
        const double least = low[axis] - more, most = high[axis] + more;
        if (!(least > OCTA_COORD_MIN - 1.0 && most < OCTA_COORD_MAX + 1.0))
            return OCTA_E_RANGE;
        const double middle = 2.0 * floor(0.25 * (least + most) + 0.5);
        region->anchor[axis] = (int32_t)middle;
        region->low[axis] = least - middle;
        region->high[axis] = most - middle;
    }
    return OCTA_OK;
}

static void from_anchor(const octa_region *region, const double *point, double *out) {
    for (int axis = 0; axis < 3; axis++)
        out[axis] = point[axis] - region->anchor[axis];
}

/* ---- balls and capsules */

static octa_error prepare_capsule(octa_region *region, const double *from, const double *to, double radius) {
    double low[3], high[3];
    for (int axis = 0; axis < 3; axis++) {
        low[axis] = fmin(from[axis], to[axis]) - radius;
        high[axis] = fmax(from[axis], to[axis]) + radius;
    }
    OCTA_TRY(place_anchor(region, low, high));
    from_anchor(region, from, region->from);
    from_anchor(region, to, region->to);
    region->radius = radius;
    return OCTA_OK;
}

/* ---- boxes and frusta */

static void add_slab(octa_region *region, const double *normal, double low, double high) {
    octa_slab *slab = &region->slab[region->slabs++];
    memcpy(slab->normal, normal, sizeof slab->normal);
    slab->low = low;
    slab->high = high;
}

static void add_plane(octa_region *region, const double *normal, double sign, double offset) {
    octa_plane *plane = &region->plane[region->planes++];
    for (int axis = 0; axis < 3; axis++)
        plane->normal[axis] = sign * normal[axis];
    plane->offset = offset;
}

/* Where a region and the cell of a site are apart, some direction tells them apart: the normal of a face of
 * either, or the product of an edge of one and an edge of the other. */
static void add_separation(octa_region *region, const hull *h, const double *normal) {
    const double reach = octa_cell_support(normal);
    double low = INFINITY, high = -INFINITY;
    for (int i = 0; i < h->corners; i++) {
        const double at = octa_dot3(normal, h->corner[i]);
        low = fmin(low, at);
        high = fmax(high, at);
    }
    add_slab(region, normal, low - reach, high + reach);
}

static void add_separations(octa_region *region, const hull *h) {
    for (int i = 0; i < OCTA_CELL_NORMALS; i++)
        add_separation(region, h, octa_cell_normals[i]);
    for (int i = 0; i < h->normals; i++)
        add_separation(region, h, h->normal[i]);
    for (int i = 0; i < h->directions; i++)
        for (int j = 0; j < OCTA_CELL_DIRECTIONS; j++) {
            double normal[3];
            octa_cross3(h->direction[i], octa_cell_directions[j], normal);
            if (octa_dot3(normal, normal) > PARALLEL * PARALLEL)
                add_separation(region, h, normal);
        }
}

/* Slabs of the region itself, each with its two planes. */
static void add_faces(octa_region *region, const double *normal, double low, double high) {
    if (!region->intersects)
        add_slab(region, normal, low, high);
    if (isfinite(high))
        add_plane(region, normal, 1.0, high);
    if (isfinite(low))
        add_plane(region, normal, -1.0, -low);
}

static void bounds_of(const hull *h, double *low, double *high) {
    for (int axis = 0; axis < 3; axis++) {
        low[axis] = high[axis] = h->corner[0][axis];
        for (int i = 1; i < h->corners; i++) {
            low[axis] = fmin(low[axis], h->corner[i][axis]);
            high[axis] = fmax(high[axis], h->corner[i][axis]);
        }
    }
}

static octa_error place_hull(octa_region *region, hull *h) {
    double low[3], high[3];
    bounds_of(h, low, high);
    OCTA_TRY(place_anchor(region, low, high));
    for (int i = 0; i < h->corners; i++)
        from_anchor(region, h->corner[i], h->corner[i]);
    return OCTA_OK;
}

static octa_error prepare_box(octa_region *region, const double *low, const double *high) {
    hull h = {.corners = CORNERS, .normals = 3, .directions = 3};
    for (int axis = 0; axis < 3; axis++) {
        h.normal[axis][axis] = h.direction[axis][axis] = 1.0;
        for (int i = 0; i < CORNERS; i++)
            h.corner[i][axis] = i >> axis & 1 ? high[axis] : low[axis];
    }
    OCTA_TRY(place_hull(region, &h));
    for (int axis = 0; axis < 3; axis++)
        add_faces(region, h.normal[axis], h.corner[0][axis], h.corner[CORNERS - 1][axis]);
    if (region->intersects)
        add_separations(region, &h);
    return OCTA_OK;
}

static octa_error prepare_oriented_box(octa_region *region, const double *pose, const double *v) {
    hull h = {.corners = CORNERS, .normals = 3, .directions = 3};
    const double origin[3] = {v[3], v[7], v[11]}, *half = v + 12;
    double axes[3][3], middle[3];
    OCTA_TRY(axes_of(pose, axes));
    for (int i = 0; i < CORNERS; i++)
        for (int row = 0; row < 3; row++) {
            h.corner[i][row] = origin[row];
            for (int k = 0; k < 3; k++)
                h.corner[i][row] += (i >> k & 1 ? half[k] : -half[k]) * axes[k][row];
        }
    memcpy(h.normal, axes, sizeof axes);
    memcpy(h.direction, axes, sizeof axes);
    OCTA_TRY(place_hull(region, &h));
    for (int row = 0; row < 3; row++)
        middle[row] = origin[row] - region->anchor[row];
    for (int k = 0; k < 3; k++) {
        const double at = octa_dot3(axes[k], middle);
        add_faces(region, axes[k], at - half[k], at + half[k]);
    }
    if (region->intersects)
        add_separations(region, &h);
    return OCTA_OK;
}

/* Its edges are those of the near and the far end, and four from end to end. */
static octa_error prepare_frustum(octa_region *region, const double *pose, const double *tangent,
                                  const double *v) {
    hull h = {.corners = CORNERS, .normals = 5, .directions = 6};
    const double origin[3] = {v[3], v[7], v[11]}, near = v[14], far = v[15];
    double axes[3][3], apex[3];
    OCTA_TRY(axes_of(pose, axes));
    for (int i = 0; i < CORNERS; i++)
        for (int row = 0; row < 3; row++) {
            const double x = i & 1 ? tangent[0] : -tangent[0], y = i & 2 ? tangent[1] : -tangent[1];
            const double ray = (x * axes[0][row] + y * axes[1][row]) + axes[2][row];
            h.corner[i][row] = origin[row] + (i & 4 ? far : near) * ray;
            if (i < 4)
                h.direction[i][row] = ray;
        }
    memcpy(h.direction[4], axes, 2 * sizeof axes[0]);
    memcpy(h.normal[0], axes[2], sizeof axes[2]);
    OCTA_TRY(place_hull(region, &h));
    for (int row = 0; row < 3; row++)
        apex[row] = origin[row] - region->anchor[row];
    const double depth = octa_dot3(axes[2], apex);
    add_faces(region, axes[2], depth + near, depth + far);
    for (int side = 0; side < 4; side++) {
        double *normal = h.normal[1 + side];
        for (int row = 0; row < 3; row++)
            normal[row] = (side & 1 ? -1.0 : 1.0) * axes[side / 2][row] - tangent[side / 2] * axes[2][row];
        add_faces(region, normal, -INFINITY, octa_dot3(normal, apex));
    }
    if (region->intersects)
        add_separations(region, &h);
    return OCTA_OK;
}

octa_error octa_region_prepare(octa_region *region, uint32_t kind, const double *values, double half_edge_m,
                               int intersects, const octa_cell_edges *edges) {
    double v[16];
    OCTA_TRY(check_values(kind, values));
    for (size_t i = 0; i < octa_region_values(kind); i++)
        v[i] = values[i] / half_edge_m;
    region->intersects = intersects;
    region->slabs = region->planes = 0;
    region->edges = edges;
    switch (kind) {
    case OCTA_SPHERE:
        return prepare_capsule(region, v, v, v[3]);
    case OCTA_BOX:
        return prepare_box(region, v, v + 3);
    case OCTA_ORIENTED_BOX:
        return prepare_oriented_box(region, values, v);
    case OCTA_CAPSULE:
        return prepare_capsule(region, v, v + 3, v[6]);
    default:
        return prepare_frustum(region, values, values + 12, v);
    }
}

/* ---- boxes of sites */

static int apart(const octa_region *region, const double *middle, double half) {
    for (int axis = 0; axis < 3; axis++)
        if (middle[axis] + half < region->low[axis] - SLACK ||
            middle[axis] - half > region->high[axis] + SLACK)
            return 1;
    return 0;
}

static int block_of_capsule(const octa_region *region, const double *middle, double half) {
    const double reach = half * 1.7320508075688772 + SLACK, r = region->radius;
    const double apart_from = sqrt(octa_segment_distance2(middle, region->from, region->to));
    const double most = region->intersects ? OCTA_CELL_CIRCUMRADIUS : 0.0;
    const double least = region->intersects ? OCTA_CELL_INRADIUS : 0.0;
    if (apart_from - reach > r + most)
        return OCTA_BLOCK_OUT;
    if (apart_from + reach + OCTA_CELL_CIRCUMRADIUS <= r)
        return OCTA_BLOCK_WHOLE;
    return apart_from + reach <= r + least ? OCTA_BLOCK_IN : OCTA_BLOCK_CUT;
}

static double size_of(const double *normal) { return (fabs(normal[0]) + fabs(normal[1])) + fabs(normal[2]); }

static int is_whole(const octa_region *region, const double *middle, double half) {
    for (int k = 0; k < region->planes; k++) {
        const octa_plane *plane = &region->plane[k];
        const double reach = octa_cell_support(plane->normal) + (half + SLACK) * size_of(plane->normal);
        if (!(octa_dot3(plane->normal, middle) + reach <= plane->offset))
            return 0;
    }
    return 1;
}

static int block_of_slabs(const octa_region *region, const double *middle, double half) {
    int in = 1;
    for (int k = 0; k < region->slabs; k++) {
        const octa_slab *slab = &region->slab[k];
        const double at = octa_dot3(slab->normal, middle), size = size_of(slab->normal);
        const double reach = half * size, slack = SLACK * size;
        if (at + reach < slab->low - slack || at - reach > slab->high + slack)
            return OCTA_BLOCK_OUT;
        in &= at - reach >= slab->low + slack && at + reach <= slab->high - slack;
    }
    if (!in)
        return OCTA_BLOCK_CUT;
    return is_whole(region, middle, half) ? OCTA_BLOCK_WHOLE : OCTA_BLOCK_IN;
}

int octa_region_block(const octa_region *region, const double *middle, double half) {
    if (apart(region, middle, half))
        return OCTA_BLOCK_OUT;
    return region->slabs ? block_of_slabs(region, middle, half) : block_of_capsule(region, middle, half);
}

/* ---- one site */

static void from_site(const octa_region *region, const double *site, double *from, double *to) {
    octa_minus3(region->from, site, from);
    octa_minus3(region->to, site, to);
}

static int capsule_holds(const octa_region *region, const double *site) {
    const double r2 = region->radius * region->radius;
    double from[3], to[3];
    if (!region->intersects)
        return octa_segment_distance2(site, region->from, region->to) <= r2;
    from_site(region, site, from, to);
    if (from[0] == to[0] && from[1] == to[1] && from[2] == to[2])
        return octa_cell_distance2(from) <= r2;
    return octa_cell_segment_distance2(region->edges, from, to) <= r2;
}

int octa_region_holds(const octa_region *region, const double *site) {
    if (!region->slabs)
        return capsule_holds(region, site);
    for (int k = 0; k < region->slabs; k++) {
        const double at = octa_dot3(region->slab[k].normal, site);
        if (at < region->slab[k].low || at > region->slab[k].high)
            return 0;
    }
    return 1;
}

/* ---- coverage */

static double volume_in_capsule(const octa_region *region, const octa_solid *cell, const double *site) {
    const double apart_from = sqrt(octa_segment_distance2(site, region->from, region->to));
    double from[3], to[3], axis[3], back[3];
    if (apart_from + OCTA_CELL_CIRCUMRADIUS <= region->radius)
        return OCTA_CELL_VOLUME;
    from_site(region, site, from, to);
    octa_minus3(to, from, axis);
    const double length = sqrt(octa_dot3(axis, axis));
    if (length == 0.0)
        return octa_solid_in_ball(cell, from, region->radius);
    for (int k = 0; k < 3; k++) {
        axis[k] /= length;
        back[k] = -axis[k];
    }
    const double begin = octa_dot3(axis, from), end = begin + length;
    octa_solid before = *cell, beside = *cell, after = *cell;
    octa_solid_cut(&before, axis, begin);
    octa_solid_cut(&after, back, -end);
    octa_solid_cut(&beside, axis, end);
    octa_solid_cut(&beside, back, -begin);
    for (int k = 0; k < 3; k++) /* the point of the axis beside the cell */
        back[k] = from[k] - begin * axis[k];
    return octa_solid_in_ball(&before, from, region->radius) +
           octa_solid_in_ball(&after, to, region->radius) +
           octa_solid_in_cylinder(&beside, back, axis, region->radius);
}

static double volume_in_planes(const octa_region *region, const octa_solid *cell, const double *site) {
    octa_solid solid;
    int cut = 0;
    octa_solid_copy(&solid, cell);
    for (int k = 0; k < region->planes; k++) {
        const octa_plane *plane = &region->plane[k];
        const double offset = plane->offset - octa_dot3(plane->normal, site);
        if (offset < octa_cell_support(plane->normal)) {
            octa_solid_cut(&solid, plane->normal, offset);
            cut = 1;
        }
    }
    return cut ? octa_solid_volume(&solid) : OCTA_CELL_VOLUME;
}

double octa_region_coverage(const octa_region *region, const octa_solid *cell, const double *site) {
    const double volume =
        region->slabs ? volume_in_planes(region, cell, site) : volume_in_capsule(region, cell, site);
    return fmin(fmax(volume / OCTA_CELL_VOLUME, 0.0), 1.0);
}
