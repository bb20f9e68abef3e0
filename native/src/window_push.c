/* Folding one record into a rolling window. All allocation comes first, so a failure changes nothing. */
#include "window.h"

#include <string.h>

/* Every value is a share of at most 1, so no sum exceeds the hits. */
static octa_error check_sums(const octa_record *record) {
    size_t hit = 0;
    for (size_t i = 0; i < record->cells; i++) {
        if (!record->hits[i])
            continue;
        const int32_t *sums = record->sums + hit++ * OCTA_SUMS;
        int64_t most = (int64_t)record->hits[i] * OCTA_FIXED_ONE;
        for (int sum = 0; sum < OCTA_SUMS; sum++)
            if (sums[sum] > most || sums[sum] < -most)
                return OCTA_E_DOMAIN;
    }
    return OCTA_OK;
}

static octa_error check_record(const octa_window *window, const octa_record *record) {
    size_t hit_cells = 0;
    if (record->stamp_ns < 0 || record->stamp_ns > INT64_MAX / 4)
        return OCTA_E_DOMAIN;
    for (size_t i = 0; i < record->cells; i++) {
        OCTA_TRY(octa_index64_check(record->ids[i], window->prefix));
        if (i && record->ids[i] <= record->ids[i - 1])
            return OCTA_E_ORDER;
        hit_cells += record->hits[i] > 0;
    }
    if (hit_cells != record->hit_cells)
        return OCTA_E_DOMAIN;
    OCTA_TRY(check_sums(record));
    int64_t now = window->started && window->now_ns > record->stamp_ns ? window->now_ns : record->stamp_ns;
    int64_t oldest = (int64_t)window->options.bins - 1 + window->options.keep_bins;
    if (octa_window_age(window, now, record->stamp_ns) > oldest)
        return OCTA_E_ORDER;
    return record->cells > window->options.max_cells ? OCTA_E_CAPACITY : OCTA_OK;
}

static size_t count_new_cells(const octa_window *window, const octa_record *record) {
    size_t count = 0;
    for (size_t i = 0; i < record->cells; i++)
        count += octa_cellmap_find(&window->map, record->ids[i]) == OCTA_NO_ROW;
    return count;
}

/* New history block of the given shape with the old content; the old block stays untouched. */
static octa_evidence *copy_history(const octa_window *window, size_t rows, size_t slots) {
    octa_evidence *history = OCTA_MALLOC(rows * slots * sizeof *history);
    if (!history)
        return NULL;
    memset(history, 0, rows * slots * sizeof *history);
    for (size_t row = 0; row < window->rows; row++)
        memcpy(history + row * slots, octa_history(window, (uint32_t)row),
               window->slot_capacity * sizeof *history);
    return history;
}

static octa_error reserve_rows(octa_window *window, size_t rows) {
    if (rows <= window->row_capacity)
        return OCTA_OK;
    size_t capacity = window->row_capacity ? window->row_capacity : 1024;
    while (capacity < rows)
        capacity *= 2;
    octa_cell *cells = OCTA_REALLOC(window->cells, capacity * sizeof *cells);
    if (!cells)
        return OCTA_E_MEMORY;
    window->cells = cells;
    uint32_t *free_rows = OCTA_REALLOC(window->free_rows, capacity * sizeof *free_rows);
    if (!free_rows)
        return OCTA_E_MEMORY;
    window->free_rows = free_rows;
    octa_evidence *history = copy_history(window, capacity, window->slot_capacity);
    if (!history)
        return OCTA_E_MEMORY;
    OCTA_FREE(window->history);
    window->history = history;
    window->row_capacity = capacity;
    return OCTA_OK;
}

static octa_error reserve_slots(octa_window *window) {
    if (window->slot_count < window->slot_capacity)
        return OCTA_OK;
    if (window->slot_capacity >= window->options.max_records)
        return OCTA_OK; /* the oldest record will make room */
    size_t capacity = window->slot_capacity ? 2 * window->slot_capacity : 8;
    if (capacity > window->options.max_records)
        capacity = window->options.max_records;
    octa_slot *slots = OCTA_REALLOC(window->slots, capacity * sizeof *slots);
    if (!slots)
        return OCTA_E_MEMORY;
    window->slots = slots;
    size_t rows = window->row_capacity ? window->row_capacity : 1;
    octa_evidence *history = copy_history(window, rows, capacity);
    if (!history)
        return OCTA_E_MEMORY;
    OCTA_FREE(window->history);
    window->history = history;
    memset(slots + window->slot_capacity, 0, (capacity - window->slot_capacity) * sizeof *slots);
    window->slot_capacity = capacity;
    return OCTA_OK;
}

static size_t oldest_slot(const octa_window *window) {
    size_t oldest = window->slot_capacity;
    for (size_t slot = 0; slot < window->slot_capacity; slot++) {
        const octa_slot *record = &window->slots[slot];
        if (!record->used)
            continue;
        const octa_slot *other = oldest < window->slot_capacity ? &window->slots[oldest] : NULL;
        if (!other || record->stamp_ns < other->stamp_ns ||
            (record->stamp_ns == other->stamp_ns && record->order < other->order))
            oldest = slot;
    }
    return oldest;
}

/* Drop the oldest records until the caps leave room for this one; returns the number of cells lost. */
static uint64_t make_room(octa_window *window, const octa_record *record) {
    const size_t before = window->map.used, most = window->options.max_cells;
    while (window->slot_count && (window->slot_count >= window->options.max_records ||
                                  (window->map.used + record->cells > most &&
                                   window->map.used + count_new_cells(window, record) > most)))
        octa_window_drop(window, oldest_slot(window));
    return before - window->map.used;
}

static uint32_t new_row(octa_window *window, uint64_t id) {
    uint32_t row = window->free_count ? window->free_rows[--window->free_count] : (uint32_t)window->rows++;
    memset(&window->cells[row], 0, sizeof window->cells[row]);
    window->cells[row].id = id;
    octa_cellmap_insert(&window->map, id, row);
    return row;
}

static void fill_slot(octa_window *window, size_t slot, const octa_record *record) {
    octa_slot *filled = &window->slots[slot];
    for (size_t i = 0; i < record->cells; i++) {
        uint32_t row = octa_cellmap_find(&window->map, record->ids[i]);
        if (row == OCTA_NO_ROW)
            row = new_row(window, record->ids[i]);
        filled->seen[i] = (octa_evidence){record->hits[i], record->passes[i]};
        octa_history(window, row)[slot] = filled->seen[i];
        filled->rows[i] = row;
        window->cells[row].listed++;
        if (record->hits[i] && window->cells[row].hit++ == 0)
            window->hit_cells++;
    }
}

octa_error octa_window_push(octa_window *window, const octa_record *record, uint64_t *evicted) {
    OCTA_TRY(check_record(window, record));
    size_t fresh = count_new_cells(window, record);
    OCTA_TRY(octa_cellmap_reserve(&window->map, window->map.used + fresh));
    OCTA_TRY(reserve_slots(window));
    OCTA_TRY(
        reserve_rows(window, window->rows + (fresh > window->free_count ? fresh - window->free_count : 0)));
    uint32_t *rows = OCTA_MALLOC((record->cells + 1) * sizeof *rows);
    octa_evidence *seen = OCTA_MALLOC((record->cells + 1) * sizeof *seen);
    int32_t (*sums)[OCTA_SUMS] = OCTA_MALLOC((record->hit_cells + 1) * sizeof *sums);
    if (!rows || !seen || !sums) {
        OCTA_FREE(rows);
        OCTA_FREE(seen);
        OCTA_FREE(sums);
        return OCTA_E_MEMORY;
    }
    if (record->hit_cells)
        memcpy(sums, record->sums, record->hit_cells * sizeof *sums);

    (void)octa_window_advance(window, record->stamp_ns); /* the stamp was checked above */
    *evicted = make_room(window, record);
    size_t slot = 0;
    while (window->slots[slot].used)
        slot++;
    window->slots[slot] = (octa_slot){.used = 1,
                                      .stamp_ns = record->stamp_ns,
                                      .age = octa_window_age(window, window->now_ns, record->stamp_ns),
                                      .order = window->folded++,
                                      .cells = record->cells,
                                      .rows = rows,
                                      .seen = seen,
                                      .sums = sums};
    window->slot_count++;
    fill_slot(window, slot, record);
    if (window->slots[slot].age < window->options.bins)
        octa_window_count(window, slot, +1);
    return OCTA_OK;
}
