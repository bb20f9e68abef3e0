#include "celltable.h"

#include <string.h>

#define FIRST_ROWS 256

void octa_celltable_begin(octa_celltable *table, size_t lanes) {
    memset(table, 0, sizeof *table);
    table->lanes = lanes;
}

octa_error octa_celltable_begin_dense(octa_celltable *table, size_t lanes, const octa_extent *extent,
                                      const int64_t *neutral) {
    const size_t sites = octa_extent_sites(extent);
    octa_celltable_begin(table, lanes);
    table->ids = OCTA_MALLOC(sites * sizeof *table->ids);
    table->values = OCTA_MALLOC(sites * lanes * sizeof *table->values);
    if (!table->ids || !table->values) {
        octa_celltable_free(table);
        return OCTA_E_MEMORY;
    }
    table->dense = 1;
    table->extent = *extent;
    table->rows = table->capacity = sites;
    memset(table->ids, 0, sites * sizeof *table->ids);
    for (size_t row = 0; row < sites; row++)
        memcpy(octa_celltable_row(table, (uint32_t)row), neutral, lanes * sizeof *neutral);
    return OCTA_OK;
}

void octa_celltable_free(octa_celltable *table) {
    octa_cellmap_free(&table->map);
    OCTA_FREE(table->ids);
    OCTA_FREE(table->values);
    OCTA_FREE(table->free_rows);
    memset(table, 0, sizeof *table);
}

static octa_error grow(octa_celltable *table, size_t capacity) {
    uint64_t *ids = OCTA_REALLOC(table->ids, capacity * sizeof *ids);
    if (!ids)
        return OCTA_E_MEMORY;
    table->ids = ids;
    uint32_t *free_rows = OCTA_REALLOC(table->free_rows, capacity * sizeof *free_rows);
    if (!free_rows)
        return OCTA_E_MEMORY;
    table->free_rows = free_rows;
    int64_t *values = OCTA_REALLOC(table->values, capacity * table->lanes * sizeof *values);
    if (!values)
        return OCTA_E_MEMORY;
    table->values = values;
    table->capacity = capacity;
    return OCTA_OK;
}

octa_error octa_celltable_reserve(octa_celltable *table, size_t more) {
    if (table->dense)
        return OCTA_OK;
    OCTA_TRY(octa_cellmap_reserve(&table->map, table->used + more));
    const size_t rows = table->rows + (more > table->free_count ? more - table->free_count : 0);
    if (rows <= table->capacity)
        return OCTA_OK;
    size_t capacity = table->capacity ? table->capacity : FIRST_ROWS;
    while (capacity < rows)
        capacity += capacity / 2;
    return grow(table, capacity);
}

uint32_t octa_celltable_find(const octa_celltable *table, uint64_t id, const int32_t *site) {
    return table->dense ? octa_extent_row(&table->extent, site) : octa_cellmap_find(&table->map, id);
}

uint32_t octa_celltable_place(octa_celltable *table, uint64_t id, const int32_t *site,
                              const int64_t *neutral) {
    uint32_t row = octa_celltable_find(table, id, site);
    if (row != OCTA_NO_ROW)
        return row;
    row = table->free_count ? table->free_rows[--table->free_count] : (uint32_t)table->rows++;
    octa_cellmap_insert(&table->map, id, row);
    table->ids[row] = id;
    table->used++;
    memcpy(octa_celltable_row(table, row), neutral, table->lanes * sizeof *neutral);
    return row;
}

void octa_celltable_settle(octa_celltable *table, uint32_t row, uint64_t id, const int64_t *neutral) {
    const int is_neutral =
        memcmp(octa_celltable_row(table, row), neutral, table->lanes * sizeof *neutral) == 0;
    if (is_neutral && table->ids[row]) {
        if (!table->dense) {
            octa_cellmap_remove(&table->map, id);
            table->free_rows[table->free_count++] = row;
        }
        table->ids[row] = 0;
        table->used--;
    } else if (!is_neutral && !table->ids[row]) { /* of an array: a hash table's row has its cell already */
        table->ids[row] = id;
        table->used++;
    }
}

void octa_celltable_sorted(const octa_celltable *table, octa_id_row *pairs) {
    size_t count = 0;
    for (size_t row = 0; row < table->rows; row++)
        if (table->ids[row])
            pairs[count++] = (octa_id_row){table->ids[row], (uint32_t)row};
    octa_sort_id_rows(pairs, pairs + table->used, count);
}
