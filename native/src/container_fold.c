/* Adding what a record says to the tables of every level, and taking it away again.
 *
 * A coarser level gets each finest cell straight, about the coarse site: a cell that lies d half edges from
 * it has its first moments moved by d a point and its second moments as in coarse.c, in integers, so levels
 * are the exact sum of their children whatever was added in which order. Totals are added modulo 2^64, which
 * can be undone to the bit when one turns out too large. */
#include "container.h"

#include <string.h>

#define MOST_TOTAL (1ll << 62)

static const uint8_t moment_axes[6][2] = {{0, 0}, {1, 1}, {2, 2}, {0, 1}, {0, 2}, {1, 2}};

octa_error octa_tables_begin(const octa_container *container, octa_celltable *tables) {
    const octa_container_options *options = &container->options;
    for (int level = 0; level < OCTA_LEVELS; level++)
        octa_celltable_begin(&tables[level], container->lanes);
    return options->dense ? octa_celltable_begin_dense(&tables[0], container->lanes, &container->extent,
                                                       container->neutral)
                          : OCTA_OK;
}

void octa_tables_free(octa_celltable *tables) {
    for (int level = 0; level < OCTA_LEVELS; level++)
        octa_celltable_free(&tables[level]);
}

octa_error octa_fold_reserve(octa_container *container, octa_item *const *items, size_t count, int sign) {
    const octa_container_options *options = &container->options;
    size_t cells = 0, free_cells = 0, places = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t own = items[i]->cells * options->levels + items[i]->free_cells;
        places = own > places ? own : places;
        cells += items[i]->cells;
        free_cells += items[i]->free_cells;
    }
    if (places >= container->places_capacity) {
        uint32_t *bigger = OCTA_REALLOC(container->places, (places + 1) * sizeof *bigger);
        if (!bigger)
            return OCTA_E_MEMORY;
        container->places = bigger;
        container->places_capacity = places + 1;
    }
    /* Taking away makes a new row only where values of both signs had cancelled out. */
    for (int level = 0; (sign > 0 || container->can_cancel) && level < options->levels; level++)
        OCTA_TRY(octa_celltable_reserve(&container->tables[level],
                                        cells + (level == options->free_level ? free_cells : 0)));
    return OCTA_OK;
}

/* A finest cell and the cells above it, level by level. */
typedef struct {
    uint64_t ids[OCTA_LEVELS];
    int32_t sites[OCTA_LEVELS][3];
    int inside;
} lineage;

static void find_lineage(const octa_container *container, uint64_t id, lineage *out) {
    octa_index64_unpack(id, &out->sites[0][0], &out->sites[0][1], &out->sites[0][2]);
    out->ids[0] = id;
    out->inside = octa_extent_holds(&container->extent, out->sites[0]);
    for (int level = 1; out->inside && level < container->options.levels; level++) {
        int32_t *site = out->sites[level];
        (void)octa_lattice_parent(out->sites[level - 1], 1, site); /* all are sites */
        const uint64_t prefix = (container->prefix >> 48) - (uint64_t)level;
        out->ids[level] = octa_index64_pack(prefix << 48, site[0], site[1], site[2]);
    }
}

/* Whether the extent holds a free cell: where it holds the finest cell at the same place. */
static int free_site(const octa_container *container, uint64_t id, int32_t *site) {
    int32_t finest[3];
    octa_index64_unpack(id, &site[0], &site[1], &site[2]);
    for (int axis = 0; axis < 3; axis++)
        finest[axis] = site[axis] * (1 << container->options.free_level);
    return octa_extent_holds(&container->extent, finest);
}

uint64_t octa_item_outside(const octa_container *container, const octa_item *item) {
    uint64_t outside = 0;
    int32_t site[3];
    for (size_t i = 0; i < item->cells; i++) {
        octa_index64_unpack(item->ids[i], &site[0], &site[1], &site[2]);
        outside += !octa_extent_holds(&container->extent, site);
    }
    for (size_t i = 0; i < item->free_cells; i++)
        outside += !free_site(container, item->free_ids[i], site);
    return outside;
}

/* Rows of an item's cells in all tables, OCTA_NO_ROW outside the extent; returns how many cells are there. */
static uint64_t place_item(octa_container *container, const octa_item *item) {
    const octa_container_options *options = &container->options;
    uint64_t outside = 0;
    lineage cells;
    for (size_t i = 0; i < item->cells; i++) {
        find_lineage(container, item->ids[i], &cells);
        outside += !cells.inside;
        for (size_t level = 0; level < options->levels; level++)
            container->places[level * item->cells + i] =
                cells.inside ? octa_celltable_place(&container->tables[level], cells.ids[level],
                                                    cells.sites[level], container->neutral)
                             : OCTA_NO_ROW;
    }
    uint32_t *places = container->places + item->cells * options->levels;
    for (size_t i = 0; i < item->free_cells; i++) {
        int32_t site[3];
        const int inside = free_site(container, item->free_ids[i], site);
        outside += !inside;
        places[i] = inside ? octa_celltable_place(&container->tables[options->free_level], item->free_ids[i],
                                                  site, container->neutral)
                           : OCTA_NO_ROW;
    }
    return outside;
}

/* Add a multiple of a value, modulo 2^64. */
static inline void add_times(int64_t *total, int64_t times, int64_t value) {
    *total = (int64_t)((uint64_t)*total + (uint64_t)times * (uint64_t)value);
}

/* Add the sums of a finest cell about a site d half edges before its own. */
static void add_sums(int64_t *to, const int64_t *from, const int64_t d[3], int64_t sign) {
    const int64_t ones = from[OCTA_LANE_HITS] * OCTA_FIXED_ONE;
    int64_t *t = to + OCTA_LANE_SUMS;
    const int64_t *s = from + OCTA_LANE_SUMS;
    for (int axis = 0; axis < 3; axis++)
        add_times(&t[OCTA_SUM_X + axis], sign, s[OCTA_SUM_X + axis] + d[axis] * ones);
    for (int moment = 0; moment < 6; moment++) {
        const int i = moment_axes[moment][0], j = moment_axes[moment][1];
        add_times(&t[OCTA_SUM_XX + moment], sign, s[OCTA_SUM_XX + moment]);
        add_times(&t[OCTA_SUM_XX + moment], sign * d[i], s[OCTA_SUM_X + j]);
        add_times(&t[OCTA_SUM_XX + moment], sign * d[j], s[OCTA_SUM_X + i]);
        add_times(&t[OCTA_SUM_XX + moment], sign * d[i] * d[j], ones);
    }
    add_times(&t[OCTA_SUM_INTENSITY], sign, s[OCTA_SUM_INTENSITY]);
    add_times(&t[OCTA_SUM_INTENSITY2], sign, s[OCTA_SUM_INTENSITY2]);
}

static int within_bounds(const octa_container *container, const int64_t *values) {
    int within = 1;
    for (size_t lane = 0; lane < OCTA_LANE_USER; lane++)
        within &= values[lane] <= MOST_TOTAL && values[lane] >= (lane < OCTA_LANE_SUMS ? 0 : -MOST_TOTAL);
    const int64_t *value = values + OCTA_LANE_USER;
    for (uint32_t c = 0; c < container->options.columns; value += container->options.widths[c++])
        for (uint32_t k = 0; container->options.rules[c] == OCTA_RULE_SUM && k < container->options.widths[c];
             k++)
            within &= value[k] <= MOST_TOTAL && value[k] >= -MOST_TOTAL;
    return within;
}

/* Add a row to a cell so many levels above it, all that is a sum. */
static void add_row(const octa_container *container, int64_t *to, const int64_t *from, const int64_t d[3],
                    int64_t sign, size_t level) {
    add_times(&to[OCTA_LANE_HITS], sign, from[OCTA_LANE_HITS]);
    if (level == 0)
        add_times(&to[OCTA_LANE_PASSES], sign, from[OCTA_LANE_PASSES]);
    add_sums(to, from, d, sign);
    size_t lane = OCTA_LANE_USER;
    for (uint32_t c = 0; c < container->options.columns; lane += container->options.widths[c++])
        for (uint32_t k = 0; container->options.rules[c] == OCTA_RULE_SUM && k < container->options.widths[c];
             k++)
            add_times(&to[lane + k], sign, from[lane + k]);
}

/* From the site above to the finest cell, in its half edges. */
static void offset_of(const lineage *cells, size_t level, int64_t d[3]) {
    for (int axis = 0; axis < 3; axis++)
        d[axis] = cells->sites[0][axis] - (int64_t)cells->sites[level][axis] * (1 << level);
}

/* Add all that is a sum to the rows in places. */
static void add_item(octa_container *container, const octa_item *item, int64_t sign) {
    const octa_container_options *options = &container->options;
    lineage cells;
    int64_t d[3];
    for (size_t i = 0; i < item->cells; i++) {
        if (container->places[i] == OCTA_NO_ROW)
            continue;
        find_lineage(container, item->ids[i], &cells);
        for (size_t level = 0; level < options->levels; level++) {
            const uint32_t row = container->places[level * item->cells + i];
            offset_of(&cells, level, d);
            add_row(container, octa_celltable_row(&container->tables[level], row),
                    item->values + i * container->lanes, d, sign, level);
        }
    }
    const uint32_t *places = container->places + item->cells * options->levels;
    for (size_t i = 0; i < item->free_cells; i++) {
        if (places[i] == OCTA_NO_ROW)
            continue;
        int64_t *values = octa_celltable_row(&container->tables[options->free_level], places[i]);
        add_times(&values[OCTA_LANE_FREE_PASSES], sign, item->free_values[i][0]);
        add_times(&values[OCTA_LANE_FREE_MISSES], sign, item->free_values[i][1]);
    }
}

/* Whether every total that an item touched is within its bounds. A single item adds less than 2^62 to any, so
 * none can have gone round unseen. */
static int item_fits(const octa_container *container, const octa_item *item) {
    const octa_container_options *options = &container->options;
    const size_t places = item->cells * options->levels;
    for (size_t i = 0; i < places + item->free_cells; i++) {
        const size_t level = i < places ? i / item->cells : options->free_level;
        const uint32_t row = container->places[i];
        if (row != OCTA_NO_ROW &&
            !within_bounds(container, octa_celltable_row(&container->tables[level], row)))
            return 0;
    }
    return 1;
}

/* One column of a row that is no sum. */
static void join_column(int64_t *to, const int64_t *from, uint32_t width, uint32_t rule) {
    uint32_t k = 0;
    if (rule == OCTA_RULE_LATEST) {
        while (k < width && to[k] == from[k])
            k++;
        if (k < width && to[k] < from[k])
            memcpy(to, from, width * sizeof *to);
        return;
    }
    for (; k < width; k++)
        if (rule == OCTA_RULE_LEAST ? from[k] < to[k] : from[k] > to[k])
            to[k] = from[k];
}

/* Bring an item's values of columns that are no sums into the tables. */
static void join_item(octa_container *container, const octa_item *item) {
    const octa_container_options *options = &container->options;
    lineage cells;
    for (size_t i = 0; i < item->cells; i++) {
        find_lineage(container, item->ids[i], &cells);
        for (size_t level = 0; cells.inside && level < options->levels; level++) {
            octa_celltable *table = &container->tables[level];
            const uint32_t row = octa_celltable_find(table, cells.ids[level], cells.sites[level]);
            if (row == OCTA_NO_ROW) /* the item's sums have cancelled out, and it has nothing else there */
                continue;
            size_t lane = OCTA_LANE_USER;
            for (uint32_t c = 0; c < options->columns; lane += options->widths[c++])
                if (options->rules[c] != OCTA_RULE_SUM)
                    join_column(octa_celltable_row(table, row) + lane,
                                item->values + i * container->lanes + lane, options->widths[c],
                                options->rules[c]);
        }
    }
}

/* Rows that an item touched get or lose their cells. */
static void settle_item(octa_container *container, const octa_item *item) {
    const octa_container_options *options = &container->options;
    lineage cells;
    for (size_t i = 0; i < item->cells; i++) {
        if (container->places[i] == OCTA_NO_ROW)
            continue;
        find_lineage(container, item->ids[i], &cells);
        for (size_t level = 0; level < options->levels; level++)
            octa_celltable_settle(&container->tables[level], container->places[level * item->cells + i],
                                  cells.ids[level], container->neutral);
    }
    const uint32_t *places = container->places + item->cells * options->levels;
    for (size_t i = 0; i < item->free_cells; i++)
        if (places[i] != OCTA_NO_ROW)
            octa_celltable_settle(&container->tables[options->free_level], places[i], item->free_ids[i],
                                  container->neutral);
}

/* A sum has no records to drop when a table is full; an array is as large as it is. */
static int tables_fit(const octa_container *container) {
    for (int level = 0; level < container->options.levels; level++) {
        const octa_celltable *table = &container->tables[level];
        if (!container->options.keep && !table->dense && table->used > container->options.max_rows)
            return 0;
    }
    return 1;
}

octa_error octa_fold(octa_container *container, const octa_item *item, int sign, uint64_t *outside) {
    const uint64_t beyond = place_item(container, item);
    octa_error error = sign > 0 && !tables_fit(container) ? OCTA_E_CAPACITY : OCTA_OK;
    if (error == OCTA_OK) {
        add_item(container, item, sign);
        if (!item_fits(container, item)) {
            add_item(container, item, -sign);
            error = OCTA_E_DOMAIN;
        }
    }
    if (error == OCTA_OK && sign > 0 && container->has_order)
        join_item(container, item);
    settle_item(container, item);
    if (error == OCTA_OK && outside)
        *outside += beyond;
    return error;
}

void octa_fold_order(octa_container *container) {
    const octa_container_options *options = &container->options;
    if (!container->has_order)
        return;
    for (int level = 0; level < options->levels; level++)
        for (size_t row = 0; row < container->tables[level].rows; row++) {
            int64_t *values = octa_celltable_row(&container->tables[level], (uint32_t)row);
            size_t lane = OCTA_LANE_USER;
            for (uint32_t c = 0; c < options->columns; lane += options->widths[c++])
                if (options->rules[c] != OCTA_RULE_SUM)
                    memcpy(values + lane, container->neutral + lane, options->widths[c] * sizeof *values);
        }
    for (size_t i = 0; i < container->count; i++)
        join_item(container, container->items[i]);
    for (int level = 0; level < options->levels; level++)
        for (size_t row = 0; row < container->tables[level].rows; row++)
            if (container->tables[level].ids[row])
                octa_celltable_settle(&container->tables[level], (uint32_t)row,
                                      container->tables[level].ids[row], container->neutral);
}

/* An array stays where it is: views of it live as long as the container. */
static void keep_array(octa_celltable *old, octa_celltable *now) {
    octa_celltable swap = *old;
    if (!old->dense)
        return;
    memcpy(old->ids, now->ids, now->capacity * sizeof *now->ids);
    memcpy(old->values, now->values, now->capacity * now->lanes * sizeof *now->values);
    swap.extent = now->extent;
    swap.used = now->used;
    *old = *now;
    *now = swap;
}

octa_error octa_fold_all(octa_container *container, octa_item *const *items, size_t count) {
    octa_celltable old[OCTA_LEVELS], now[OCTA_LEVELS];
    OCTA_TRY(octa_tables_begin(container, now));
    memcpy(old, container->tables, sizeof old);
    memcpy(container->tables, now, sizeof old);
    octa_error error = OCTA_OK;
    for (size_t i = 0; i < count && error == OCTA_OK; i++) {
        error = octa_fold_reserve(container, items + i, 1, +1);
        if (error == OCTA_OK)
            error = octa_fold(container, items[i], +1, NULL);
    }
    if (error != OCTA_OK) {
        octa_tables_free(container->tables);
        memcpy(container->tables, old, sizeof old);
        return error;
    }
    keep_array(&old[0], &container->tables[0]);
    octa_tables_free(old);
    return OCTA_OK;
}
