/* Points to cells: transform, snap, aggregate. */
#include "pointblock.h"
#include "sort.h"

#include <string.h>

#define MIN_SLOTS 1024
#define EPOCH_MASK 0xffffu

/* A slot is empty unless it carries the epoch of the run; the tag spares most looks at another cell's key. */
typedef struct {
    uint32_t mark; /* tag << 16 | epoch */
    uint32_t line;
} slot;

/* Cell i of the last run has line i + 1; line 0 takes what points in no cell add. */
struct octa_binner {
    octa_grid grid;
    const octa_block_kernel *kernel;
    size_t points;
    size_t cells;
    size_t runs;
    size_t capacity;  /* points that the buffers below have room for */
    size_t max_slots; /* room in slots */
    size_t mask;      /* slots in use, less 1 */
    uint32_t epoch;
    slot *slots;
    int32_t *lines_block; /* as allocated */
    int32_t *lines;       /* capacity + 1 times OCTA_LANES, aligned to a cache line */
    uint64_t *keys;       /* of each line */
    uint32_t *run_begins; /* first point of each run */
    uint32_t *run_lines;
    uint64_t *order; /* twice the capacity: codes of cells and scratch */
    const uint64_t
        *sorted; /* words with the cells in their low bits, ascending by id; NULL until asked for */
};

octa_error octa_binner_new(const octa_grid *grid, octa_binner **out) {
    OCTA_TRY(octa_grid_check(grid));
    octa_binner *binner = OCTA_MALLOC(sizeof *binner);
    if (!binner)
        return OCTA_E_MEMORY;
    memset(binner, 0, sizeof *binner);
    binner->grid = *grid;
    binner->kernel = octa_block_kernel_here();
    *out = binner;
    return OCTA_OK;
}

static void free_buffers(octa_binner *binner) {
    OCTA_FREE(binner->slots);
    OCTA_FREE(binner->lines_block);
    OCTA_FREE(binner->keys);
    OCTA_FREE(binner->run_begins);
    OCTA_FREE(binner->run_lines);
    OCTA_FREE(binner->order);
}

void octa_binner_free(octa_binner *binner) {
    if (!binner)
        return;
    free_buffers(binner);
    OCTA_FREE(binner);
}

/* Buffers for the worst case, a cell a point: then nothing can fail half-way. Pages that no run reaches are
 * never touched but for the slots, which start out empty. */
static octa_error reserve(octa_binner *binner, size_t points) {
    if (points <= binner->capacity && binner->order)
        return OCTA_OK;
    octa_binner bigger = *binner;
    const size_t line = OCTA_LANES * sizeof(int32_t), room = points + 1;
    for (bigger.max_slots = MIN_SLOTS; bigger.max_slots < 4 * (points + 1); bigger.max_slots *= 2)
        ;
    bigger.slots = OCTA_MALLOC(bigger.max_slots * sizeof *bigger.slots);
    bigger.lines_block = OCTA_MALLOC((points + 2) * line);
    bigger.keys = OCTA_MALLOC((points + 1) * sizeof *bigger.keys);
    bigger.run_begins = OCTA_MALLOC(room * sizeof *bigger.run_begins);
    bigger.run_lines = OCTA_MALLOC(room * sizeof *bigger.run_lines);
    bigger.order = OCTA_MALLOC(2 * (points + 1) * sizeof *bigger.order);
    if (!bigger.slots || !bigger.lines_block || !bigger.keys || !bigger.run_begins || !bigger.run_lines ||
        !bigger.order) {
        free_buffers(&bigger);
        return OCTA_E_MEMORY;
    }
    free_buffers(binner);
    bigger.lines = (int32_t *)(void *)(((uintptr_t)bigger.lines_block + line - 1) & ~(uintptr_t)(line - 1));
    memset(bigger.slots, 0, bigger.max_slots * sizeof *bigger.slots);
    bigger.epoch = 0;
    bigger.sorted = NULL;
    bigger.capacity = points;
    bigger.cells = bigger.points = bigger.runs = 0;
    *binner = bigger;
    return OCTA_OK;
}

/* Empty all slots. */
static void next_epoch(octa_binner *binner) {
    binner->epoch = (binner->epoch + 1) & EPOCH_MASK;
    if (binner->epoch == 0) {
        memset(binner->slots, 0, binner->max_slots * sizeof *binner->slots);
        binner->epoch = 1;
    }
}

static inline uint64_t hash_of(uint64_t key) { return key * 0x9e3779b97f4a7c15ull; }

static inline uint32_t mark_of(const octa_binner *binner, uint64_t hash) {
    return (uint32_t)(hash >> 48) << 16 | binner->epoch;
}

static inline size_t slot_of(const octa_binner *binner, uint64_t hash) { return hash >> 28 & binner->mask; }

static void place(octa_binner *binner, uint32_t line) {
    uint64_t hash = hash_of(binner->keys[line]);
    size_t at = slot_of(binner, hash);
    while ((binner->slots[at].mark & EPOCH_MASK) == binner->epoch)
        at = (at + 1) & binner->mask;
    binner->slots[at] = (slot){mark_of(binner, hash), line};
}

static void resize(octa_binner *binner, size_t slots) {
    next_epoch(binner);
    binner->mask = slots - 1;
    for (uint32_t line = 0; line <= binner->cells; line++)
        place(binner, line);
}

/* Start a run over with only line 0 in the table, which fits the cells of the run before. */
static void start(octa_binner *binner) {
    size_t slots = MIN_SLOTS;
    while (slots < binner->max_slots && slots < 4 * (binner->cells + 1))
        slots *= 2;
    binner->cells = binner->runs = 0;
    binner->sorted = NULL;
    binner->keys[0] = (uint64_t)OCTA_NO_CELL_HIGH << 32 | OCTA_NO_CELL_LOW;
    memset(binner->lines, 0, OCTA_LANES * sizeof *binner->lines);
    resize(binner, slots);
}

static uint32_t new_line(octa_binner *binner, uint64_t key, size_t at, uint32_t mark) {
    uint32_t line = (uint32_t)++binner->cells;
    binner->keys[line] = key;
    memset(binner->lines + (size_t)line * OCTA_LANES, 0, OCTA_LANES * sizeof *binner->lines);
    binner->slots[at] = (slot){mark, line};
    if (4 * (binner->cells + 1) > binner->mask + 1)
        resize(binner, 2 * (binner->mask + 1));
    return line;
}

/* Line of a key, a new one if it was not seen yet. */
static inline uint32_t line_of(octa_binner *binner, uint64_t key) {
    uint64_t hash = hash_of(key);
    uint32_t mark = mark_of(binner, hash);
    for (size_t at = slot_of(binner, hash);; at = (at + 1) & binner->mask) {
        slot s = binner->slots[at];
        if (s.mark == mark && binner->keys[s.line] == key)
            return s.line;
        if ((s.mark & EPOCH_MASK) != binner->epoch)
            return new_line(binner, key, at, mark);
    }
}

/* Find the cells of the runs that begin in a block; returns their number. */
static size_t place_runs(octa_binner *binner, const octa_block *block, size_t begin) {
    uint64_t keys[OCTA_BLOCK];
    uint32_t *begins_out = binner->run_begins + binner->runs, *lines = binner->run_lines + binner->runs;
    size_t runs = 0;
    for (size_t word = 0; word < OCTA_BLOCK / 64; word++)
        for (uint64_t begins = block->begins[word]; begins; begins &= begins - 1) {
            size_t point = 64 * word + (size_t)__builtin_ctzll(begins);
            keys[runs] = (uint64_t)block->high[OCTA_BEFORE + point] << 32 | block->low[OCTA_BEFORE + point];
            __builtin_prefetch(&binner->slots[slot_of(binner, hash_of(keys[runs]))], 1);
            begins_out[runs++] = (uint32_t)(begin + point);
        }
    for (size_t run = 0; run < runs; run++)
        lines[run] = line_of(binner, keys[run]);
    return runs;
}

static void bin_points(octa_binner *binner, const octa_snap *snap, const float *points,
                       const float *intensity, size_t n, octa_fates *fates) {
    const size_t last = OCTA_BEFORE + OCTA_BLOCK - 1;
    octa_block block;
    /* Unlike any key, so that the first point begins a run. */
    block.low[last] = 1;
    block.high[last] = OCTA_NO_CELL_HIGH;
    for (size_t begin = 0; begin < n; begin += OCTA_BLOCK) {
        size_t size = n - begin < OCTA_BLOCK ? n - begin : OCTA_BLOCK;
        block.low[OCTA_BEFORE - 1] = block.low[last];
        block.high[OCTA_BEFORE - 1] = block.high[last];
        binner->kernel->fill(snap, points + 3 * begin, intensity + begin, size, &block, fates);
        size_t runs = place_runs(binner, &block, begin);
        binner->kernel->add(&block, binner->run_lines + binner->runs, binner->lines);
        binner->runs += runs;
    }
}

/* Which bits of a coordinate decide the order of a set of cells. */
typedef struct {
    int top;      /* highest bit in which two of them differ, -1 if none does */
    int low_bits; /* bits below this one do; those from here to the top all follow from the top bit */
} axis_bits;

static int bit_length(uint32_t v) { return v ? 32 - __builtin_clz(v) : 0; }

/* Coordinates next to a power of two: above it bits are 0 from some bit on, below it 1. */
static axis_bits bits_between(uint32_t low, uint32_t high) {
    if (low == high)
        return (axis_bits){-1, 0};
    int top = bit_length(low ^ high) - 1;
    uint32_t middle = high >> top << top, above = high - middle, below = middle - 1 - low;
    return (axis_bits){top, bit_length(above > below ? above : below)};
}

/* How to make codes that sort like ids but are shorter: the low bits of all axes interleaved, and above them
 * the top bits of axes that have them beyond. */
typedef struct {
    int low_bits;
    int bits;
    uint64_t top_mask[3]; /* 0 or 1 */
    int top_from[3], top_to[3];
} coding;

OCTA_HOT static void bound_keys(const uint64_t *keys, size_t n, uint32_t low[3], uint32_t high[3]) {
    for (int axis = 0; axis < 3; axis++) {
        uint32_t least = UINT32_MAX, most = 0;
        for (size_t i = 0; i < n; i++) {
            uint32_t v = (uint32_t)(keys[i] >> 16 * axis) & 0xffffu;
            least = v < least ? v : least;
            most = v > most ? v : most;
        }
        low[axis] = least, high[axis] = most;
    }
}

static coding coding_of(const uint64_t *keys, size_t n) {
    uint32_t low[3], high[3];
    axis_bits axes[3];
    coding c = {0};
    bound_keys(keys, n, low, high);
    for (int axis = 0; axis < 3; axis++) {
        axes[axis] = bits_between(low[axis], high[axis]);
        c.low_bits = axes[axis].low_bits > c.low_bits ? axes[axis].low_bits : c.low_bits;
    }
    c.bits = 3 * c.low_bits;
    for (int bit = c.low_bits; bit < 16; bit++)
        for (int axis = 0; axis < 3; axis++)
            if (axes[axis].top == bit) {
                c.top_mask[axis] = 1;
                c.top_from[axis] = bit;
                c.top_to[axis] = c.bits++;
            }
    return c;
}

static inline uint64_t morton(uint64_t x, uint64_t y, uint64_t z) {
    return octa_spread16((uint32_t)x) | octa_spread16((uint32_t)y) << 1 | octa_spread16((uint32_t)z) << 2;
}

OCTA_HOT static void make_codes(const coding *c, const uint64_t *keys, size_t n, uint64_t *codes) {
    const uint64_t low = (1ull << c->low_bits) - 1;
    for (size_t i = 0; i < n; i++) {
        uint64_t x = keys[i] & 0xffffu, y = keys[i] >> 16 & 0xffffu, z = keys[i] >> 32 & 0xffffu;
        codes[i] = morton(x & low, y & low, z & low) |
                   (x >> c->top_from[0] & c->top_mask[0]) << c->top_to[0] |
                   (y >> c->top_from[1] & c->top_mask[1]) << c->top_to[1] |
                   (z >> c->top_from[2] & c->top_mask[2]) << c->top_to[2];
    }
}

/* Give the cells their canonical order: ascending by id, whatever order the points came in. */
static void sort_cells(octa_binner *binner) {
    const uint64_t *keys = binner->keys + 1;
    if (binner->cells == 0 || binner->sorted)
        return;
    const coding c = coding_of(keys, binner->cells);
    make_codes(&c, keys, binner->cells, binner->order);
    binner->sorted = octa_sort_codes(binner->order, binner->order + binner->cells, binner->cells, c.bits);
}

octa_error octa_binner_run(octa_binner *binner, const float *points, const float *intensity, size_t n,
                           const double *pose, octa_bin_counts *counts, size_t *cells) {
    if (n > OCTA_MAX_POINTS)
        return OCTA_E_DOMAIN;
    const octa_grid *grid = &binner->grid;
    const float min = (float)grid->range_min_m, max = (float)grid->range_max_m;
    octa_snap snap = {.range2_min = min * min, .range2_max = max * max, .full = (float)grid->intensity_max};
    octa_fates fates = {0};
    OCTA_TRY(octa_sensor_at(grid, pose, &snap.sensor));
    OCTA_TRY(reserve(binner, n));
    start(binner);
    binner->points = n;
    bin_points(binner, &snap, points, intensity, n, &fates);
    *counts = (octa_bin_counts){.binned = fates.binned,
                                .rays = fates.rays,
                                .not_finite = n - fates.finite,
                                .out_of_range = fates.finite - fates.in_range,
                                .off_map = fates.in_range - fates.binned,
                                .intensity_clamped = fates.clamped};
    *cells = binner->cells;
    return OCTA_OK;
}

/* Line of the cell at a place in the canonical order. */
static inline size_t sorted_line(const octa_binner *binner, size_t at) {
    return (size_t)(binner->sorted[at] & ((1u << OCTA_ROW_BITS) - 1)) + 1;
}

OCTA_HOT static void keys_to_ids(uint64_t prefix, uint64_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++)
        ids[i] = prefix | morton(ids[i], ids[i] >> 16, ids[i] >> 32);
}

octa_error octa_binner_copy(octa_binner *binner, size_t capacity, uint64_t *ids, uint32_t *hits,
                            int32_t *sums) {
    if (capacity < binner->cells)
        return OCTA_E_CAPACITY;
    sort_cells(binner);
    for (size_t i = 0; i < binner->cells; i++) {
        const size_t at = sorted_line(binner, i);
        const int32_t *line = binner->lines + at * OCTA_LANES;
        ids[i] = binner->keys[at];
        hits[i] = (uint32_t)line[OCTA_SUMS];
        memcpy(sums + i * OCTA_SUMS, line, OCTA_SUMS * sizeof *line);
    }
    keys_to_ids(octa_index64_prefix(binner->grid.frame, binner->grid.tier, binner->grid.lod), ids,
                binner->cells);
    return OCTA_OK;
}

octa_error octa_binner_point_rows(octa_binner *binner, size_t capacity, int32_t *rows) {
    if (capacity < binner->points)
        return OCTA_E_CAPACITY;
    int32_t *row_of = OCTA_MALLOC((binner->cells + 1) * sizeof *row_of);
    if (!row_of)
        return OCTA_E_MEMORY;
    sort_cells(binner);
    row_of[0] = -1;
    for (size_t i = 0; i < binner->cells; i++)
        row_of[sorted_line(binner, i)] = (int32_t)i;
    for (size_t run = 0; run < binner->runs; run++) {
        size_t end = run + 1 < binner->runs ? binner->run_begins[run + 1] : binner->points;
        for (size_t i = binner->run_begins[run]; i < end; i++)
            rows[i] = row_of[binner->run_lines[run]];
    }
    OCTA_FREE(row_of);
    return OCTA_OK;
}
