/* Forecast casts. Beams carry the share of them that is still under way in fixed point, so that sums within a
 * cell do not depend on the order of additions. */
#include "casts.h"
#include "functions.h"

#include <string.h>

/* Bins of a face: long rows, so that a cell asks for few runs of beams. */
#define ROWS 64
#define COLUMNS 128
#define BINS (OCTA_FACES * ROWS * COLUMNS)
#define SHARE_BITS 15
#define HALF (1 << (SHARE_BITS - 1))
#define WHOLE (1 << SHARE_BITS) /* a beam that nothing has stopped */
#define LANES OCTA_RAY_LANES
#define AHEAD 8 /* cells asked for before they are needed */
#define BLOCK_ALIGNMENT 32

void octa_cast_end(octa_cast *cast) {
    OCTA_FREE(cast->memory);
    OCTA_FREE(cast->left);
    OCTA_FREE(cast->direction);
    OCTA_FREE(cast->bin);
    OCTA_FREE(cast->start);
    OCTA_FREE(cast->order);
    OCTA_FREE(cast->landings);
    memset(cast, 0, sizeof *cast);
}

octa_error octa_cast_begin(octa_cast *cast, size_t n, size_t m) {
    memset(cast, 0, sizeof *cast);
    const size_t blocks = n / LANES + 1;
    cast->memory = OCTA_MALLOC(blocks * sizeof *cast->blocks + BLOCK_ALIGNMENT);
    cast->left = OCTA_MALLOC(blocks * LANES * sizeof *cast->left);
    cast->direction = OCTA_MALLOC((n + 1) * sizeof *cast->direction);
    cast->bin = OCTA_MALLOC((n + 1) * sizeof *cast->bin);
    cast->start = OCTA_MALLOC((BINS + 1) * sizeof *cast->start);
    cast->order = OCTA_MALLOC((2 * m + 1) * sizeof *cast->order);
    cast->landings = OCTA_MALLOC((m + 1) * sizeof *cast->landings);
    if (!cast->memory || !cast->left || !cast->direction || !cast->bin || !cast->start || !cast->order ||
        !cast->landings) {
        octa_cast_end(cast);
        return OCTA_E_MEMORY;
    }
    const uintptr_t begin = (uintptr_t)cast->memory + BLOCK_ALIGNMENT - 1;
    cast->blocks = (octa_beam_block *)(begin & ~(uintptr_t)(BLOCK_ALIGNMENT - 1));
    return OCTA_OK;
}

static void set_beam(octa_cast *cast, size_t slot, const float *direction, int32_t left) {
    octa_beam_block *block = &cast->blocks[slot / LANES];
    float along[OCTA_SLABS];
    octa_along_slabs(direction, along);
    for (size_t slab = 0; slab < OCTA_SLABS; slab++)
        block->ray.inverse[slab][slot % LANES] = octa_inverse(along[slab]);
    for (size_t axis = 0; axis < 3; axis++)
        block->direction[axis][slot % LANES] = direction[axis];
    cast->left[slot] = left;
}

/* Sort the beams by direction bin, as their inverse slab products. */
static void load_beams(octa_cast *cast, const int16_t *beams, size_t n) {
    cast->n = 0;
    memset(cast->start, 0, (BINS + 1) * sizeof *cast->start);
    for (size_t i = 0; i < n; i++) {
        const int16_t *b = beams + 3 * i;
        float *d = cast->direction[cast->n];
        for (int axis = 0; axis < 3; axis++) {
            const float *m = cast->sensor.rotation[axis];
            d[axis] = m[0] * (float)b[0] + m[1] * (float)b[1] + m[2] * (float)b[2];
        }
        if (d[0] == 0.0f && d[1] == 0.0f && d[2] == 0.0f)
            continue;
        cast->bin[cast->n] = octa_direction_bin(d, ROWS, COLUMNS);
        cast->start[cast->bin[cast->n++]]++;
    }
    uint32_t sum = 0;
    for (size_t bin = 0; bin <= BINS; bin++) {
        uint32_t count = cast->start[bin];
        cast->start[bin] = sum;
        sum += count;
    }
    for (size_t i = 0; i < cast->n; i++) {
        const size_t slot = cast->start[cast->bin[i]]++;
        set_beam(cast, slot, cast->direction[i], WHOLE);
    }
    /* Lanes behind the last beam are tested too, and nothing is left of them. */
    for (size_t slot = cast->n; slot % LANES; slot++)
        set_beam(cast, slot, (const float[3]){1.0f, 0.0f, 0.0f}, 0);
    /* Filling moved every start to its end, which is the next bin's start: shift back by one. */
    memmove(cast->start + 1, cast->start, BINS * sizeof *cast->start);
    cast->start[0] = 0;
}

static void order_by_range(octa_cast *cast, const int32_t (*sites)[3], size_t m) {
    for (size_t i = 0; i < m; i++) {
        double range2 = 0;
        for (int axis = 0; axis < 3; axis++) {
            double d = (double)(sites[i][axis] - cast->sensor.site[axis]) - (double)cast->sensor.origin[axis];
            range2 += d * d;
        }
        /* At most 3 * 2^34 square half edges: 10 bits of fraction fit the sort's 48 bits. */
        cast->order[i] = (octa_id_row){(uint64_t)(range2 * 1024.0), (uint32_t)i};
    }
    octa_sort_id_rows(cast->order, cast->order + m, m);
}

/* A cell on the way of the beams: its target about the sensor. */
typedef struct {
    octa_cell_view view;
    float whitens[6];
    float mean[3]; /* whitened */
    int32_t stop;
} query;

/* Sums over beams, in units of 1 / WHOLE, by lane: all the beams there may be fit 32 bits. */
enum { REACH, HITS, SURFACE, OVERLAP, SUMS };
typedef struct {
    uint32_t sums[SUMS][LANES];
    int32_t best[LANES];
} tally;

/* One cell under way. */
typedef struct {
    octa_cast *cast;
    query cell;
    tally sum;
} visit;

static OCTA_ALWAYS_INLINE void query_cell(const octa_cast *cast, const int32_t *site,
                                          const octa_target *target, query *cell) {
    const float *w = target->whitens;
    float r[3];
    for (int axis = 0; axis < 3; axis++) {
        cell->view.center[axis] = (float)(site[axis] - cast->sensor.site[axis]) - cast->sensor.origin[axis];
        r[axis] = cell->view.center[axis] + target->mean[axis];
    }
    octa_view_cell(&cell->view);
    memcpy(cell->whitens, w, sizeof cell->whitens);
    cell->mean[0] = w[0] * r[0];
    cell->mean[1] = w[1] * r[0] + w[2] * r[1];
    cell->mean[2] = w[3] * r[0] + w[4] * r[1] + w[5] * r[2];
    cell->stop = (int32_t)(target->stop * (WHOLE - 1));
}

/* Overlap of a beam with the cell's returns: where these are whitened, their density falls with the distance
 * from the mean alike in all directions. */
static inline int32_t overlap_of(const octa_beam_block *block, size_t lane, const query *cell) {
    const float *w = cell->whitens, *r = cell->mean;
    const float x = block->direction[0][lane], y = block->direction[1][lane], z = block->direction[2][lane];
    const float a = w[0] * x, b = w[1] * x + w[2] * y, c = w[3] * x + w[4] * y + w[5] * z;
    const float nearest = (r[0] * a + r[1] * b + r[2] * c) / (a * a + b * b + c * c);
    const float u = r[0] - nearest * a, v = r[1] - nearest * b, t = r[2] - nearest * c;
    return (int32_t)(octa_exp_minus(0.5f * (u * u + v * v + t * t)) * WHOLE + 0.5f);
}

/* One run of beams against one cell: those that cross it ahead of the sensor reach it, and a share ends
 * there. */
static void cast_run(void *context, size_t begin, size_t end) {
    visit *v = context;
    octa_cast *cast = v->cast;
    const query *cell = &v->cell;
    tally *sum = &v->sum;
    for (size_t i = begin; i < end; i++) {
        const octa_beam_block *block = cast->blocks + i / LANES;
        const size_t lane = i % LANES;
        float enter, leave;
        octa_crossing(&block->ray, lane, &cell->view, &enter, &leave);
        if (!(enter < leave))
            continue;
        const int32_t overlap = overlap_of(block, lane, cell), left = cast->left[i];
        const int32_t ends = left * cell->stop >> SHARE_BITS;
        sum->sums[REACH][lane] += (uint32_t)left;
        sum->sums[HITS][lane] += (uint32_t)ends;
        sum->sums[SURFACE][lane] += (uint32_t)((left * overlap + HALF) >> SHARE_BITS);
        sum->sums[OVERLAP][lane] += (uint32_t)overlap;
        sum->best[lane] = overlap > sum->best[lane] ? overlap : sum->best[lane];
        cast->left[i] = left - ends;
    }
}

#ifdef OCTA_HAVE_AVX2
#define MUL(a, b) _mm256_mul_ps(a, b)
#define ALL(a) _mm256_set1_ps(a)
#define ADD(a, b) _mm256_add_ps(a, b)

/* octa_exp_minus, lane by lane the same operations. */
OCTA_AVX2 static OCTA_ALWAYS_INLINE __m256 exp_minus_avx2(__m256 x) {
    __m256 capped = _mm256_min_ps(x, ALL(80.0f));
    __m256i n = _mm256_cvttps_epi32(ADD(MUL(capped, ALL(1.0f / OCTA_LN2)), ALL(0.5f)));
    __m256 r = _mm256_sub_ps(MUL(_mm256_cvtepi32_ps(n), ALL(OCTA_LN2)), capped), r2 = MUL(r, r);
    __m256 low = ADD(ALL(1.0f), r);
    __m256 middle = ADD(ALL(1.0f / 2), MUL(r, ALL(1.0f / 6)));
    __m256 high = ADD(ALL(1.0f / 24), ADD(MUL(r, ALL(1.0f / 120)), MUL(r2, ALL(1.0f / 720))));
    __m256 series = ADD(low, MUL(r2, ADD(middle, MUL(r2, high))));
    __m256i bits = _mm256_slli_epi32(_mm256_sub_epi32(_mm256_set1_epi32(127), n), 23);
    return MUL(_mm256_castsi256_ps(bits), series);
}

OCTA_AVX2 static OCTA_ALWAYS_INLINE __m256i overlaps_avx2(const octa_beam_block *block, const query *cell) {
    const float *w = cell->whitens;
    __m256 x = _mm256_loadu_ps(block->direction[0]), y = _mm256_loadu_ps(block->direction[1]),
           z = _mm256_loadu_ps(block->direction[2]);
    __m256 r = ALL(cell->mean[0]), s = ALL(cell->mean[1]), t = ALL(cell->mean[2]);
    __m256 a = MUL(ALL(w[0]), x), b = ADD(MUL(ALL(w[1]), x), MUL(ALL(w[2]), y)),
           c = ADD(ADD(MUL(ALL(w[3]), x), MUL(ALL(w[4]), y)), MUL(ALL(w[5]), z));
    __m256 nearest =
        _mm256_div_ps(ADD(ADD(MUL(r, a), MUL(s, b)), MUL(t, c)), ADD(ADD(MUL(a, a), MUL(b, b)), MUL(c, c)));
    r = _mm256_sub_ps(r, MUL(nearest, a));
    s = _mm256_sub_ps(s, MUL(nearest, b));
    t = _mm256_sub_ps(t, MUL(nearest, c));
    __m256 away = MUL(ALL(0.5f), ADD(ADD(MUL(r, r), MUL(s, s)), MUL(t, t)));
    return _mm256_cvttps_epi32(ADD(MUL(exp_minus_avx2(away), ALL(WHOLE)), ALL(0.5f)));
}

OCTA_AVX2 static OCTA_ALWAYS_INLINE void add_lanes(uint32_t *sum, __m256i v) {
    _mm256_storeu_si256((__m256i *)sum, _mm256_add_epi32(_mm256_loadu_si256((__m256i *)sum), v));
}

/* The same for whole blocks; beams of the first and the last one that are not of the run are left alone. */
OCTA_AVX2 static void cast_run_avx2(void *context, size_t begin, size_t end) {
    visit *v = context;
    octa_cast *cast = v->cast;
    const query *cell = &v->cell;
    tally *sum = &v->sum;
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i first = _mm256_set1_epi32((int32_t)begin), last = _mm256_set1_epi32((int32_t)end);
    for (size_t at = begin & ~(size_t)(LANES - 1); at < end; at += LANES) {
        const octa_beam_block *block = cast->blocks + at / LANES;
        __m256i *left = (__m256i *)(cast->left + at);
        __m256 enter, leave;
        octa_crossings_avx2(&block->ray, &cell->view, cell->view.outside, &enter, &leave);
        __m256i place = _mm256_add_epi32(lane, _mm256_set1_epi32((int32_t)at));
        __m256i listed =
            _mm256_andnot_si256(_mm256_cmpgt_epi32(first, place), _mm256_cmpgt_epi32(last, place));
        __m256i crosses = _mm256_castps_si256(_mm256_cmp_ps(enter, leave, _CMP_LT_OQ));
        crosses = _mm256_and_si256(crosses, listed);
        if (_mm256_testz_si256(crosses, crosses))
            continue;
        __m256i held = _mm256_loadu_si256(left), share = _mm256_and_si256(crosses, held);
        __m256i overlap = _mm256_and_si256(crosses, overlaps_avx2(block, cell));
        __m256i ends =
            _mm256_srai_epi32(_mm256_mullo_epi32(share, _mm256_set1_epi32(cell->stop)), SHARE_BITS);
        __m256i surface = _mm256_add_epi32(_mm256_mullo_epi32(share, overlap), _mm256_set1_epi32(HALF));
        surface = _mm256_srai_epi32(surface, SHARE_BITS);
        _mm256_storeu_si256(left, _mm256_sub_epi32(held, ends));
        add_lanes(sum->sums[REACH], share);
        add_lanes(sum->sums[HITS], ends);
        add_lanes(sum->sums[SURFACE], surface);
        add_lanes(sum->sums[OVERLAP], overlap);
        __m256i *best = (__m256i *)sum->best;
        _mm256_storeu_si256(best, _mm256_max_epi32(_mm256_loadu_si256(best), overlap));
    }
}
#endif

static OCTA_ALWAYS_INLINE octa_landing landing_of(const tally *sum) {
    uint64_t sums[SUMS] = {0};
    int32_t best = 0;
    for (int i = 0; i < SUMS; i++)
        for (int lane = 0; lane < LANES; lane++)
            sums[i] += sum->sums[i][lane];
    for (int lane = 0; lane < LANES; lane++)
        best = sum->best[lane] > best ? sum->best[lane] : best;
    const float unit = 1.0f / WHOLE;
    return (octa_landing){.reach = unit * (float)sums[REACH],
                          .hits = unit * (float)sums[HITS],
                          .surface = unit * (float)sums[SURFACE],
                          .overlap = unit * (float)sums[OVERLAP],
                          .best = unit * (float)best};
}

/* Compiled once for each way of casting a run. */
static OCTA_ALWAYS_INLINE void cast_at_cells(octa_cast *cast, const int32_t (*sites)[3],
                                             const octa_target *targets, size_t m, octa_run *run) {
    const octa_direction_index index = {cast->start, ROWS, COLUMNS, COLUMNS};
    for (size_t k = 0; k < m; k++) {
        const uint32_t row = cast->order[k].row;
        if (k + AHEAD < m) { /* cells come by range, from anywhere */
            __builtin_prefetch(&targets[cast->order[k + AHEAD].row]);
            __builtin_prefetch(sites[cast->order[k + AHEAD].row]);
        }
        visit v = {.cast = cast};
        query_cell(cast, sites[row], &targets[row], &v.cell);
        octa_each_run(&index, v.cell.view.center, run, &v);
        cast->landings[row] = landing_of(&v.sum);
    }
}

static void cast_portable(octa_cast *cast, const int32_t (*sites)[3], const octa_target *targets, size_t m) {
    cast_at_cells(cast, sites, targets, m, cast_run);
}

#ifdef OCTA_HAVE_AVX2
OCTA_AVX2 static void cast_avx2(octa_cast *cast, const int32_t (*sites)[3], const octa_target *targets,
                                size_t m) {
    cast_at_cells(cast, sites, targets, m, cast_run_avx2);
}
#endif

void octa_cast_run(octa_cast *cast, const int16_t *beams, size_t n, const int32_t (*sites)[3],
                   const octa_target *targets, size_t m) {
    load_beams(cast, beams, n);
    order_by_range(cast, sites, m);
#ifdef OCTA_HAVE_AVX2
    if (octa_has_avx2()) {
        cast_avx2(cast, sites, targets, m);
        return;
    }
#endif
    cast_portable(cast, sites, targets, m);
}
