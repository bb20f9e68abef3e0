/* Kernel of a block of points for AVX2: eight points at a time, one column a register. It rounds as the
 * portable kernel does, by another road: floor(x + 1/2) is (floor(2 x) + 1) >> 1, exact in integers. */
#include "pointblock.h"

#ifdef OCTA_HAVE_AVX2
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define INLINE OCTA_AVX2 static OCTA_ALWAYS_INLINE
#define GROUP 8
#define ALL 0xff

/* A whole float32 below 2^22 plus this has its integer in the low bits; and one more, for the rounding. */
#define SHIFT 12582912.0f
#define SHIFT_BITS 0x4b400000

typedef struct {
    __m256 x, y, z;
} vector3;

typedef struct {
    __m256i x, y, z;
} site3;

/* The constants, spread over registers once a block: then they are operands in memory. */
typedef struct {
    __m256 rotation[3][3], origin[3];
    __m256i bias[3]; /* from SHIFT_BITS to biased map coordinates */
    __m256 range2_min, range2_max, full;
    __m256 range2_low, range2_high; /* bounds that only usable points are within */
} wide;

INLINE wide spread(const octa_snap *snap) {
    wide w;
    for (int axis = 0; axis < 3; axis++) {
        for (int column = 0; column < 3; column++)
            w.rotation[axis][column] = _mm256_set1_ps(snap->sensor.rotation[axis][column]);
        /* Adding +0 makes -0 into +0: then no local coordinate is -0, and a sign bit means "below". */
        w.origin[axis] = _mm256_set1_ps(snap->sensor.origin[axis] + 0.0f);
        w.bias[axis] = _mm256_set1_epi32(snap->sensor.site[axis] + OCTA_COORD_BIAS - SHIFT_BITS);
    }
    w.range2_min = _mm256_set1_ps(snap->range2_min);
    w.range2_max = _mm256_set1_ps(snap->range2_max);
    w.full = _mm256_set1_ps(snap->full);
    w.range2_low = _mm256_set1_ps(fmaxf(snap->range2_min, FLT_TRUE_MIN));
    w.range2_high = _mm256_set1_ps(fminf(snap->range2_max, OCTA_MAX_COORDINATE_M * OCTA_MAX_COORDINATE_M));
    return w;
}

INLINE vector3 load_points(const float *p) {
    __m256 a = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + 12), 1);
    __m256 b = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p + 4)), _mm_loadu_ps(p + 16), 1);
    __m256 c = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p + 8)), _mm_loadu_ps(p + 20), 1);
    __m256 xy = _mm256_shuffle_ps(b, c, _MM_SHUFFLE(2, 1, 3, 2));
    __m256 yz = _mm256_shuffle_ps(a, b, _MM_SHUFFLE(1, 0, 2, 1));
    return (vector3){_mm256_shuffle_ps(a, xy, _MM_SHUFFLE(2, 0, 3, 0)),
                     _mm256_shuffle_ps(yz, xy, _MM_SHUFFLE(3, 1, 2, 0)),
                     _mm256_shuffle_ps(yz, c, _MM_SHUFFLE(3, 0, 3, 1))};
}

INLINE __m256 local_of(const wide *w, int axis, vector3 p) {
    __m256 sum = _mm256_mul_ps(w->rotation[axis][0], p.x);
    sum = _mm256_add_ps(sum, _mm256_mul_ps(w->rotation[axis][1], p.y));
    sum = _mm256_add_ps(sum, _mm256_mul_ps(w->rotation[axis][2], p.z));
    return _mm256_add_ps(sum, w->origin[axis]);
}

INLINE __m256 absolute(__m256 v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }

/* The even coordinate next to each local one, plus SHIFT, and the way from there. Beyond 2^22 the sum is no
 * longer exact, but its bits stay far from those of any coordinate on the map. */
INLINE __m256 even_of(__m256 local, __m256 *offset) {
    __m256 next = _mm256_add_ps(_mm256_floor_ps(local), _mm256_set1_ps(SHIFT + 1));
    __m256 even = _mm256_and_ps(next, _mm256_castsi256_ps(_mm256_set1_epi32(-2)));
    *offset = _mm256_sub_ps(local, _mm256_sub_ps(even, _mm256_set1_ps(SHIFT)));
    return even;
}

/* On to the odd site, where `odd` is one and not zero: 1 towards the point on each axis. */
INLINE __m256i step_to_odd(__m256 even, __m256 odd, __m256i bias, __m256 *offset) {
    __m256 step = _mm256_or_ps(odd, _mm256_and_ps(*offset, _mm256_set1_ps(-0.0f)));
    *offset = _mm256_sub_ps(*offset, step);
    return _mm256_add_epi32(_mm256_castps_si256(_mm256_add_ps(even, step)), bias);
}

/* Biased map coordinates of the nearest sites. */
INLINE site3 snap_points(const wide *w, vector3 p, vector3 *offset) {
    __m256 x = even_of(local_of(w, 0, p), &offset->x);
    __m256 y = even_of(local_of(w, 1, p), &offset->y);
    __m256 z = even_of(local_of(w, 2, p), &offset->z);
    __m256 away = _mm256_add_ps(absolute(offset->x), absolute(offset->y));
    away = _mm256_add_ps(away, absolute(offset->z));
    __m256 odd = _mm256_cmp_ps(away, _mm256_set1_ps(1.5f), _CMP_GT_OQ);
    odd = _mm256_and_ps(odd, _mm256_set1_ps(1.0f));
    return (site3){step_to_odd(x, odd, w->bias[0], &offset->x), step_to_odd(y, odd, w->bias[1], &offset->y),
                   step_to_odd(z, odd, w->bias[2], &offset->z)};
}

INLINE __m256 range2_of(vector3 p) {
    __m256 sum = _mm256_add_ps(_mm256_mul_ps(p.x, p.x), _mm256_mul_ps(p.y, p.y));
    return _mm256_add_ps(sum, _mm256_mul_ps(p.z, p.z));
}

INLINE __m256 between(__m256 v, __m256 low, __m256 high) {
    return _mm256_and_ps(_mm256_cmp_ps(v, low, _CMP_GE_OQ), _mm256_cmp_ps(v, high, _CMP_LE_OQ));
}

INLINE __m256 usable(__m256 v) {
    return _mm256_cmp_ps(absolute(v), _mm256_set1_ps(OCTA_MAX_COORDINATE_M), _CMP_LE_OQ);
}

INLINE uint64_t count(__m256 mask) {
    return (uint64_t)__builtin_popcount((unsigned)_mm256_movemask_ps(mask));
}

/* Where each point of a group goes when not all go into cells. */
OCTA_AVX2 static __m256 count_fates(const wide *w, const vector3 *p, __m256 on_map, __m256 clamped,
                                    octa_fates *fates) {
    const __m256 zero = _mm256_setzero_ps();
    __m256 finite = _mm256_and_ps(_mm256_and_ps(usable(p->x), usable(p->y)), usable(p->z));
    __m256 any = _mm256_cmp_ps(_mm256_or_ps(_mm256_or_ps(p->x, p->y), p->z), zero, _CMP_NEQ_UQ);
    __m256 range2 = range2_of(*p);
    __m256 inside = _mm256_and_ps(between(range2, w->range2_min, w->range2_max), finite);
    inside = _mm256_and_ps(inside, _mm256_cmp_ps(range2, zero, _CMP_GT_OQ));
    __m256 binned = _mm256_and_ps(inside, on_map);
    fates->finite += count(finite);
    fates->rays += count(_mm256_and_ps(finite, any));
    fates->in_range += count(inside);
    fates->binned += count(binned);
    fates->clamped += count(_mm256_and_ps(binned, clamped));
    return binned;
}

/* Halfwords: a rounded below, b rounded above; operands in units of 1/8192, results in units of 1/4096. */
INLINE __m256i pair_up(__m256 a, __m256 b) {
    __m256i low = _mm256_castps_si256(_mm256_add_ps(_mm256_floor_ps(a), _mm256_set1_ps(SHIFT + 1)));
    __m256i high = _mm256_castps_si256(_mm256_add_ps(_mm256_floor_ps(b), _mm256_set1_ps(SHIFT + 1)));
    return _mm256_blend_epi16(_mm256_srli_epi32(low, 1), _mm256_slli_epi32(high, 15), 0xaa);
}

/* The same for operands that are not negative. */
INLINE __m256i pair_up_positive(__m256 a, __m256 b) {
    const __m256i one = _mm256_set1_epi32(1);
    __m256i low = _mm256_add_epi32(_mm256_cvttps_epi32(a), one);
    __m256i high = _mm256_add_epi32(_mm256_cvttps_epi32(b), one);
    return _mm256_blend_epi16(_mm256_srli_epi32(low, 1), _mm256_slli_epi32(high, 15), 0xaa);
}

INLINE void store_total(__m256i *total, __m256i row, uint16_t *out) {
    *total = _mm256_add_epi16(*total, row);
    _mm256_store_si256((__m256i *)(void *)out, *total);
}

/* Six columns of pairs become one row a point, and the rows running totals. The last four lanes of a row hold
 * what is at hand. */
INLINE void add_rows(const __m256i pair[6], __m256i *total, uint16_t (*totals)[OCTA_LANES]) {
    __m256i a = _mm256_unpacklo_epi32(pair[0], pair[1]), b = _mm256_unpackhi_epi32(pair[0], pair[1]);
    __m256i c = _mm256_unpacklo_epi32(pair[2], pair[3]), d = _mm256_unpackhi_epi32(pair[2], pair[3]);
    __m256i e = _mm256_unpacklo_epi32(pair[4], pair[5]), f = _mm256_unpackhi_epi32(pair[4], pair[5]);
    const __m256i front[4] = {_mm256_unpacklo_epi64(a, c), _mm256_unpackhi_epi64(a, c),
                              _mm256_unpacklo_epi64(b, d), _mm256_unpackhi_epi64(b, d)};
    const __m256i back[4] = {e, _mm256_unpackhi_epi64(e, e), f, _mm256_unpackhi_epi64(f, f)};
    for (int i = 0; i < 4; i++)
        store_total(total, _mm256_permute2x128_si256(front[i], back[i], 0x20), totals[i]);
    for (int i = 0; i < 4; i++)
        store_total(total, _mm256_permute2x128_si256(front[i], back[i], 0x31), totals[4 + i]);
}

/* What the points add to the eleven sums and the count. */
INLINE void add_points(vector3 o, __m256 share, __m256i *total, uint16_t (*totals)[OCTA_LANES]) {
    const __m256 scale = _mm256_set1_ps(2 * OCTA_FIXED_ONE); /* a power of two: products round as unscaled */
    __m256 x = _mm256_mul_ps(o.x, scale), y = _mm256_mul_ps(o.y, scale), z = _mm256_mul_ps(o.z, scale);
    __m256 s = _mm256_mul_ps(share, scale);
    const __m256i pair[6] = {
        pair_up(x, y),
        pair_up(z, _mm256_mul_ps(x, o.x)),
        pair_up_positive(_mm256_mul_ps(y, o.y), _mm256_mul_ps(z, o.z)),
        pair_up(_mm256_mul_ps(x, o.y), _mm256_mul_ps(x, o.z)),
        pair_up(_mm256_mul_ps(y, o.z), s),
        pair_up_positive(_mm256_mul_ps(s, share), _mm256_set1_ps(2)), /* 1 a point */
    };
    add_rows(pair, total, totals);
}

/* Columns of a block between the two halves of filling it; two short loops overlap more of their groups than
 * one long loop does. */
typedef struct {
    __m256 x[OCTA_BLOCK / GROUP], y[OCTA_BLOCK / GROUP], z[OCTA_BLOCK / GROUP], share[OCTA_BLOCK / GROUP];
    uint64_t full_groups; /* with all points in cells and no intensity clamped */
} columns;

INLINE void snap_group(const wide *w, const float *points, const float *intensity, size_t group, columns *out,
                       octa_block *block, octa_fates *fates) {
    vector3 offset, p = load_points(points);
    site3 site = snap_points(w, p, &offset);
    __m256 raw = _mm256_div_ps(_mm256_loadu_ps(intensity), w->full);
    /* The maximum takes its second operand when one is NaN. */
    __m256 share = _mm256_min_ps(_mm256_max_ps(raw, _mm256_setzero_ps()), _mm256_set1_ps(1.0f));
    __m256i beyond = _mm256_or_si256(_mm256_or_si256(site.x, site.y), site.z);
    __m256 on_map =
        _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_srli_epi32(beyond, 16), _mm256_setzero_si256()));
    __m256i low = _mm256_or_si256(site.x, _mm256_slli_epi32(site.y, 16)), high = site.z;
    __m256 full = _mm256_and_ps(between(range2_of(p), w->range2_low, w->range2_high), on_map);
    full = _mm256_and_ps(full, _mm256_cmp_ps(share, raw, _CMP_EQ_OQ));
    if (__builtin_expect(_mm256_movemask_ps(full) == ALL, 1)) {
        out->full_groups++;
    } else {
        __m256 clamped = _mm256_cmp_ps(share, raw, _CMP_NEQ_UQ);
        __m256i binned = _mm256_castps_si256(count_fates(w, &p, on_map, clamped, fates));
        low = _mm256_and_si256(low, binned);
        high = _mm256_or_si256(high, _mm256_xor_si256(binned, _mm256_set1_epi32(-1)));
    }
    _mm256_store_si256((__m256i *)(void *)(block->low + OCTA_BEFORE + group), low);
    _mm256_store_si256((__m256i *)(void *)(block->high + OCTA_BEFORE + group), high);
    out->x[group / GROUP] = offset.x;
    out->y[group / GROUP] = offset.y;
    out->z[group / GROUP] = offset.z;
    out->share[group / GROUP] = share;
}

OCTA_AVX2 static void fill_rest(const wide *w, const float *points, const float *intensity, size_t group,
                                size_t n, columns *out, octa_block *block, octa_fates *fates) {
    while (group < OCTA_BLOCK) {
        float rest[3 * GROUP], shares[GROUP] = {0};
        size_t left = group < n ? n - group : 0;
        for (int i = 0; i < 3 * GROUP; i++)
            rest[i] = NAN;
        memcpy(rest, points + 3 * group, 3 * left * sizeof *rest);
        memcpy(shares, intensity + group, left * sizeof *shares);
        snap_group(w, rest, shares, group, out, block, fates);
        group += GROUP;
    }
}

INLINE __m256i load(const uint32_t *from) { return _mm256_loadu_si256((const __m256i *)(const void *)from); }

/* Bits of the points that are in another cell than the point before. */
INLINE uint8_t begins_of(const octa_block *block, size_t at) {
    __m256i same = _mm256_and_si256(_mm256_cmpeq_epi32(load(block->low + at), load(block->low + at - 1)),
                                    _mm256_cmpeq_epi32(load(block->high + at), load(block->high + at - 1)));
    return (uint8_t)~_mm256_movemask_ps(_mm256_castsi256_ps(same));
}

OCTA_AVX2 static void fill(const octa_snap *snap, const float *points, const float *intensity, size_t n,
                           octa_block *block, octa_fates *fates) {
    const wide w = spread(snap);
    columns columns;
    size_t group = 0;
    columns.full_groups = 0;
    for (; group + GROUP <= n; group += GROUP)
        snap_group(&w, points + 3 * group, intensity + group, group, &columns, block, fates);
    if (group < OCTA_BLOCK)
        fill_rest(&w, points, intensity, group, n, &columns, block, fates);
    __m256i total = _mm256_setzero_si256();
    _mm256_store_si256((__m256i *)(void *)block->totals[0], total);
    for (size_t i = 0; i < OCTA_BLOCK / GROUP; i++) {
        const vector3 offset = {columns.x[i], columns.y[i], columns.z[i]};
        add_points(offset, columns.share[i], &total, block->totals + GROUP * i + 1);
        ((uint8_t *)block->begins)[i] = begins_of(block, OCTA_BEFORE + GROUP * i);
    }
    fates->finite += GROUP * columns.full_groups;
    fates->rays += GROUP * columns.full_groups;
    fates->in_range += GROUP * columns.full_groups;
    fates->binned += GROUP * columns.full_groups;
}

INLINE void add_difference(__m256i before, __m256i after, int32_t *out) {
    __m256i *line = (__m256i *)(void *)out, sums = _mm256_sub_epi16(after, before);
    __m256i front = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(sums));
    __m256i back = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(sums, 1));
    _mm256_store_si256(line, _mm256_add_epi32(_mm256_load_si256(line), front));
    _mm256_store_si256(line + 1, _mm256_add_epi32(_mm256_load_si256(line + 1), back));
}

OCTA_AVX2 static void add(const octa_block *block, const uint32_t *run_lines, int32_t *lines) {
    const __m256i *totals = (const __m256i *)(const void *)block->totals;
    __m256i before = _mm256_load_si256(totals);
    int32_t *line = lines;
    for (size_t word = 0; word < OCTA_BLOCK / 64; word++) {
        uint64_t begins = block->begins[word];
        for (uint64_t cuts = octa_block_cuts(begins); cuts; cuts &= cuts - 1) {
            int at = __builtin_ctzll(cuts);
            __m256i after = _mm256_load_si256(totals + 64 * word + at);
            add_difference(before, after, line);
            run_lines += begins >> at & 1u;
            line = lines + (size_t)run_lines[-1] * OCTA_LANES;
            before = after;
        }
    }
    add_difference(before, _mm256_load_si256(totals + OCTA_BLOCK), line);
}

const octa_block_kernel octa_block_avx2 = {fill, add};
#else
typedef int octa_no_avx2; /* a translation unit must declare something */
#endif
