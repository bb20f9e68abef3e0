/* Life of a container: creation, its extent, copies of its levels, validation. */
#include "container.h"

#include <string.h>

#define MOST_SITES (1u << 28)
#define MOST_RECORDS (1u << 20)

static octa_error check_extent(const int32_t *origin, const uint32_t *shape) {
    int32_t parity = 0;
    for (int axis = 0; axis < 3; axis++) {
        const int64_t end = (int64_t)origin[axis] + 2 * (int64_t)shape[axis] - 1;
        parity |= origin[axis] & 1;
        if (origin[axis] < OCTA_COORD_MIN || end > OCTA_COORD_MAX)
            return OCTA_E_RANGE;
    }
    return parity ? OCTA_E_PARITY : OCTA_OK;
}

static octa_error check_columns(const octa_container_options *options) {
    uint32_t width = 0;
    if (options->columns > OCTA_MAX_COLUMNS)
        return OCTA_E_DOMAIN;
    for (uint32_t c = 0; c < options->columns; c++) {
        if (options->widths[c] < 1 || options->rules[c] >= OCTA_RULE_END)
            return OCTA_E_DOMAIN;
        width += options->widths[c];
    }
    return width <= OCTA_MAX_WIDTH ? OCTA_OK : OCTA_E_DOMAIN;
}

static octa_error check_options(const octa_container_options *options) {
    const uint32_t *shape = options->shape;
    const int some = shape[0] && shape[1] && shape[2], none = !shape[0] && !shape[1] && !shape[2];
    OCTA_TRY(octa_grid_check(&options->grid));
    OCTA_TRY(check_columns(options));
    const int ok =
        options->levels >= 1 && options->levels <= OCTA_LEVELS && options->levels <= options->grid.lod + 1 &&
        options->free_level < options->levels && (some || (none && !options->dense)) &&
        options->span_ns >= 0 && (options->keep || options->span_ns == 0) && options->max_records >= 1 &&
        options->max_records <= MOST_RECORDS && options->max_rows >= 1 && options->max_rows <= INT32_MAX;
    if (!ok)
        return OCTA_E_DOMAIN;
    if (none)
        return OCTA_OK;
    OCTA_TRY(check_extent(options->origin, shape));
    const uint64_t sites = 2ull * shape[0] * shape[1] * shape[2]; /* each at most 2^15 */
    return options->dense && sites > MOST_SITES ? OCTA_E_MEMORY : OCTA_OK;
}

static void set_columns(octa_container *container) {
    static const int64_t neutral[OCTA_RULE_END] = {0, INT64_MAX, INT64_MIN, INT64_MIN};
    const octa_container_options *options = &container->options;
    container->lanes = OCTA_LANE_USER;
    for (uint32_t c = 0; c < options->columns; c++) {
        for (uint32_t k = 0; k < options->widths[c]; k++)
            container->neutral[container->lanes++] = neutral[options->rules[c]];
        if (options->rules[c] == OCTA_RULE_SUM)
            container->can_cancel = 1;
        else
            container->has_order = 1;
    }
}

octa_error octa_container_new(const octa_container_options *options, octa_container **out) {
    const octa_grid *grid = &options->grid;
    OCTA_TRY(check_options(options));
    octa_container *container = OCTA_MALLOC(sizeof *container);
    if (!container)
        return OCTA_E_MEMORY;
    memset(container, 0, sizeof *container);
    container->options = *options;
    memcpy(container->extent.origin, options->origin, sizeof options->origin);
    memcpy(container->extent.shape, options->shape, sizeof options->shape);
    container->prefix = octa_index64_prefix(grid->frame, grid->tier, grid->lod);
    container->free_prefix =
        octa_index64_prefix(grid->frame, grid->tier, (uint8_t)(grid->lod - options->free_level));
    set_columns(container);
    if (octa_tables_begin(container, container->tables) != OCTA_OK) {
        OCTA_FREE(container);
        return OCTA_E_MEMORY;
    }
    *out = container;
    return OCTA_OK;
}

void octa_container_free(octa_container *container) {
    if (!container)
        return;
    for (size_t i = 0; i < container->count; i++)
        octa_item_free(container->items[i]);
    octa_tables_free(container->tables);
    OCTA_FREE(container->items);
    OCTA_FREE(container->places);
    OCTA_FREE(container);
}

octa_error octa_container_move(octa_container *container, const int32_t *origin) {
    const octa_extent before = container->extent;
    if (!container->options.keep || octa_extent_is_whole(&before))
        return OCTA_E_DOMAIN;
    OCTA_TRY(check_extent(origin, before.shape));
    if (memcmp(origin, before.origin, sizeof before.origin) == 0)
        return OCTA_OK;
    memcpy(container->extent.origin, origin, sizeof before.origin);
    const octa_error error = octa_fold_all(container, container->items, container->count);
    if (error != OCTA_OK)
        container->extent = before;
    return error;
}

size_t octa_container_records(const octa_container *container) { return container->count; }

octa_error octa_container_keys(const octa_container *container, size_t capacity, octa_record_key *keys) {
    if (capacity < container->count)
        return OCTA_E_CAPACITY;
    for (size_t i = 0; i < container->count; i++)
        keys[i] = container->items[i]->key;
    return OCTA_OK;
}

size_t octa_container_cells(const octa_container *container, uint8_t level) {
    return level < container->options.levels ? container->tables[level].used : 0;
}

static void copy_counts(uint64_t *out, size_t i, const int64_t *values, int lane) {
    if (out)
        out[i] = (uint64_t)values[lane];
}

/* A row's values of all the user's columns, from a row to columns of m cells. */
static void scatter(const octa_container *container, const int64_t *row, size_t i, size_t m, int64_t *out) {
    const octa_container_options *options = &container->options;
    for (uint32_t c = 0; c < options->columns; out += m * options->widths[c++]) {
        memcpy(out + i * options->widths[c], row, options->widths[c] * sizeof *out);
        row += options->widths[c];
    }
}

octa_error octa_container_copy(const octa_container *container, uint8_t level, size_t capacity, uint64_t *ids,
                               uint64_t *hits, uint64_t *passes, uint64_t *free_passes, uint64_t *free_misses,
                               int64_t *sums, int64_t *values) {
    if (level >= container->options.levels)
        return OCTA_E_DOMAIN;
    const octa_celltable *table = &container->tables[level];
    if (capacity < table->used)
        return OCTA_E_CAPACITY;
    octa_id_row *order = OCTA_MALLOC((2 * table->used + 1) * sizeof *order);
    if (!order)
        return OCTA_E_MEMORY;
    octa_celltable_sorted(table, order);
    for (size_t i = 0; i < table->used; i++) {
        const int64_t *row = octa_celltable_row(table, order[i].row);
        copy_counts(ids, i, (const int64_t *)&order[i].id, 0);
        copy_counts(hits, i, row, OCTA_LANE_HITS);
        copy_counts(passes, i, row, OCTA_LANE_PASSES);
        copy_counts(free_passes, i, row, OCTA_LANE_FREE_PASSES);
        copy_counts(free_misses, i, row, OCTA_LANE_FREE_MISSES);
        if (sums)
            memcpy(sums + i * OCTA_SUMS, row + OCTA_LANE_SUMS, OCTA_SUMS * sizeof *sums);
        if (values)
            scatter(container, row + OCTA_LANE_USER, i, table->used, values);
    }
    OCTA_FREE(order);
    return OCTA_OK;
}

octa_error octa_container_array(const octa_container *container, const int64_t **values, size_t *rows,
                                size_t *lanes) {
    const octa_celltable *finest = &container->tables[0];
    if (!finest->dense)
        return OCTA_E_DOMAIN;
    *values = finest->values;
    *rows = finest->rows;
    *lanes = finest->lanes;
    return OCTA_OK;
}

/* NULL, or what is wrong with one table. */
static const char *invalid_table(const octa_container *container, const octa_celltable *table) {
    size_t used = 0;
    for (size_t row = 0; row < table->rows; row++) {
        const uint64_t id = table->ids[row];
        const int64_t *values = octa_celltable_row(table, (uint32_t)row);
        int32_t site[3];
        if (!id)
            continue;
        octa_index64_unpack(id, &site[0], &site[1], &site[2]);
        used++;
        if (octa_celltable_find(table, id, site) != row)
            return "a cell is not at its row";
        if (memcmp(values, container->neutral, table->lanes * sizeof *values) == 0)
            return "a cell has a row that says nothing";
    }
    if (used != table->used ||
        (!table->dense && (used != table->map.used || used + table->free_count != table->rows)))
        return "the number of cells is wrong";
    return NULL;
}

/* Hits and intensity of a level, modulo 2^64: the same at every level, and those of the records. */
static void add_totals(const octa_container *container, const int64_t *values, uint64_t total[2]) {
    (void)container;
    total[0] += (uint64_t)values[OCTA_LANE_HITS];
    total[1] += (uint64_t)values[OCTA_LANE_SUMS + OCTA_SUM_INTENSITY];
}

static void table_totals(const octa_container *container, const octa_celltable *table, uint64_t total[2]) {
    total[0] = total[1] = 0;
    for (size_t row = 0; row < table->rows; row++)
        if (table->ids[row])
            add_totals(container, octa_celltable_row(table, (uint32_t)row), total);
}

static void record_totals(const octa_container *container, uint64_t total[2]) {
    total[0] = total[1] = 0;
    for (size_t r = 0; r < container->count; r++) {
        const octa_item *item = container->items[r];
        for (size_t i = 0; i < item->cells; i++) {
            int32_t site[3];
            octa_index64_unpack(item->ids[i], &site[0], &site[1], &site[2]);
            if (octa_extent_holds(&container->extent, site))
                add_totals(container, item->values + i * container->lanes, total);
        }
    }
}

static const char *invalid_records(const octa_container *container) {
    size_t rows = 0;
    for (size_t r = 0; r < container->count; r++) {
        rows += octa_item_rows(container->items[r]);
        if (r && octa_key_compare(&container->items[r - 1]->key, &container->items[r]->key) >= 0)
            return "the records are not in order";
    }
    if (rows != container->rows)
        return "the number of rows is wrong";
    if (container->count > container->options.max_records || rows > container->options.max_rows)
        return "more is kept than the caps allow";
    return NULL;
}

int octa_container_validate(const octa_container *container, const char **reason) {
    uint64_t expected[2], total[2];
    *reason = invalid_records(container);
    table_totals(container, &container->tables[0], expected);
    if (container->options.keep && !*reason) {
        record_totals(container, total);
        if (memcmp(expected, total, sizeof total) != 0)
            *reason = "the total is not that of the records";
    }
    for (int level = 0; level < container->options.levels && !*reason; level++) {
        *reason = invalid_table(container, &container->tables[level]);
        table_totals(container, &container->tables[level], total);
        if (!*reason && memcmp(expected, total, sizeof total) != 0)
            *reason = "a level is not the sum of its children";
    }
    return *reason == NULL;
}
