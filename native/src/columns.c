#include "columns.h"

#include <string.h>

/* Halved x and y, 16 bits each and never at the edge: a step to the next column stays within its field. */
#define FIELD 16
#define BIAS 16385

octa_error octa_columns_begin(octa_columns *columns, size_t n) {
    const size_t cells = n + 1, pairs = 2 * cells * sizeof *columns->pairs;
    memset(columns, 0, sizeof *columns);
    char *memory = OCTA_MALLOC(pairs + cells * (sizeof(uint64_t) + 3 * sizeof(uint32_t)));
    if (!memory)
        return OCTA_E_MEMORY;
    columns->memory = memory;
    columns->pairs = (octa_id_row *)memory;
    columns->codes = (uint64_t *)(memory + pairs);
    columns->lowest = (int32_t *)(columns->codes + cells);
    columns->lowest_around = columns->lowest + cells;
    columns->column_of = (uint32_t *)(columns->lowest_around + cells);
    return OCTA_OK;
}

void octa_columns_end(octa_columns *columns) {
    OCTA_FREE(columns->memory);
    memset(columns, 0, sizeof *columns);
}

static uint64_t half_down(int32_t v) { return (uint64_t)((v - (v & 1)) / 2 + BIAS); }

static void collect(octa_columns *columns, const int32_t (*sites)[3], size_t n) {
    columns->count = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t code = columns->pairs[i].id;
        const uint32_t row = columns->pairs[i].row;
        const int32_t z = sites[row][2];
        if (columns->count == 0 || columns->codes[columns->count - 1] != code) {
            columns->codes[columns->count] = code;
            columns->lowest[columns->count++] = z;
        }
        const size_t column = columns->count - 1;
        columns->column_of[row] = (uint32_t)column;
        if (z < columns->lowest[column])
            columns->lowest[column] = z;
    }
    columns->codes[columns->count] = UINT64_MAX;
}

static inline void lower(int32_t *value, int32_t other) { *value = other < *value ? other : *value; }

/* Columns next to each other lie at one of four steps, each way: every pair at a step comes out of one walk
 * along the sorted codes. */
static void look_around(octa_columns *columns) {
    static const uint64_t steps[] = {1, (1 << FIELD) - 1, 1 << FIELD, (1 << FIELD) + 1};
    const uint64_t *codes = columns->codes;
    memcpy(columns->lowest_around, columns->lowest, columns->count * sizeof *columns->lowest);
    for (size_t step = 0; step < sizeof steps / sizeof *steps; step++)
        for (size_t i = 0, j = 0; i < columns->count; i++) {
            while (codes[j] < codes[i] + steps[step])
                j++;
            if (codes[j] != codes[i] + steps[step])
                continue;
            lower(&columns->lowest_around[i], columns->lowest[j]);
            lower(&columns->lowest_around[j], columns->lowest[i]);
        }
}

void octa_columns_load(octa_columns *columns, const int32_t (*sites)[3], size_t n) {
    for (size_t i = 0; i < n; i++)
        columns->pairs[i] =
            (octa_id_row){half_down(sites[i][0]) << FIELD | half_down(sites[i][1]), (uint32_t)i};
    octa_sort_id_rows(columns->pairs, columns->pairs + n, n);
    collect(columns, sites, n);
    look_around(columns);
}
