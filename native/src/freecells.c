/* Cells that the rays of a sweep went through, found by walking along each ray from cell to cell.
 *
 * The walk is through the finest cells, in double: a coarse cell is the union of those. A ray leaves a cell
 * by the nearest of its planes ahead; the same plane, at the same place to the bit, is where it enters the
 * next. */
#include "cellmap.h"
#include "sensor.h"
#include "sort.h"

#include <math.h>
#include <string.h>

#define SLABS 7
#define MOST_LEVELS 6
#define FIRST_ROWS 1024
#define NO_CELL 0 /* no id is 0 */

/* A cell is |x|, |y|, |z| <= 1 and |x +- y +- z| <= 3/2 about its site. Beyond a face lies the site that is
 * one step along its normal. */
static const int8_t normals[SLABS][3] = {{1, 0, 0},  {0, 1, 0},  {0, 0, 1}, {1, 1, 1},
                                         {1, 1, -1}, {1, -1, 1}, {-1, 1, 1}};
static const double bounds[SLABS] = {1.0, 1.0, 1.0, 1.5, 1.5, 1.5, 1.5};

typedef struct {
    uint32_t passes, misses;
    uint32_t last; /* ray that passed it last, counted from 1 */
} tally;

struct octa_free_cells {
    octa_grid grid;
    uint8_t levels;
    size_t cells;
    uint64_t *ids; /* ascending */
    tally *tallies;
};

/* One run, before its result is the handle's. */
typedef struct {
    const octa_free_cells *cells;
    double origin[3];  /* of the sensor, half edges */
    double turn[3][3]; /* from sensor axes in metres to map axes in half edges */
    double reach;      /* half edges */
    int32_t start[3];  /* cell of the sensor */
    octa_cellmap map;
    uint64_t *ids;
    tally *tallies;
    size_t count, capacity;
} walk;

octa_error octa_free_cells_new(const octa_grid *grid, uint8_t levels, octa_free_cells **out) {
    OCTA_TRY(octa_grid_check(grid));
    if (levels > MOST_LEVELS || levels > grid->lod)
        return OCTA_E_LOD;
    octa_free_cells *cells = OCTA_MALLOC(sizeof *cells);
    if (!cells)
        return OCTA_E_MEMORY;
    memset(cells, 0, sizeof *cells);
    cells->grid = *grid;
    cells->levels = levels;
    *out = cells;
    return OCTA_OK;
}

void octa_free_cells_free(octa_free_cells *cells) {
    if (!cells)
        return;
    OCTA_FREE(cells->ids);
    OCTA_FREE(cells->tallies);
    OCTA_FREE(cells);
}

static octa_error grow(walk *w) {
    const size_t capacity = w->capacity ? 2 * w->capacity : FIRST_ROWS;
    OCTA_TRY(octa_cellmap_reserve(&w->map, capacity));
    uint64_t *ids = OCTA_REALLOC(w->ids, capacity * sizeof *ids);
    if (!ids)
        return OCTA_E_MEMORY;
    w->ids = ids;
    tally *tallies = OCTA_REALLOC(w->tallies, capacity * sizeof *tallies);
    if (!tallies)
        return OCTA_E_MEMORY;
    w->tallies = tallies;
    w->capacity = capacity;
    return OCTA_OK;
}

/* Count a ray for a cell that it passed, once. */
static octa_error note(walk *w, uint64_t id, uint32_t ray, int is_miss) {
    if (w->count == w->capacity)
        OCTA_TRY(grow(w));
    const uint32_t row = octa_cellmap_insert(&w->map, id, (uint32_t)w->count);
    tally *t = &w->tallies[row];
    if (row == w->count) {
        w->ids[w->count++] = id;
        *t = (tally){0, 0, 0};
    }
    if (t->last == ray)
        return OCTA_OK;
    t->last = ray;
    t->passes += !is_miss;
    t->misses += (uint32_t)is_miss;
    return OCTA_OK;
}

/* The cell of the result that holds a finest cell; NO_CELL beyond the map. */
static uint64_t cell_above(const octa_free_cells *cells, const int32_t *site) {
    int32_t above[3] = {site[0], site[1], site[2]};
    if (!octa_in_range(site[0], site[1], site[2]))
        return NO_CELL;
    for (int level = 0; level < cells->levels; level++)
        (void)octa_lattice_parent(above, 1, above); /* all are sites */
    const octa_grid *grid = &cells->grid;
    return octa_index64_pack(
        octa_index64_prefix(grid->frame, grid->tier, (uint8_t)(grid->lod - cells->levels)), above[0],
        above[1], above[2]);
}

/* A slab that the ray crosses: from cell to cell, where along the normal the cell is, and the ray's pace. */
typedef struct {
    int slab, sign;
    double at, origin, inverse;
} crossing;

static int find_crossings(const walk *w, const double *d, crossing *out) {
    const double tiny = 1e-12 * (fabs(d[0]) + fabs(d[1]) + fabs(d[2]));
    int count = 0;
    for (int slab = 0; slab < SLABS; slab++) {
        const int8_t *n = normals[slab];
        const double pace = (n[0] * d[0] + n[1] * d[1]) + n[2] * d[2];
        if (!(fabs(pace) > tiny))
            continue; /* parallel: never left that way */
        out[count++] = (crossing){
            slab, pace > 0.0 ? 1 : -1, n[0] * w->start[0] + n[1] * w->start[1] + n[2] * w->start[2],
            (n[0] * w->origin[0] + n[1] * w->origin[1]) + n[2] * w->origin[2], 1.0 / pace};
    }
    return count;
}

/* Where the ray leaves its cell, 0 .. 1 from the sensor to d, and through which crossing. */
static double leave_cell(const crossing *crossings, int count, int *through) {
    double leave = INFINITY;
    for (int i = 0; i < count; i++) {
        const crossing *c = &crossings[i];
        const double t = (c->at + c->sign * bounds[c->slab] - c->origin) * c->inverse;
        if (t < leave) {
            leave = t;
            *through = i;
        }
    }
    return leave;
}

static void step(crossing *crossings, int count, const crossing *through, int32_t *site) {
    const int8_t *n = normals[through->slab];
    const int length = through->sign * (through->slab < 3 ? 2 : 1);
    for (int axis = 0; axis < 3; axis++)
        site[axis] += length * n[axis];
    for (int i = 0; i < count; i++) {
        const int8_t *m = normals[crossings[i].slab];
        crossings[i].at += length * (m[0] * n[0] + m[1] * n[1] + m[2] * n[2]);
    }
}

/* Walk from the sensor along d, as far as `most` of it; cells in `not_in` are not passed. */
static octa_error walk_ray(walk *w, const double *d, double most, uint64_t not_in, uint32_t ray,
                           int is_miss) {
    crossing crossings[SLABS];
    const int count = find_crossings(w, d, crossings);
    const double length = sqrt((d[0] * d[0] + d[1] * d[1]) + d[2] * d[2]) * most;
    int32_t site[3] = {w->start[0], w->start[1], w->start[2]};
    uint64_t known = NO_CELL;
    double enter = 0.0;
    /* Cells that a ray crosses lie within sqrt(5/4) of it, and each has a volume of 4: fewer than 4 a unit.
     */
    for (double left = 4.0 * length + 16.0; left > 0.0; left -= 1.0) {
        int through = 0;
        const double leave = leave_cell(crossings, count, &through);
        if (!(leave < most) || !octa_in_range(site[0], site[1], site[2]))
            break;
        if (leave > enter) {
            const uint64_t id = cell_above(w->cells, site);
            if (id != not_in && id != known)
                OCTA_TRY(note(w, id, ray, is_miss));
            known = id;
            enter = leave;
        }
        const crossing by = crossings[through];
        step(crossings, count, &by, site);
    }
    return OCTA_OK;
}

static void turn(const walk *w, const float *p, double *d) {
    for (int axis = 0; axis < 3; axis++)
        d[axis] = (w->turn[axis][0] * p[0] + w->turn[axis][1] * p[1]) + w->turn[axis][2] * p[2];
}

static double length_of(const double *d) { return sqrt((d[0] * d[0] + d[1] * d[1]) + d[2] * d[2]); }

/* A ray to a return: it passes no cell that holds the return. */
static octa_error walk_return(walk *w, const float *point, uint32_t ray) {
    double d[3], end[3];
    int32_t site[3];
    if (!octa_point_valid(point))
        return OCTA_OK;
    turn(w, point, d);
    const double length = length_of(d);
    if (!(length > 0.0))
        return OCTA_OK;
    for (int axis = 0; axis < 3; axis++)
        end[axis] = w->origin[axis] + d[axis];
    OCTA_TRY(octa_lattice_snap(end, 1, site));
    const double most = w->reach < length ? w->reach / length : 1.0;
    return walk_ray(w, d, most, cell_above(w->cells, site), ray, 0);
}

static octa_error walk_miss(walk *w, const float *direction, uint32_t ray) {
    double d[3];
    if (!octa_point_valid(direction))
        return OCTA_OK;
    turn(w, direction, d);
    const double length = length_of(d);
    return length > 0.0 ? walk_ray(w, d, w->reach / length, NO_CELL, ray, 1) : OCTA_OK;
}

static octa_error walk_all(walk *w, const float *points, size_t n, const float *misses, size_t m) {
    for (size_t i = 0; i < n; i++)
        OCTA_TRY(walk_return(w, points + 3 * i, (uint32_t)i + 1));
    for (size_t i = 0; i < m; i++)
        OCTA_TRY(walk_miss(w, misses + 3 * i, (uint32_t)(n + i) + 1));
    return OCTA_OK;
}

/* The result, ascending by id, in arrays of just that size. */
static octa_error sort_cells(const walk *w, uint64_t **ids, tally **tallies) {
    octa_id_row *order = OCTA_MALLOC((2 * w->count + 1) * sizeof *order);
    *ids = OCTA_MALLOC((w->count + 1) * sizeof **ids);
    *tallies = OCTA_MALLOC((w->count + 1) * sizeof **tallies);
    if (!order || !*ids || !*tallies) {
        OCTA_FREE(order);
        OCTA_FREE(*ids);
        OCTA_FREE(*tallies);
        return OCTA_E_MEMORY;
    }
    for (size_t i = 0; i < w->count; i++)
        order[i] = (octa_id_row){w->ids[i], (uint32_t)i};
    octa_sort_id_rows(order, order + w->count, w->count);
    for (size_t i = 0; i < w->count; i++) {
        (*ids)[i] = order[i].id;
        (*tallies)[i] = w->tallies[order[i].row];
    }
    OCTA_FREE(order);
    return OCTA_OK;
}

static octa_error begin_walk(walk *w, const octa_free_cells *cells, const double *pose, double reach_m) {
    octa_sensor sensor;
    const octa_grid *grid = &cells->grid;
    memset(w, 0, sizeof *w);
    if (!(reach_m > 0.0 && reach_m <= OCTA_MAX_COORDINATE_M))
        return OCTA_E_DOMAIN;
    OCTA_TRY(octa_sensor_at(grid, pose, &sensor)); /* that it is on the map */
    w->cells = cells;
    w->reach = reach_m / grid->half_edge_m;
    for (int axis = 0; axis < 3; axis++) {
        w->origin[axis] = pose[4 * axis + 3] / grid->half_edge_m;
        for (int column = 0; column < 3; column++)
            w->turn[axis][column] = pose[4 * axis + column] / grid->half_edge_m;
    }
    return octa_lattice_snap(w->origin, 1, w->start);
}

octa_error octa_free_cells_run(octa_free_cells *cells, const float *points, size_t n, const float *misses,
                               size_t m, const double *pose, double reach_m, size_t *count) {
    walk w;
    uint64_t *ids;
    tally *tallies;
    if (n > OCTA_MAX_POINTS || m > OCTA_MAX_POINTS)
        return OCTA_E_DOMAIN;
    OCTA_TRY(begin_walk(&w, cells, pose, reach_m));
    octa_error error = walk_all(&w, points, n, misses, m);
    if (error == OCTA_OK)
        error = sort_cells(&w, &ids, &tallies);
    octa_cellmap_free(&w.map);
    OCTA_FREE(w.ids);
    OCTA_FREE(w.tallies);
    if (error != OCTA_OK)
        return error;
    OCTA_FREE(cells->ids);
    OCTA_FREE(cells->tallies);
    cells->ids = ids;
    cells->tallies = tallies;
    *count = cells->cells = w.count;
    return OCTA_OK;
}

octa_error octa_free_cells_copy(const octa_free_cells *cells, size_t capacity, uint64_t *ids,
                                uint32_t *passes, uint32_t *misses) {
    if (capacity < cells->cells)
        return OCTA_E_CAPACITY;
    for (size_t i = 0; i < cells->cells; i++) {
        ids[i] = cells->ids[i];
        passes[i] = cells->tallies[i].passes;
        misses[i] = cells->tallies[i].misses;
    }
    return OCTA_OK;
}
