/* Life of a rolling window: creation, time, removal, export, validation. */
#include "window.h"

#include <string.h>

octa_error octa_window_new(const octa_window_options *options, octa_window **out) {
    OCTA_TRY(octa_grid_check(&options->grid));
    if (options->bin_ns <= 0 || options->bin_ns > INT64_MAX / 4 || options->bins < 1 || options->bins > 64 ||
        options->max_records < 1 || options->max_cells < 1 || options->keep_bins > 100000)
        return OCTA_E_DOMAIN;
    octa_window *window = OCTA_MALLOC(sizeof *window);
    if (!window)
        return OCTA_E_MEMORY;
    memset(window, 0, sizeof *window);
    window->options = *options;
    window->prefix = octa_index64_prefix(options->grid.frame, options->grid.tier, options->grid.lod);
    *out = window;
    return OCTA_OK;
}

void octa_window_free(octa_window *window) {
    if (!window)
        return;
    for (size_t slot = 0; slot < window->slot_capacity; slot++) {
        OCTA_FREE(window->slots[slot].rows);
        OCTA_FREE(window->slots[slot].seen);
        OCTA_FREE(window->slots[slot].sums);
    }
    octa_cellmap_free(&window->map);
    OCTA_FREE(window->cells);
    OCTA_FREE(window->free_rows);
    OCTA_FREE(window->history);
    OCTA_FREE(window->slots);
    OCTA_FREE(window);
}

int64_t octa_window_age(const octa_window *window, int64_t now_ns, int64_t stamp_ns) {
    int64_t bin = window->options.bin_ns, twice = 2 * (now_ns - stamp_ns) + bin;
    return twice >= 0 ? twice / (2 * bin) : -((2 * bin - 1 - twice) / (2 * bin));
}

void octa_window_count(octa_window *window, size_t slot, int sign) {
    octa_slot *record = &window->slots[slot];
    size_t hit = 0;
    for (size_t i = 0; i < record->cells; i++) {
        octa_cell *cell = &window->cells[record->rows[i]];
        const octa_evidence *seen = &record->seen[i];
        int was_active = cell->hits > 0;
        cell->hits += (uint64_t)((int64_t)sign * seen->hits);
        cell->passes += (uint64_t)((int64_t)sign * seen->passes);
        window->active += (size_t)((cell->hits > 0) - was_active);
        if (!seen->hits)
            continue;
        for (int sum = 0; sum < OCTA_SUMS; sum++)
            cell->sums[sum] += sign * (int64_t)record->sums[hit][sum];
        hit++;
    }
    record->in_window = sign > 0;
}

static void release_row(octa_window *window, uint32_t row) {
    octa_cellmap_remove(&window->map, window->cells[row].id);
    memset(&window->cells[row], 0, sizeof window->cells[row]);
    window->free_rows[window->free_count++] = row;
}

void octa_window_drop(octa_window *window, size_t slot) {
    octa_slot *record = &window->slots[slot];
    if (record->in_window)
        octa_window_count(window, slot, -1);
    for (size_t i = 0; i < record->cells; i++) {
        uint32_t row = record->rows[i];
        octa_evidence *seen = &octa_history(window, row)[slot];
        if (seen->hits && --window->cells[row].hit == 0)
            window->hit_cells--;
        *seen = (octa_evidence){0, 0};
        if (--window->cells[row].listed == 0)
            release_row(window, row);
    }
    OCTA_FREE(record->rows);
    OCTA_FREE(record->seen);
    OCTA_FREE(record->sums);
    memset(record, 0, sizeof *record);
    window->slot_count--;
}

octa_error octa_window_advance(octa_window *window, int64_t stamp_ns) {
    if (stamp_ns < 0 || stamp_ns > INT64_MAX / 4)
        return OCTA_E_DOMAIN;
    if (window->started && stamp_ns <= window->now_ns)
        return OCTA_OK;
    window->started = 1;
    window->now_ns = stamp_ns;
    const int64_t bins = window->options.bins, oldest = bins - 1 + window->options.keep_bins;
    for (size_t slot = 0; slot < window->slot_capacity; slot++) {
        octa_slot *record = &window->slots[slot];
        if (!record->used)
            continue;
        record->age = octa_window_age(window, stamp_ns, record->stamp_ns);
        if (record->age > oldest)
            octa_window_drop(window, slot);
        else if (record->age >= bins && record->in_window)
            octa_window_count(window, slot, -1);
    }
    return OCTA_OK;
}

size_t octa_window_cells(const octa_window *window) { return window->hit_cells; }
size_t octa_window_records(const octa_window *window) { return window->slot_count; }
size_t octa_window_active(const octa_window *window) { return window->active; }

size_t octa_window_sorted(const octa_window *window, int only_active, octa_id_row *pairs) {
    size_t count = 0;
    for (size_t row = 0; row < window->rows; row++) {
        const octa_cell *cell = &window->cells[row];
        if (only_active ? cell->hits > 0 : cell->hit > 0)
            pairs[count++] = (octa_id_row){cell->id, (uint32_t)row};
    }
    octa_sort_id_rows(pairs, pairs + octa_window_cells(window), count);
    return count;
}

octa_error octa_window_export(const octa_window *window, size_t capacity, uint64_t *ids, uint64_t *hits,
                              uint64_t *passes, int64_t *sums) {
    size_t count = octa_window_cells(window);
    if (capacity < count)
        return OCTA_E_CAPACITY;
    octa_id_row *order = OCTA_MALLOC((2 * count + 1) * sizeof *order);
    if (!order)
        return OCTA_E_MEMORY;
    octa_window_sorted(window, 0, order);
    for (size_t i = 0; i < count; i++) {
        const octa_cell *cell = &window->cells[order[i].row];
        if (ids)
            ids[i] = cell->id;
        if (hits)
            hits[i] = cell->hits;
        if (passes)
            passes[i] = cell->passes;
        if (sums)
            memcpy(sums + i * OCTA_SUMS, cell->sums, sizeof cell->sums);
    }
    OCTA_FREE(order);
    return OCTA_OK;
}

/* NULL, or what is wrong with one row. */
static const char *invalid_row(const octa_window *window, uint32_t row) {
    const octa_cell *cell = &window->cells[row];
    uint64_t hits = 0, passes = 0;
    uint32_t hit = 0;
    for (size_t slot = 0; slot < window->slot_capacity; slot++) {
        const octa_evidence *seen = &octa_history(window, row)[slot];
        if (!window->slots[slot].used && (seen->hits || seen->passes))
            return "a free slot has evidence";
        hit += seen->hits > 0;
        hits += window->slots[slot].in_window ? seen->hits : 0;
        passes += window->slots[slot].in_window ? seen->passes : 0;
    }
    if (!cell->id)
        return cell->listed || hit || hits || passes ? "a free row has evidence" : NULL;
    if (octa_cellmap_find(&window->map, cell->id) != row)
        return "a cell is not at its row in the map";
    if (!cell->listed || hit != cell->hit)
        return "a cell's references disagree with its history";
    return hits != cell->hits || passes != cell->passes ? "in-window counts disagree with the history" : NULL;
}

/* NULL, or what is wrong with the totals over records. */
static const char *invalid_records(const octa_window *window) {
    size_t used = 0, listed = 0, references = 0;
    for (size_t slot = 0; slot < window->slot_capacity; slot++) {
        used += window->slots[slot].used != 0;
        listed += window->slots[slot].cells;
    }
    for (size_t row = 0; row < window->rows; row++)
        references += window->cells[row].listed;
    if (used != window->slot_count)
        return "the number of records is wrong";
    return listed != references ? "the cells' references disagree with the records" : NULL;
}

/* In-window sums over all cells against those of the records. */
static const char *invalid_sums(const octa_window *window) {
    int64_t total[OCTA_SUMS] = {0};
    for (size_t row = 0; row < window->rows; row++)
        for (int sum = 0; sum < OCTA_SUMS; sum++)
            total[sum] += window->cells[row].sums[sum];
    for (size_t slot = 0; slot < window->slot_capacity; slot++) {
        const octa_slot *record = &window->slots[slot];
        size_t hit = 0;
        for (size_t i = 0; record->in_window && i < record->cells; i++)
            if (octa_history(window, record->rows[i])[slot].hits) {
                for (int sum = 0; sum < OCTA_SUMS; sum++)
                    total[sum] -= record->sums[hit][sum];
                hit++;
            }
    }
    for (int sum = 0; sum < OCTA_SUMS; sum++)
        if (total[sum])
            return "in-window sums disagree with the records";
    return NULL;
}

int octa_window_validate(const octa_window *window, const char **reason) {
    size_t live = 0, hit_cells = 0, active = 0;
    *reason = invalid_records(window);
    if (!*reason)
        *reason = invalid_sums(window);
    for (size_t row = 0; row < window->rows && !*reason; row++) {
        *reason = invalid_row(window, (uint32_t)row);
        live += window->cells[row].id != 0;
        hit_cells += window->cells[row].hit > 0;
        active += window->cells[row].hits > 0;
    }
    if (!*reason && (live != window->map.used || live != window->rows - window->free_count))
        *reason = "the number of live rows disagrees with the map";
    if (!*reason && (hit_cells != window->hit_cells || active != window->active))
        *reason = "the number of hit or active cells is wrong";
    return *reason == NULL;
}
