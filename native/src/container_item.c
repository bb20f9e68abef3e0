/* What a record says about cells, checked and in the form in which it is added and taken away. */
#include "container.h"

#include <string.h>

/* Bounds under which one item adds less than 2^62 to any total: of all of its hits, 2^35, each has at most
 * 2^12 units at a second moment about a site at most 127 half edges away; a coarse cell has at most 2^18
 * children. */
#define MOST_HITS (1ull << 35)
#define MOST_SUMMAND (1ll << 40)
#define MOST_VALUE (1ll << 62)

int octa_key_compare(const octa_record_key *a, const octa_record_key *b) {
    if (a->stamp_ns != b->stamp_ns)
        return a->stamp_ns < b->stamp_ns ? -1 : 1;
    if (a->source != b->source)
        return a->source < b->source ? -1 : 1;
    return a->part == b->part ? 0 : a->part < b->part ? -1 : 1;
}

static octa_error check_ids(const uint64_t *ids, size_t n, uint64_t prefix) {
    for (size_t i = 0; i < n; i++) {
        OCTA_TRY(octa_index64_check(ids[i], prefix));
        if (i && ids[i] <= ids[i - 1])
            return OCTA_E_ORDER;
    }
    return OCTA_OK;
}

/* At most 2^35 in all. */
static int counts_fit(const uint64_t *counts, size_t n) {
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        if (counts[i] > MOST_HITS - total)
            return 0;
        total += counts[i];
    }
    return 1;
}

static int sums_fit(const octa_rows *rows) {
    for (size_t i = 0; i < rows->cells; i++) {
        const int64_t most = (int64_t)rows->hits[i] * OCTA_FIXED_ONE;
        for (size_t k = 0; k < OCTA_SUMS; k++)
            if (rows->sums[i * OCTA_SUMS + k] > most || rows->sums[i * OCTA_SUMS + k] < -most)
                return 0;
    }
    return 1;
}

/* Within bounds, or neutral; a latest value has a stamp unless all of it is neutral. */
static int column_fits(const int64_t *values, const int64_t *neutral, uint32_t width, uint32_t rule) {
    if (memcmp(values, neutral, width * sizeof *values) == 0)
        return 1;
    const int64_t most = rule == OCTA_RULE_SUM ? MOST_SUMMAND : MOST_VALUE;
    for (uint32_t k = 0; k < width; k++) {
        const int is_neutral = values[k] == neutral[k] && rule != OCTA_RULE_LATEST;
        if (!is_neutral && (values[k] > most || values[k] < -most))
            return 0;
    }
    return 1;
}

static int values_fit(const octa_container *container, const octa_rows *rows) {
    const octa_container_options *options = &container->options;
    const int64_t *values = rows->values, *neutral = container->neutral + OCTA_LANE_USER;
    for (uint32_t c = 0; c < options->columns; neutral += options->widths[c++])
        for (size_t i = 0; i < rows->cells; i++, values += options->widths[c])
            if (!column_fits(values, neutral, options->widths[c], options->rules[c]))
                return 0;
    return 1;
}

/* A cell's values of all the user's columns, from columns to a row. */
static void gather(const octa_container *container, const octa_rows *rows, size_t i, int64_t *out) {
    const octa_container_options *options = &container->options;
    const int64_t *column = rows->values;
    for (uint32_t c = 0; c < options->columns; column += rows->cells * options->widths[c++]) {
        memcpy(out, column + i * options->widths[c], options->widths[c] * sizeof *out);
        out += options->widths[c];
    }
}

static octa_error check_rows(const octa_container *container, const octa_rows *rows) {
    OCTA_TRY(check_ids(rows->ids, rows->cells, container->prefix));
    OCTA_TRY(check_ids(rows->free_ids, rows->free_cells, container->free_prefix));
    const int fit = counts_fit(rows->hits, rows->cells) && counts_fit(rows->passes, rows->cells) &&
                    sums_fit(rows) && values_fit(container, rows) &&
                    counts_fit(rows->free_passes, rows->free_cells) &&
                    counts_fit(rows->free_misses, rows->free_cells);
    return fit ? OCTA_OK : OCTA_E_DOMAIN;
}

/* Room for that many rows, none of them taken yet. */
static octa_error allocate(const octa_container *container, size_t cells, size_t free_cells,
                           octa_item **out) {
    const size_t row = sizeof(uint64_t) + container->lanes * sizeof(int64_t), free_row = 3 * sizeof(int64_t);
    octa_item *item = OCTA_MALLOC(sizeof *item + cells * row + free_cells * free_row);
    if (!item)
        return OCTA_E_MEMORY;
    memset(item, 0, sizeof *item);
    item->ids = (uint64_t *)(item + 1);
    item->values = (int64_t *)(item->ids + cells);
    item->free_ids = (uint64_t *)(item->values + cells * container->lanes);
    item->free_values = (int64_t (*)[2])(item->free_ids + free_cells);
    *out = item;
    return OCTA_OK;
}

void octa_item_free(octa_item *item) { OCTA_FREE(item); }

/* Sums without hits are zero. */
static int cell_says(const octa_container *container, const octa_rows *rows, size_t i) {
    int64_t values[OCTA_MAX_WIDTH];
    const size_t width = container->lanes - OCTA_LANE_USER;
    if (rows->hits[i] | rows->passes[i])
        return 1;
    gather(container, rows, i, values);
    return memcmp(values, container->neutral + OCTA_LANE_USER, width * sizeof *values) != 0;
}

static int free_says(const octa_rows *rows, size_t i) {
    return (rows->free_passes[i] | rows->free_misses[i]) != 0;
}

static void take_cell(const octa_container *container, octa_item *item, const octa_rows *rows, size_t i) {
    int64_t *values = item->values + item->cells * container->lanes;
    memset(values, 0, OCTA_LANE_USER * sizeof *values);
    values[OCTA_LANE_HITS] = (int64_t)rows->hits[i];
    values[OCTA_LANE_PASSES] = (int64_t)rows->passes[i];
    memcpy(values + OCTA_LANE_SUMS, rows->sums + i * OCTA_SUMS, OCTA_SUMS * sizeof *values);
    gather(container, rows, i, values + OCTA_LANE_USER);
    item->ids[item->cells++] = rows->ids[i];
}

static void take_free_cell(octa_item *item, const octa_rows *rows, size_t i) {
    item->free_values[item->free_cells][0] = (int64_t)rows->free_passes[i];
    item->free_values[item->free_cells][1] = (int64_t)rows->free_misses[i];
    item->free_ids[item->free_cells++] = rows->free_ids[i];
}

octa_error octa_item_new(const octa_container *container, const octa_record_key *key, const octa_rows *rows,
                         octa_item **out) {
    octa_item *item;
    size_t cells = 0, free_cells = 0;
    if (key->stamp_ns < 0 || key->stamp_ns > INT64_MAX / 4 || rows->cells > INT32_MAX ||
        rows->free_cells > INT32_MAX)
        return OCTA_E_DOMAIN;
    OCTA_TRY(check_rows(container, rows));
    for (size_t i = 0; i < rows->cells; i++)
        cells += (size_t)cell_says(container, rows, i);
    for (size_t i = 0; i < rows->free_cells; i++)
        free_cells += (size_t)free_says(rows, i);
    OCTA_TRY(allocate(container, cells, free_cells, &item));
    item->key = *key;
    for (size_t i = 0; i < rows->cells; i++)
        if (cell_says(container, rows, i))
            take_cell(container, item, rows, i);
    for (size_t i = 0; i < rows->free_cells; i++)
        if (free_says(rows, i))
            take_free_cell(item, rows, i);
    *out = item;
    return OCTA_OK;
}

static void take_total(const octa_container *container, octa_item *item, const octa_celltable *finest,
                       uint32_t row) {
    int64_t *values = item->values + item->cells * container->lanes;
    item->ids[item->cells] = finest->ids[row];
    memcpy(values, octa_celltable_row(finest, row), container->lanes * sizeof *values);
    values[OCTA_LANE_FREE_PASSES] = values[OCTA_LANE_FREE_MISSES] = 0;
    item->cells += memcmp(values, container->neutral, container->lanes * sizeof *values) != 0;
}

static void take_free(octa_item *item, const octa_celltable *table, uint32_t row) {
    const int64_t *values = octa_celltable_row(table, row) + OCTA_LANE_FREE_PASSES;
    item->free_ids[item->free_cells] = table->ids[row];
    memcpy(item->free_values[item->free_cells], values, sizeof *item->free_values);
    item->free_cells += (values[0] | values[1]) != 0;
}

/* Whether a total can be added at once. */
static int total_fits(const octa_container *container, const octa_item *item) {
    const octa_container_options *options = &container->options;
    uint64_t hits = 0;
    for (size_t i = 0; i < item->cells; i++) {
        const int64_t *values = item->values + i * container->lanes;
        if ((uint64_t)values[OCTA_LANE_HITS] > MOST_HITS - hits)
            return 0;
        hits += (uint64_t)values[OCTA_LANE_HITS];
        size_t lane = OCTA_LANE_USER;
        for (uint32_t c = 0; c < options->columns; lane += options->widths[c++])
            if (!column_fits(values + lane, container->neutral + lane, options->widths[c], options->rules[c]))
                return 0;
    }
    return 1;
}

octa_error octa_item_of_total(const octa_container *container, octa_item **out) {
    const octa_celltable *finest = &container->tables[0];
    const octa_celltable *with_free = &container->tables[container->options.free_level];
    octa_item *item;
    OCTA_TRY(allocate(container, finest->used, with_free->used, &item));
    for (size_t row = 0; row < finest->rows; row++)
        if (finest->ids[row])
            take_total(container, item, finest, (uint32_t)row);
    for (size_t row = 0; row < with_free->rows; row++)
        if (with_free->ids[row])
            take_free(item, with_free, (uint32_t)row);
    if (!total_fits(container, item)) {
        octa_item_free(item);
        return OCTA_E_DOMAIN;
    }
    *out = item;
    return OCTA_OK;
}

octa_error octa_item_copy(const octa_container *container, const octa_item *item, octa_item **out) {
    octa_item *copy;
    OCTA_TRY(allocate(container, item->cells, item->free_cells, &copy));
    copy->key = item->key;
    copy->cells = item->cells;
    copy->free_cells = item->free_cells;
    memcpy(copy->ids, item->ids, item->cells * sizeof *item->ids);
    memcpy(copy->values, item->values, item->cells * container->lanes * sizeof *item->values);
    memcpy(copy->free_ids, item->free_ids, item->free_cells * sizeof *item->free_ids);
    memcpy(copy->free_values, item->free_values, item->free_cells * sizeof *item->free_values);
    *out = copy;
    return OCTA_OK;
}

int octa_items_equal(const octa_container *container, const octa_item *a, const octa_item *b) {
    return a->cells == b->cells && a->free_cells == b->free_cells &&
           memcmp(a->ids, b->ids, a->cells * sizeof *a->ids) == 0 &&
           memcmp(a->values, b->values, a->cells * container->lanes * sizeof *a->values) == 0 &&
           memcmp(a->free_ids, b->free_ids, a->free_cells * sizeof *a->free_ids) == 0 &&
           memcmp(a->free_values, b->free_values, a->free_cells * sizeof *a->free_values) == 0;
}
