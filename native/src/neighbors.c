/* Neighbours by bricks: the 64 sites of an aligned box of 8 x 8 x 4 half edges are one word of bits, since
 * their ids are consecutive in the order of ids. A cell's row is its brick's first row plus the bits below
 * its own, so only the bricks around a brick are looked up, and they serve all of its cells. */
#include "neighbors.h"

#include <string.h>

#define BRICK_BITS 8 /* of an id that tell the sites of a brick apart; flat, as most surfaces are */
#define BRICK_SITES 64
#define AROUND 27 /* a brick and those that touch it, x fastest */
#define CENTER 13
#define NO_BRICK UINT64_MAX

typedef struct {
    uint64_t code;   /* its ids with the low bits zero */
    uint64_t bits;   /* sites that are cells */
    uint64_t before; /* rows before its first */
} brick;

typedef struct {
    brick *bricks;
    size_t count;
    uint32_t *slots; /* 1 + brick, 0 where empty; linear probing */
    int shift;       /* of a hash to a slot */
    size_t mask;
} brick_map;

static inline unsigned site_of(uint64_t id) { return (unsigned)(id >> 2 & 62) | (unsigned)(id & 1); }

static inline size_t slot_of(const brick_map *map, uint64_t code) {
    return (size_t)(code * 0x9e3779b97f4a7c15ull >> map->shift);
}

static void collect_bricks(brick_map *map, const uint64_t *ids, size_t n) {
    const uint64_t low = (1ull << BRICK_BITS) - 1;
    size_t count = 0;
    for (size_t i = 0; i < n; count++) {
        brick b = {ids[i] & ~low, 0, i};
        for (; i < n && (ids[i] & ~low) == b.code; i++)
            b.bits |= 1ull << site_of(ids[i]);
        map->bricks[count] = b;
    }
    map->count = count;
}

/* At most a quarter of the slots are taken, so that a brick that is not there is seldom searched for long. */
static void index_bricks(brick_map *map) {
    int log2 = 2;
    while ((size_t)1 << log2 < 4 * map->count)
        log2++;
    map->shift = 64 - log2;
    map->mask = ((size_t)1 << log2) - 1;
    memset(map->slots, 0, sizeof *map->slots << log2);
    for (size_t i = 0; i < map->count; i++) {
        size_t at = slot_of(map, map->bricks[i].code);
        while (map->slots[at])
            at = (at + 1) & map->mask;
        map->slots[at] = (uint32_t)i + 1;
    }
}

static inline const brick *find_brick(const brick_map *map, uint64_t code, const brick *none) {
    for (size_t at = slot_of(map, code);; at = (at + 1) & map->mask) {
        uint32_t slot = map->slots[at];
        if (!slot)
            return none;
        if (map->bricks[slot - 1].code == code)
            return map->bricks + slot - 1;
    }
}

/* The places of one axis in the bricks before, at and after a code; NO_BRICK beyond the ends of the axis. */
static inline void step_axis(uint64_t code, int axis_bit, uint64_t out[3]) {
    const uint64_t axis = 0x249249249249ull << axis_bit & ((1ull << 48) - (1ull << BRICK_BITS));
    const uint64_t at = code & axis, one = axis & -axis;
    out[0] = at == 0 ? NO_BRICK : (at - one) & axis;
    out[1] = at;
    out[2] = at == axis ? NO_BRICK : ((at | ~axis) + one) & axis;
}

/* Bits and rows of a brick and of those around it. */
typedef struct {
    uint64_t bits[AROUND];
    uint64_t before[AROUND]; /* less 1: the count of bits includes the cell's own */
} surroundings;

static inline void look_around(const brick_map *map, const brick *b, surroundings *out) {
    static const brick none = {NO_BRICK, 0, 0};
    uint64_t x[3], y[3], z[3];
    const uint64_t prefix = b->code >> 48 << 48;
    step_axis(b->code, 0, x);
    step_axis(b->code, 1, y);
    step_axis(b->code, 2, z);
    for (int place = 0; place < AROUND; place++) {
        const uint64_t code = prefix | x[place % 3] | y[place / 3 % 3] | z[place / 9];
        const brick *found = place == CENTER ? b : find_brick(map, code, &none);
        out->bits[place] = found->bits;
        out->before[place] = found->before - 1;
    }
}

/* Of each site of a brick, where its neighbours are: place around the brick << 6 | how far to shift the bits
 * there to the left for the neighbour's to be the highest. */
typedef uint16_t way_table[BRICK_SITES][OCTA_NEIGHBORS];

static void fill_ways(way_table ways) {
    for (int site = 0; site < BRICK_SITES; site++) {
        const int odd = site & 1, x = odd | (site & 2) | (site >> 2 & 4),
                  y = odd | (site >> 1 & 2) | (site >> 3 & 4), z = odd | (site >> 2 & 2);
        for (int k = 0; k < OCTA_NEIGHBORS; k++) {
            const int8_t *offset = octa_neighbor_offsets[k];
            const int u = x + offset[0] + 8, v = y + offset[1] + 8, w = z + offset[2] + 4;
            const int place = u / 8 + 3 * (v / 8) + 9 * (w / 4);
            const int at = (u & 1) | (u & 2) | (v & 2) << 1 | (w & 2) << 2 | (u & 4) << 2 | (v & 4) << 3;
            ways[site][k] = (uint16_t)(place << 6 | (BRICK_SITES - 1 - at));
        }
    }
}

OCTA_HOT static void fill_rows(const brick_map *map, const uint64_t *ids, size_t n, int32_t *rows) {
    way_table ways;
    surroundings around;
    size_t i = 0;
    fill_ways(ways);
    for (size_t b = 0; b < map->count; b++) {
        const size_t end = b + 1 < map->count ? (size_t)map->bricks[b + 1].before : n;
        look_around(map, map->bricks + b, &around);
        for (; i < end; i++) {
            const uint16_t *way = ways[site_of(ids[i])];
            for (int k = 0; k < OCTA_NEIGHBORS; k++) {
                const uint64_t bits = around.bits[way[k] >> 6] << (way[k] & 63);
                const int32_t row =
                    (int32_t)(around.before[way[k] >> 6] + (uint64_t)__builtin_popcountll(bits));
                rows[i * OCTA_NEIGHBORS + (size_t)k] = bits >> 63 ? row : (int32_t)n;
            }
        }
    }
}

void octa_neighbor_rows(const uint64_t *ids, size_t n, uint64_t *scratch, int32_t *rows) {
    brick_map map = {.bricks = (brick *)(void *)scratch};
    collect_bricks(&map, ids, n);
    map.slots = (uint32_t *)(void *)(map.bricks + map.count);
    index_bricks(&map);
    fill_rows(&map, ids, n, rows);
}

octa_error octa_cells_check(const uint64_t *ids, size_t n) {
    if (n > INT32_MAX)
        return OCTA_E_DOMAIN;
    for (size_t i = 0; i < n; i++) {
        OCTA_TRY(octa_index64_check(ids[i], ids[0]));
        if (i && ids[i] <= ids[i - 1])
            return OCTA_E_ORDER;
    }
    return OCTA_OK;
}

octa_error octa_neighbor_table(const uint64_t *ids, size_t n, int32_t *rows) {
    OCTA_TRY(octa_cells_check(ids, n));
    uint64_t *scratch = OCTA_MALLOC(octa_neighbor_scratch(n) * sizeof *scratch);
    if (!scratch)
        return OCTA_E_MEMORY;
    octa_neighbor_rows(ids, n, scratch, rows);
    OCTA_FREE(scratch);
    return OCTA_OK;
}
