/* The records of a container as a set: adding, removing, ageing. */
#include "container.h"

#include <string.h>

/* Place of the first record that is not before the key. */
static size_t place_of(const octa_container *container, const octa_record_key *key) {
    size_t low = 0, high = container->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (octa_key_compare(&container->items[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

octa_item *octa_record_find(const octa_container *container, const octa_record_key *key) {
    const size_t at = place_of(container, key);
    const int found = at < container->count && octa_key_compare(&container->items[at]->key, key) == 0;
    return found ? container->items[at] : NULL;
}

static int is_expired(const octa_container *container, const octa_record_key *key, int64_t now_ns) {
    const int64_t span = container->options.span_ns;
    return span && now_ns - key->stamp_ns >= span;
}

static int is_late(const octa_container *container, const octa_record_key *key) {
    return is_expired(container, key, container->now_ns) ||
           (container->has_limit && octa_key_compare(key, &container->limit) <= 0);
}

octa_excess octa_records_excess(const octa_container *container, octa_item *const *items, size_t count,
                                int64_t now_ns) {
    const octa_container_options *options = &container->options;
    octa_excess out = {0, 0, 0};
    uint64_t rows = 0;
    while (out.expired < count && is_expired(container, &items[out.expired]->key, now_ns))
        out.expired++;
    size_t first = count;
    while (first > out.expired && count - first < options->max_records &&
           rows + octa_item_rows(items[first - 1]) <= options->max_rows)
        rows += octa_item_rows(items[--first]);
    out.evicted = first - out.expired;
    for (size_t i = out.expired; i < first; i++)
        out.rows += octa_item_rows(items[i]);
    return out;
}

void octa_records_limit(octa_container *container, const octa_record_key *key) {
    if (container->has_limit && octa_key_compare(key, &container->limit) <= 0)
        return;
    container->has_limit = 1;
    container->limit = *key;
}

/* Free the first records of the list and close the gap. */
static void forget_first(octa_container *container, size_t count) {
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        container->rows -= octa_item_rows(container->items[i]);
        octa_item_free(container->items[i]);
    }
    container->count -= count;
    memmove(container->items, container->items + count, container->count * sizeof *container->items);
}

/* Put the first records but one back into the tables, from which they were taken. */
static void refold_first(octa_container *container, size_t count, const octa_item *but) {
    for (size_t i = 0; i < count; i++)
        if (container->items[i] != but)
            (void)octa_fold(container, container->items[i], +1, NULL);
}

/* Take the first records but one out of the tables; all are back when one of them does not let itself be
 * taken. */
static octa_error unfold_first(octa_container *container, size_t count, const octa_item *but) {
    octa_error error = octa_fold_reserve(container, container->items, count, -1);
    size_t i = 0;
    while (i < count && error == OCTA_OK)
        if (container->items[i++] != but)
            error = octa_fold(container, container->items[i - 1], -1, NULL);
    if (error != OCTA_OK && i > 0)
        refold_first(container, i - 1, but);
    return error;
}

static octa_error reserve_items(octa_container *container, size_t count) {
    if (count <= container->capacity)
        return OCTA_OK;
    const size_t capacity = count + count / 2;
    octa_item **items = OCTA_REALLOC(container->items, capacity * sizeof *items);
    if (!items)
        return OCTA_E_MEMORY;
    container->items = items;
    container->capacity = capacity;
    return OCTA_OK;
}

static void insert_record(octa_container *container, octa_item *item) {
    const size_t at = place_of(container, &item->key);
    memmove(container->items + at + 1, container->items + at,
            (container->count - at) * sizeof *container->items);
    container->items[at] = item;
    container->count++;
    container->rows += octa_item_rows(item);
}

static void take_record(octa_container *container, const octa_item *item) {
    const size_t at = place_of(container, &item->key);
    container->count--;
    container->rows -= octa_item_rows(item);
    memmove(container->items + at, container->items + at + 1,
            (container->count - at) * sizeof *container->items);
}

/* Take the first records out of the tables and bring one in, unless it is among them. */
static octa_error exchange(octa_container *container, octa_item *item, size_t gone, uint64_t *outside) {
    OCTA_TRY(unfold_first(container, gone, item));
    if (place_of(container, &item->key) < gone)
        return OCTA_OK;
    octa_error error = octa_fold_reserve(container, &item, 1, +1);
    if (error == OCTA_OK)
        error = octa_fold(container, item, +1, outside);
    if (error != OCTA_OK)
        refold_first(container, gone, item);
    return error;
}

/* A record that is new and not late: it enters, and the oldest make room. It may be among those itself. */
static octa_error keep_record(octa_container *container, octa_item *item, octa_container_counts *counts) {
    const int64_t now = item->key.stamp_ns > container->now_ns ? item->key.stamp_ns : container->now_ns;
    OCTA_TRY(reserve_items(container, container->count + 1));
    insert_record(container, item);
    const octa_excess e = octa_records_excess(container, container->items, container->count, now);
    const size_t gone = e.expired + e.evicted;
    const octa_error error = exchange(container, item, gone, &counts->outside);
    if (error != OCTA_OK) {
        take_record(container, item);
        return error;
    }
    if (e.evicted)
        octa_records_limit(container, &container->items[gone - 1]->key);
    forget_first(container, gone);
    if (gone)
        octa_fold_order(container);
    container->now_ns = now;
    counts->expired += e.expired;
    counts->evicted += e.evicted;
    counts->rows += e.rows;
    counts->added++;
    return OCTA_OK;
}

static octa_error add_record(octa_container *container, octa_item *item, octa_container_counts *counts) {
    const octa_item *same = octa_record_find(container, &item->key);
    if (octa_item_rows(item) > container->options.max_rows)
        return OCTA_E_CAPACITY;
    if (same && !octa_items_equal(container, same, item))
        return OCTA_E_DOMAIN;
    if (!same && !is_late(container, &item->key))
        return keep_record(container, item, counts);
    if (same)
        counts->known++;
    else
        counts->late++;
    octa_item_free(item);
    return OCTA_OK;
}

octa_error octa_sum_fold(octa_container *container, octa_item *item, int sign, uint64_t *outside) {
    octa_error error = octa_fold_reserve(container, &item, 1, +1); /* a subtrahend may not be there at all */
    if (error == OCTA_OK)
        error = octa_fold(container, item, sign, outside);
    octa_item_free(item);
    return error;
}

octa_error octa_container_add(octa_container *container, const octa_record_key *key, const octa_rows *rows,
                              octa_container_counts *counts) {
    octa_container_counts out = {0};
    octa_item *item;
    OCTA_TRY(octa_item_new(container, key, rows, &item));
    if (container->options.keep) {
        const octa_error error = add_record(container, item, &out);
        if (error != OCTA_OK) {
            octa_item_free(item);
            return error;
        }
    } else {
        OCTA_TRY(octa_sum_fold(container, item, +1, &out.outside));
        out.added = 1;
    }
    *counts = out;
    return OCTA_OK;
}

/* Take a record out that is there. */
static octa_error remove_record(octa_container *container, octa_item *item) {
    OCTA_TRY(octa_fold_reserve(container, &item, 1, -1));
    OCTA_TRY(octa_fold(container, item, -1, NULL));
    take_record(container, item);
    octa_item_free(item);
    octa_fold_order(container);
    return OCTA_OK;
}

octa_error octa_container_remove(octa_container *container, const octa_record_key *key, const octa_rows *rows,
                                 octa_container_counts *counts) {
    octa_container_counts out = {0};
    octa_item *item;
    if (container->options.keep) {
        item = octa_record_find(container, key);
        out.removed = item != NULL;
        if (item)
            OCTA_TRY(remove_record(container, item));
        *counts = out;
        return OCTA_OK;
    }
    if (!rows || container->has_order)
        return OCTA_E_DOMAIN;
    OCTA_TRY(octa_item_new(container, key, rows, &item));
    OCTA_TRY(octa_sum_fold(container, item, -1, NULL));
    out.removed = 1;
    *counts = out;
    return OCTA_OK;
}

octa_error octa_container_advance(octa_container *container, int64_t stamp_ns,
                                  octa_container_counts *counts) {
    octa_container_counts out = {0};
    if (stamp_ns < 0 || stamp_ns > INT64_MAX / 4)
        return OCTA_E_DOMAIN;
    if (stamp_ns > container->now_ns) {
        const octa_excess e = octa_records_excess(container, container->items, container->count, stamp_ns);
        OCTA_TRY(unfold_first(container, e.expired, NULL));
        forget_first(container, e.expired);
        if (e.expired)
            octa_fold_order(container);
        container->now_ns = stamp_ns;
        out.expired = e.expired;
    }
    *counts = out;
    return OCTA_OK;
}
