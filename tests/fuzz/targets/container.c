/* Records from anywhere into containers of every kind, in any order: they always hold together, a refusal
 * changes nothing, and what was done can be undone. */
#include "../bytes.h"

enum { MOST = 8, STEPS = 12, WIDTH = 12, HELD = 4096 };

typedef struct {
    octa_record_key key;
    octa_rows rows;
    uint64_t ids[MOST], hits[MOST], passes[MOST], free_ids[MOST], free_passes[MOST], free_misses[MOST];
    int64_t sums[MOST * OCTA_SUMS], values[MOST * WIDTH];
} record;

static octa_container_options take_options(fuzz_bytes *bytes) {
    octa_container_options o = {.grid = {0.4, 3, 1, 7, 0.0, 60.0, 1.0}, .max_records = 1, .max_rows = 1};
    const uint8_t kind = fuzz_u8(bytes);
    o.keep = kind & 1;
    o.dense = kind >> 1 & 1;
    o.levels = (uint8_t)(1 + fuzz_up_to(bytes, 3));
    o.free_level = (uint8_t)fuzz_up_to(bytes, o.levels - 1u + (kind >= 250));
    if (kind & 4 || o.dense)
        for (int axis = 0; axis < 3; axis++) {
            o.origin[axis] = 2 * (fuzz_i8(bytes) / 16) + (kind >= 252);
            o.shape[axis] = (uint32_t)(1 + fuzz_up_to(bytes, 7));
        }
    o.span_ns = o.keep ? fuzz_u8(bytes) / 4 : 0;
    o.max_records += (uint32_t)fuzz_up_to(bytes, 5);
    o.max_rows += (uint32_t)fuzz_up_to(bytes, 40);
    o.columns = (uint32_t)fuzz_up_to(bytes, 3);
    for (uint32_t c = 0; c < o.columns; c++) {
        o.widths[c] = (uint16_t)(1 + fuzz_up_to(bytes, 2));
        o.rules[c] = (uint8_t)fuzz_up_to(bytes, OCTA_RULE_END - (kind < 250));
    }
    return o;
}

static size_t take_free(fuzz_bytes *bytes, const octa_container_options *o, record *r) {
    octa_grid coarse = o->grid;
    coarse.lod = (uint8_t)(coarse.lod - o->free_level);
    const size_t n = fuzz_ids(bytes, &coarse, r->free_ids, MOST);
    for (size_t i = 0; i < n; i++) {
        r->free_passes[i] = fuzz_up_to(bytes, 2);
        r->free_misses[i] = fuzz_up_to(bytes, 2);
    }
    return n;
}

static void take_record(fuzz_bytes *bytes, const octa_container_options *o, record *r) {
    static const int64_t neutral[] = {0, INT64_MAX, INT64_MIN, INT64_MIN};
    const uint8_t wild = fuzz_u8(bytes);
    memset(r, 0, sizeof *r);
    r->key = (octa_record_key){wild >= 252 ? (int64_t)fuzz_u64(bytes) : 100 + fuzz_u8(bytes) % 64,
                               fuzz_u8(bytes) & 1, fuzz_u8(bytes) & 1};
    const size_t n = fuzz_ids(bytes, &o->grid, r->ids, MOST);
    for (size_t i = 0; i < n; i++) {
        r->hits[i] = wild >= 240 ? fuzz_u64(bytes) >> wild % 32 : fuzz_up_to(bytes, 3);
        r->passes[i] = fuzz_up_to(bytes, 3);
        for (int k = 0; k < OCTA_SUMS; k++)
            r->sums[i * OCTA_SUMS + (size_t)k] =
                wild >= 248 ? (int64_t)fuzz_u64(bytes)
                            : fuzz_i8(bytes) * 32 * (int64_t)(r->hits[i] < 1u << 30 ? r->hits[i] : 0);
    }
    int64_t *value = r->values;
    for (uint32_t c = 0; c < o->columns; c++)
        for (size_t i = 0; i < n * o->widths[c]; i++) {
            const uint8_t kind = fuzz_u8(bytes);
            const int64_t none = o->rules[c] < OCTA_RULE_END ? neutral[o->rules[c]] : 0;
            *value++ = kind < 64 ? none : kind < 240 ? fuzz_i8(bytes) : (int64_t)fuzz_u64(bytes);
        }
    r->rows = (octa_rows){n,         r->ids, r->hits,     r->passes,      r->sums,
                          r->values, 0,      r->free_ids, r->free_passes, r->free_misses};
    r->rows.free_cells = take_free(bytes, o, r);
}

/* All that a level shows, as numbers. */
static size_t show(const octa_container *container, uint8_t level, int64_t *out) {
    const size_t n = octa_container_cells(container, level);
    static uint64_t plain[5][HELD];
    static int64_t sums[HELD * OCTA_SUMS], values[HELD * WIDTH];
    REQUIRE(n <= HELD);
    memset(values, 0, n * WIDTH * sizeof *values);
    REQUIRE(octa_container_copy(container, level, n, plain[0], plain[1], plain[2], plain[3], plain[4], sums,
                                values) == OCTA_OK);
    int64_t *at = out;
    for (int k = 0; k < 5; k++, at += n)
        memcpy(at, plain[k], n * sizeof *at);
    memcpy(at, sums, n * OCTA_SUMS * sizeof *at);
    at += n * OCTA_SUMS;
    memcpy(at, values, n * WIDTH * sizeof *at);
    at += n * WIDTH;
    for (size_t i = 1; i < n; i++)
        REQUIRE(plain[0][i] > plain[0][i - 1]);
    return (size_t)(at - out);
}

static uint64_t digest(const octa_container *container) {
    static int64_t shown[HELD * (5 + OCTA_SUMS + WIDTH)];
    uint64_t hash = octa_container_records(container);
    for (uint8_t level = 0; level < OCTA_LEVELS; level++) {
        if (octa_container_cells(container, level) == 0)
            continue;
        const size_t n = show(container, level, shown);
        for (size_t i = 0; i < n; i++)
            hash = (hash ^ (uint64_t)shown[i]) * 0x9e3779b97f4a7c15ull + level;
    }
    return hash;
}

static void check_valid(const octa_container *container) {
    const char *reason = "none given";
    const int valid = octa_container_validate(container, &reason);
    if (!valid)
        fprintf(stderr, "invalid container: %s\n", reason);
    REQUIRE(valid && !reason);
}

/* One change, chosen by the bytes. */
static octa_error change(fuzz_bytes *bytes, octa_container *container, const octa_container *other,
                         const octa_container_options *options, octa_container_counts *counts) {
    record r;
    int32_t origin[3];
    switch (fuzz_u8(bytes) % 8) {
    case 0:
        take_record(bytes, options, &r);
        return octa_container_remove(container, &r.key, &r.rows, counts);
    case 1:
        return octa_container_merge(container, other, counts);
    case 2:
        return octa_container_unmerge(container, other, counts);
    case 3:
        return octa_container_advance(container, 100 + fuzz_i8(bytes), counts);
    case 4:
        for (int axis = 0; axis < 3; axis++)
            origin[axis] = fuzz_u8(bytes) < 8 ? (int32_t)fuzz_u32(bytes) : fuzz_i8(bytes) / 8 * 2;
        return octa_container_move(container, origin);
    default:
        take_record(bytes, options, &r);
        return octa_container_add(container, &r.key, &r.rows, counts);
    }
}

/* A sum forgets what is added and taken away again. */
static void check_undo(octa_container *container, const octa_container_options *options, fuzz_bytes *bytes) {
    record r;
    octa_container_counts counts;
    take_record(bytes, options, &r);
    const uint64_t before = digest(container);
    if (options->keep || octa_container_add(container, &r.key, &r.rows, &counts) != OCTA_OK)
        return;
    if (octa_container_remove(container, &r.key, &r.rows, &counts) == OCTA_OK)
        REQUIRE(digest(container) == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    const octa_container_options options = take_options(&bytes);
    octa_container *pair[2];
    octa_record_key keys[8];
    const int64_t *array;
    size_t rows, lanes;
    if (octa_container_new(&options, &pair[0]) != OCTA_OK)
        return 0;
    REQUIRE(octa_container_new(&options, &pair[1]) == OCTA_OK);
    for (int step = 0; step < STEPS && bytes.left; step++) {
        octa_container *container = pair[step % 3 == 2];
        octa_container_counts counts = {.added = 77};
        const uint64_t before = digest(container);
        if (change(&bytes, container, pair[step % 3 != 2], &options, &counts) != OCTA_OK)
            REQUIRE(counts.added == 77 && digest(container) == before);
        check_valid(container);
    }
    check_undo(pair[0], &options, &bytes);
    check_valid(pair[0]);
    REQUIRE(octa_container_keys(pair[0], 8, keys) == OCTA_OK);
    REQUIRE((octa_container_array(pair[0], &array, &rows, &lanes) == OCTA_OK) == options.dense);
    octa_container_free(pair[0]);
    octa_container_free(pair[1]);
    return 0;
}
