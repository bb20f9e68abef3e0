/* Cells around query positions: within a radius, or within so many steps from neighbour to neighbour. */
#include "cellmap.h"
#include "neighbors.h"

#include <math.h>
#include <string.h>

#define MOST_POSITION 1048576.0 /* half edges: any site, with room around the map */
#define MOST_REACH 131072.0     /* from any site to any other, on each axis */

/* What a search looks through. */
typedef struct {
    const octa_search *search;
    octa_cellmap map;
    int32_t (*sites)[3];
    int32_t low[3], high[3]; /* of the sites */
    int32_t *found;          /* rows, ascending */
    double reach;            /* on any axis */
} finder;

static octa_error check_query(const double *query, int must_be_site) {
    int32_t site[3];
    for (int axis = 0; axis < 3; axis++) {
        if (!(fabs(query[axis]) <= MOST_POSITION))
            return OCTA_E_DOMAIN;
        site[axis] = (int32_t)query[axis];
        if (must_be_site && query[axis] != site[axis])
            return OCTA_E_PARITY;
    }
    return !must_be_site || octa_is_site(site[0], site[1], site[2]) ? OCTA_OK : OCTA_E_PARITY;
}

static octa_error check_search(const octa_search *search) {
    OCTA_TRY(octa_cells_check(search->ids, search->cells));
    if (!(search->radius >= 0.0 && search->radius <= MOST_REACH) || search->rings > MOST_REACH / 2)
        return OCTA_E_DOMAIN;
    for (size_t i = 0; i < search->n; i++)
        OCTA_TRY(check_query(search->queries + 3 * i, search->rings > 0));
    return OCTA_OK;
}

static void end_finder(finder *f) {
    octa_cellmap_free(&f->map);
    OCTA_FREE(f->sites);
    OCTA_FREE(f->found);
}

static void take_site(finder *f, size_t row) {
    int32_t *site = f->sites[row];
    octa_index64_unpack(f->search->ids[row], &site[0], &site[1], &site[2]);
    octa_cellmap_insert(&f->map, f->search->ids[row], (uint32_t)row);
    for (int axis = 0; axis < 3; axis++) {
        f->low[axis] = site[axis] < f->low[axis] ? site[axis] : f->low[axis];
        f->high[axis] = site[axis] > f->high[axis] ? site[axis] : f->high[axis];
    }
}

static octa_error begin_finder(finder *f, const octa_search *search) {
    OCTA_TRY(check_search(search));
    memset(f, 0, sizeof *f);
    f->search = search;
    f->reach = search->rings ? 2.0 * search->rings : search->radius;
    f->sites = OCTA_MALLOC((search->cells + 1) * sizeof *f->sites);
    f->found = OCTA_MALLOC((search->cells + 1) * sizeof *f->found);
    if (!f->sites || !f->found || octa_cellmap_reserve(&f->map, search->cells) != OCTA_OK) {
        end_finder(f);
        return OCTA_E_MEMORY;
    }
    for (int axis = 0; axis < 3; axis++) {
        f->low[axis] = OCTA_COORD_MAX;
        f->high[axis] = OCTA_COORD_MIN;
    }
    for (size_t row = 0; row < search->cells; row++)
        take_site(f, row);
    return OCTA_OK;
}

/* Steps between sites: the two longest legs, halved. A diagonal step shortens all three legs by one, so it
 * pays until the shortest is gone, and costs nothing more until the middle one is. */
static int within_rings(const double d[3], double rings) {
    const double x = fabs(d[0]), y = fabs(d[1]), z = fabs(d[2]);
    const double least = fmin(x, fmin(y, z));
    return ((x + y) + z) - least <= 2.0 * rings;
}

static int is_near(const finder *f, const double *query, const int32_t *site) {
    double d[3];
    for (int axis = 0; axis < 3; axis++)
        d[axis] = site[axis] - query[axis];
    if (f->search->rings)
        return within_rings(d, f->search->rings);
    return (d[0] * d[0] + d[1] * d[1]) + d[2] * d[2] <= f->search->radius * f->search->radius;
}

/* Sites to look at: the box around the query, as far as there are cells. */
typedef struct {
    int32_t low[3], high[3];
    double sites; /* at most so many */
} box;

static box box_around(const finder *f, const double *query) {
    box b = {.sites = 1.0};
    for (int axis = 0; axis < 3; axis++) {
        /* Outwards: a site that rounding brings within reach is looked at too. */
        const double low = floor(query[axis] - f->reach), high = ceil(query[axis] + f->reach);
        b.low[axis] = low > f->low[axis] ? (int32_t)low : f->low[axis];
        b.high[axis] = high < f->high[axis] ? (int32_t)high : f->high[axis];
        b.sites *= b.high[axis] < b.low[axis] ? 0.0 : b.high[axis] - b.low[axis] + 1.0;
    }
    b.sites /= 4.0;
    return b;
}

static size_t look_through_cells(const finder *f, const double *query) {
    size_t count = 0;
    for (size_t row = 0; row < f->search->cells; row++)
        if (is_near(f, query, f->sites[row]))
            f->found[count++] = (int32_t)row;
    return count;
}

static int32_t first_of_parity(int32_t low, int32_t parity) { return low + ((low ^ parity) & 1); }

static size_t look_through_box(const finder *f, const double *query, const box *b) {
    const uint64_t prefix = f->search->ids[0] >> 48 << 48;
    size_t count = 0;
    int32_t s[3];
    for (s[2] = b->low[2]; s[2] <= b->high[2]; s[2]++)
        for (s[1] = first_of_parity(b->low[1], s[2]); s[1] <= b->high[1]; s[1] += 2)
            for (s[0] = first_of_parity(b->low[0], s[2]); s[0] <= b->high[0]; s[0] += 2) {
                if (!is_near(f, query, s))
                    continue;
                const uint32_t row = octa_cellmap_find(&f->map, octa_index64_pack(prefix, s[0], s[1], s[2]));
                if (row != OCTA_NO_ROW)
                    f->found[count++] = (int32_t)row;
            }
    return count;
}

static void sift(int32_t *rows, size_t root, size_t n) {
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        child += child + 1 < n && rows[child + 1] > rows[child];
        if (rows[root] >= rows[child])
            return;
        const int32_t swap = rows[root];
        rows[root] = rows[child];
        rows[child] = swap;
    }
}

static void sort_rows(int32_t *rows, size_t n) {
    for (size_t root = n / 2; root-- > 0;)
        sift(rows, root, n);
    for (size_t last = n; last-- > 1;) {
        const int32_t swap = rows[0];
        rows[0] = rows[last];
        rows[last] = swap;
        sift(rows, 0, last);
    }
}

/* Rows of the cells around a query, in found; returns how many. */
static size_t find(finder *f, size_t query) {
    const double *at = f->search->queries + 3 * query;
    const box b = box_around(f, at);
    if (b.sites == 0.0)
        return 0;
    if (b.sites > 2.0 * (double)f->search->cells)
        return look_through_cells(f, at);
    const size_t count = look_through_box(f, at, &b);
    sort_rows(f->found, count);
    return count;
}

octa_error octa_search_count(const octa_search *search, uint64_t *starts) {
    finder f;
    OCTA_TRY(begin_finder(&f, search));
    starts[0] = 0;
    for (size_t i = 0; i < search->n; i++)
        starts[i + 1] = starts[i] + find(&f, i);
    end_finder(&f);
    return OCTA_OK;
}

octa_error octa_search_rows(const octa_search *search, size_t capacity, int32_t *rows) {
    finder f;
    size_t total = 0;
    OCTA_TRY(begin_finder(&f, search));
    for (size_t i = 0; i < search->n; i++)
        total += find(&f, i);
    if (total > capacity) {
        end_finder(&f);
        return OCTA_E_CAPACITY;
    }
    for (size_t i = 0; i < search->n; i++) {
        const size_t count = find(&f, i);
        for (size_t k = 0; k < count; k++)
            *rows++ = f.found[k];
    }
    end_finder(&f);
    return OCTA_OK;
}

/* Mean, least and greatest of one value over the rows found. */
static void pool_value(const finder *f, size_t count, const float *x, size_t width, float *pooled) {
    double sum = 0.0;
    float least = INFINITY, greatest = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        const float value = x[(size_t)f->found[i] * width];
        sum += value;
        least = value < least ? value : least;
        greatest = value > greatest ? value : greatest;
    }
    pooled[0] = (float)(sum / (double)count);
    pooled[width] = least;
    pooled[2 * width] = greatest;
}

octa_error octa_search_pool(const octa_search *search, const float *x, size_t width, uint32_t *counts,
                            float *pooled) {
    finder f;
    for (size_t i = 0; i < search->cells * width; i++)
        if (!isfinite(x[i]))
            return OCTA_E_DOMAIN;
    OCTA_TRY(begin_finder(&f, search));
    for (size_t i = 0; i < search->n; i++, pooled += 3 * width) {
        const size_t count = find(&f, i);
        counts[i] = (uint32_t)count;
        memset(pooled, 0, 3 * width * sizeof *pooled);
        for (size_t k = 0; count && k < width; k++)
            pool_value(&f, count, x + k, width, pooled + k);
    }
    end_finder(&f);
    return OCTA_OK;
}
