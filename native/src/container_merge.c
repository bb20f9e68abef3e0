/* Containers into one: sets of records unite, a total is added to a sum. */
#include "container.h"

#include <string.h>

static int same_grid(const octa_grid *a, const octa_grid *b) {
    return a->half_edge_m == b->half_edge_m && a->frame == b->frame && a->tier == b->tier &&
           a->lod == b->lod && a->intensity_max == b->intensity_max;
}

static int same_kind(const octa_container_options *a, const octa_container_options *b) {
    int same = same_grid(&a->grid, &b->grid) && a->levels == b->levels && a->free_level == b->free_level &&
               a->columns == b->columns;
    for (uint32_t c = 0; same && c < a->columns; c++)
        same = a->widths[c] == b->widths[c] && a->rules[c] == b->rules[c];
    return same;
}

/* A sum takes in sums and records; records need the other's records. */
static int can_join(const octa_container *container, const octa_container *other) {
    return same_kind(&container->options, &other->options) &&
           (!container->options.keep || other->options.keep);
}

/* Records of two containers in one list, in order; those of the other that are new are marked. */
typedef struct {
    octa_item **items;
    uint8_t *is_new;
    size_t count;
    size_t known;
} united;

static void end_union(united *u) {
    OCTA_FREE(u->items);
    OCTA_FREE(u->is_new);
}

static octa_error begin_union(united *u, size_t room) {
    u->items = OCTA_MALLOC((room + 1) * sizeof *u->items);
    u->is_new = OCTA_MALLOC(room + 1);
    u->count = u->known = 0;
    if (u->items && u->is_new)
        return OCTA_OK;
    end_union(u);
    return OCTA_E_MEMORY;
}

static void list_record(united *u, octa_item *item, uint8_t is_new) {
    u->items[u->count] = item;
    u->is_new[u->count++] = is_new;
}

static octa_error unite(const octa_container *a, const octa_container *b, united *u) {
    size_t i = 0, j = 0;
    OCTA_TRY(begin_union(u, a->count + b->count));
    while (i < a->count || j < b->count) {
        const int order = i == a->count   ? 1
                          : j == b->count ? -1
                                          : octa_key_compare(&a->items[i]->key, &b->items[j]->key);
        if (order > 0) {
            list_record(u, b->items[j++], 1);
            continue;
        }
        if (order == 0 && !octa_items_equal(a, a->items[i], b->items[j++])) {
            end_union(u);
            return OCTA_E_DOMAIN;
        }
        u->known += order == 0;
        list_record(u, a->items[i++], 0);
    }
    return OCTA_OK;
}

/* Records at the head of the list that either container has evicted before. */
static size_t count_late(const united *u, const octa_container *a, const octa_container *b) {
    size_t late = 0;
    while (late < u->count && ((a->has_limit && octa_key_compare(&u->items[late]->key, &a->limit) <= 0) ||
                               (b->has_limit && octa_key_compare(&u->items[late]->key, &b->limit) <= 0)))
        late++;
    return late;
}

static void free_copies(united *u, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        if (u->is_new[i])
            octa_item_free(u->items[i]);
}

/* New records from one on become copies of the container's own. */
static octa_error copy_new(const octa_container *container, united *u, size_t first) {
    for (size_t i = first; i < u->count; i++)
        if (u->is_new[i] && octa_item_copy(container, u->items[i], &u->items[i]) != OCTA_OK) {
            free_copies(u, first, i);
            return OCTA_E_MEMORY;
        }
    return OCTA_OK;
}

/* What became of the records: the first `late` were evicted before, then some are too old, then some too
 * many. */
static void count_records(const octa_container *container, const united *u, size_t late, const octa_excess *e,
                          octa_container_counts *counts) {
    const size_t first = late + e->expired + e->evicted;
    counts->known = u->known;
    for (size_t i = 0; i < u->count; i++) {
        const int capped = i < late ? !u->is_new[i] : i >= late + e->expired && i < first;
        const int expired = i >= late && i < late + e->expired;
        counts->late += u->is_new[i] && (i < late || expired);
        counts->expired += !u->is_new[i] && expired;
        counts->added += u->is_new[i] && i >= late + e->expired;
        counts->evicted += (uint64_t)capped;
        counts->rows += capped ? octa_item_rows(u->items[i]) : 0;
        counts->outside += u->is_new[i] && i >= first ? octa_item_outside(container, u->items[i]) : 0;
    }
}

/* The list becomes the container's; its own records before `first` are gone. */
static void adopt(octa_container *container, united *u, size_t first, size_t late, const octa_excess *e) {
    if (e->evicted)
        octa_records_limit(container, &u->items[late + e->expired + e->evicted - 1]->key);
    for (size_t i = 0; i < first; i++)
        if (!u->is_new[i])
            octa_item_free(u->items[i]);
    container->count = u->count - first;
    memmove(u->items, u->items + first, container->count * sizeof *u->items);
    container->rows = 0;
    for (size_t i = 0; i < container->count; i++)
        container->rows += octa_item_rows(u->items[i]);
    OCTA_FREE(container->items);
    container->items = u->items;
    container->capacity = u->count + 1;
    OCTA_FREE(u->is_new);
}

static octa_error merge_records(octa_container *container, const octa_container *other,
                                octa_container_counts *counts) {
    const int64_t now = container->now_ns > other->now_ns ? container->now_ns : other->now_ns;
    united u;
    OCTA_TRY(unite(container, other, &u));
    const size_t late = count_late(&u, container, other);
    const octa_excess e = octa_records_excess(container, u.items + late, u.count - late, now);
    const size_t first = late + e.expired + e.evicted;
    octa_error error = copy_new(container, &u, first);
    if (error == OCTA_OK) {
        error = octa_fold_all(container, u.items + first, u.count - first);
        if (error != OCTA_OK)
            free_copies(&u, first, u.count);
    }
    if (error != OCTA_OK) {
        end_union(&u);
        return error;
    }
    count_records(container, &u, late, &e, counts);
    adopt(container, &u, first, late, &e);
    if (other->has_limit)
        octa_records_limit(container, &other->limit);
    container->now_ns = now;
    return OCTA_OK;
}

octa_error octa_container_merge(octa_container *container, const octa_container *other,
                                octa_container_counts *counts) {
    octa_container_counts out = {0};
    octa_item *total;
    if (!can_join(container, other))
        return OCTA_E_DOMAIN;
    if (container->options.keep) {
        OCTA_TRY(merge_records(container, other, &out));
    } else {
        OCTA_TRY(octa_item_of_total(other, &total));
        OCTA_TRY(octa_sum_fold(container, total, +1, &out.outside));
        out.added = 1;
    }
    *counts = out;
    return OCTA_OK;
}

static octa_error unmerge_records(octa_container *container, const octa_container *other,
                                  octa_container_counts *counts) {
    united u;
    OCTA_TRY(begin_union(&u, container->count));
    for (size_t i = 0; i < container->count; i++)
        if (!octa_record_find(other, &container->items[i]->key))
            list_record(&u, container->items[i], 0);
    const octa_error error = octa_fold_all(container, u.items, u.count);
    if (error == OCTA_OK) {
        size_t kept = 0;
        counts->removed = container->count - u.count;
        for (size_t i = 0; i < container->count; i++) {
            if (kept < u.count && container->items[i] == u.items[kept]) {
                container->items[kept++] = container->items[i];
                continue;
            }
            container->rows -= octa_item_rows(container->items[i]);
            octa_item_free(container->items[i]);
        }
        container->count = kept;
    }
    end_union(&u);
    return error;
}

octa_error octa_container_unmerge(octa_container *container, const octa_container *other,
                                  octa_container_counts *counts) {
    octa_container_counts out = {0};
    octa_item *total;
    if (!can_join(container, other))
        return OCTA_E_DOMAIN;
    if (container->options.keep) {
        OCTA_TRY(unmerge_records(container, other, &out));
    } else {
        if (container->has_order)
            return OCTA_E_DOMAIN;
        OCTA_TRY(octa_item_of_total(other, &total));
        OCTA_TRY(octa_sum_fold(container, total, -1, NULL));
        out.removed = 1;
    }
    *counts = out;
    return OCTA_OK;
}
