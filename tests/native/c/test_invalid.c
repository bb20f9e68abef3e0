/* Validation sees what is wrong: windows and containers are spoilt in one place after the other. */
#include "container.h"
#include "container_scene.h"
#include "window.h"

#include <string.h>

/* Spoil, CHECK that the reason is the expected one, repair, CHECK that all is well again. */
#define SPOIL(validate, handle, spoil, repair, expected)                                                     \
    do {                                                                                                     \
        const char *reason = NULL;                                                                           \
        spoil;                                                                                               \
        CHECK(!validate(handle, &reason) && reason);                                                         \
        if (strcmp(reason, expected) != 0) {                                                                 \
            fprintf(stderr, "%s:%d: expected \"%s\", got \"%s\"\n", __FILE__, __LINE__, expected, reason);   \
            exit(1);                                                                                         \
        }                                                                                                    \
        repair;                                                                                              \
        CHECK(validate(handle, &reason) && !reason);                                                         \
    } while (0)

static uint32_t first_row(const octa_window *window, int live) {
    uint32_t row = 0;
    while (row < window->rows && (window->cells[row].id != 0) != live)
        row++;
    CHECK(row < window->rows);
    return row;
}

static void check_windows(void) {
    octa_window_options options = scene_options();
    options.bins = 2;
    options.keep_bins = 1;
    octa_window *window;
    uint64_t evicted;
    CHECK_OK(octa_window_new(&options, &window));
    for (int i = 0; i < 5; i++) { /* the first have gone: rows and slots are free */
        scene_record record = scene_bin((uint32_t)i, 150, 1000000000ll + i * 100000000ll);
        CHECK_OK(octa_window_push(window, &record.record, &evicted));
        scene_record_free(&record);
    }
    size_t used = 0, unused = 0;
    while (!window->slots[used].used)
        used++;
    while (window->slots[unused].used)
        unused++;
    CHECK(unused < window->slot_capacity);
    octa_slot *slot = &window->slots[used];
    const uint32_t live = first_row(window, 1), dead = first_row(window, 0);
    octa_cell *cell = &window->cells[live];
    const uint64_t id = cell->id;
#define WINDOW(spoil, repair, expected) SPOIL(octa_window_validate, window, spoil, repair, expected)
    WINDOW(window->slot_count++, window->slot_count--, "the number of records is wrong");
    WINDOW(slot->cells--, slot->cells++, "the cells' references disagree with the records");
    WINDOW(cell->sums[3]++, cell->sums[3]--, "in-window sums disagree with the records");
    WINDOW(octa_history(window, live)[unused].passes = 1, octa_history(window, live)[unused].passes = 0,
           "a free slot has evidence");
    WINDOW(window->cells[dead].listed++, window->cells[dead].listed--,
           "the cells' references disagree with the records");
    WINDOW(cell->id = 1, cell->id = id, "a cell is not at its row in the map");
    WINDOW(cell->hit++, cell->hit--, "a cell's references disagree with its history");
    WINDOW(cell->hits++, cell->hits--, "in-window counts disagree with the history");
    WINDOW(cell->passes++, cell->passes--, "in-window counts disagree with the history");
    WINDOW(window->free_count--, window->free_count++, "the number of live rows disagrees with the map");
    WINDOW(window->hit_cells++, window->hit_cells--, "the number of hit or active cells is wrong");
    WINDOW(window->active++, window->active--, "the number of hit or active cells is wrong");
    WINDOW(octa_history(window, dead)[used].passes = 1, octa_history(window, dead)[used].passes = 0,
           "a free row has evidence");
#undef WINDOW
    octa_window_free(window);
    octa_window_free(NULL);
}

static void check_containers(uint8_t dense) {
    octa_container_options options = container_scene_options();
    octa_container_counts counts;
    octa_container *c;
    options.dense = dense;
    for (int axis = 0; axis < 3; axis++) {
        options.origin[axis] = -16;
        options.shape[axis] = 16;
    }
    CHECK_OK(octa_container_new(&options, &c));
    for (int i = 0; i < 3; i++) {
        cell_record record = cell_record_of(&options, (uint32_t)i, 100 + i, 0, 0);
        CHECK_OK(octa_container_add(c, &record.key, &record.rows, &counts));
        cell_record_free(&record);
    }
    octa_celltable *finest = &c->tables[0];
    uint32_t row = 0;
    while (!finest->ids[row] || octa_celltable_row(finest, row)[OCTA_LANE_HITS] == 0)
        row++;
    int64_t *values = octa_celltable_row(finest, row), kept[OCTA_LANE_USER + OCTA_MAX_WIDTH];
    const size_t bytes = finest->lanes * sizeof *values;
    const uint64_t id = finest->ids[row];
    memcpy(kept, values, bytes);
#define CONTAINER(spoil, repair, expected) SPOIL(octa_container_validate, c, spoil, repair, expected)
    CONTAINER(c->rows++, c->rows--, "the number of rows is wrong");
    CONTAINER(c->items[1]->key.stamp_ns = 0, c->items[1]->key.stamp_ns = 101, "the records are not in order");
    CONTAINER(c->options.max_records = 2, c->options.max_records = 100, "more is kept than the caps allow");
    CONTAINER(c->options.max_rows = 2, c->options.max_rows = 100000, "more is kept than the caps allow");
    CONTAINER(values[OCTA_LANE_HITS]++, values[OCTA_LANE_HITS]--, "the total is not that of the records");
    CONTAINER(values[OCTA_LANE_SUMS + OCTA_SUM_INTENSITY]++, values[OCTA_LANE_SUMS + OCTA_SUM_INTENSITY]--,
              "the total is not that of the records");
    CONTAINER(finest->used++, finest->used--, "the number of cells is wrong");
    CONTAINER(finest->ids[row] = id ^ 7ull << 40, finest->ids[row] = id, "a cell is not at its row");
    int64_t *above = c->tables[1].values;
    for (uint32_t up = 0; !c->tables[1].ids[up]; up++)
        above += c->tables[1].lanes;
    CONTAINER(above[OCTA_LANE_HITS]++, above[OCTA_LANE_HITS]--, "a level is not the sum of its children");
    c->options.keep = 0; /* of a sum there is nothing to compare the total with */
    CONTAINER(memcpy(values, c->neutral, bytes), memcpy(values, kept, bytes),
              "a cell has a row that says nothing");
#undef CONTAINER
    c->options.keep = 1;
    octa_container_free(c);
}

void test_invalid(void) {
    check_windows();
    check_containers(0);
    check_containers(1);
}
