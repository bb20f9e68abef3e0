/* Morton codes four at a time, for AVX2. A table of 16 bytes spreads or gathers half a byte, and one table
 * does for three places: which bits of the half byte belong to a place are masked out before, and no two
 * places share an index. Same bits as the portable way. */
#include "morton.h"

#ifdef OCTA_HAVE_AVX2
#include <immintrin.h>

#define GROUP 4
#define INLINE OCTA_AVX2 static OCTA_ALWAYS_INLINE
#define TABLE __attribute__((aligned(16))) static const uint8_t

/* Three bytes of code hold one byte of each coordinate: bit k of axis a is bit 3 k + a. By axis: from the low
 * and the high half of a coordinate's byte to its bits in whichever of the three bytes they fall. */
TABLE spread_low[3][16] = {
    {0, 0x01, 0x08, 0x09, 0x40, 0x41, 0x48, 0x49, 0x02},
    {0, 0x02, 0x10, 0x12, 0x80, 0x82, 0x90, 0x92, 0x04},
    {0, 0x04, 0x20, 0x24, 0x01, 0, 0, 0, 0x08, 0, 0, 0, 0x09},
};
TABLE spread_high[3][16] = {
    {0, 0x10, 0x80, 0x90, 0x04, 0, 0, 0, 0x20, 0, 0, 0, 0x24},
    {0, 0x20, 0x01, 0, 0x08, 0, 0x09, 0, 0x40, 0, 0x41, 0, 0x48, 0, 0x49},
    {0, 0x40, 0x02, 0, 0x10, 0, 0x12, 0, 0x80, 0, 0x82, 0, 0x90, 0, 0x92},
};
/* Bits of the half byte that fall into the first, second and third byte. */
static const uint8_t spread_low_bits[3][3] = {{7, 8, 0}, {7, 8, 0}, {3, 12, 0}};
static const uint8_t spread_high_bits[3][3] = {{0, 3, 12}, {0, 1, 14}, {0, 1, 14}};

/* And back: from half a byte of code to the bits of a coordinate's byte. */
TABLE gather_low[3][16] = {
    {0, 0x01, 0x08, 0, 0x40, 0, 0, 0, 0x02, 0x03},
    {0, 0x20, 0x01, 0, 0x08, 0, 0, 0, 0x40, 0x60},
    {0, 0x04, 0x20, 0, 0x01, 0, 0, 0, 0x08, 0x0c},
};
TABLE gather_high[3][16] = {
    {0, 0x10, 0x80, 0, 0x04, 0, 0, 0, 0x20, 0x30},
    {0, 0x02, 0x10, 0, 0x80, 0, 0, 0, 0x04, 0x06},
    {0, 0x40, 0x02, 0, 0x10, 0, 0, 0, 0x80, 0xc0},
};
static const uint8_t gather_low_bits[3][3] = {{9, 2, 4}, {2, 4, 9}, {4, 9, 2}};
static const uint8_t gather_high_bits[3][3] = {{4, 9, 2}, {9, 2, 4}, {2, 4, 9}};

/* Tables and masks of an axis in registers. */
typedef struct {
    __m256i low, high, low_bits, high_bits;
} axis_tables;

INLINE __m256i both_halves(const uint8_t *table) {
    return _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)table));
}

/* For either half of every id the same three bytes, so many bits apart. */
INLINE __m256i three_bytes(const uint8_t *three, int apart) {
    const int64_t bits = three[0] | three[1] << 8 | three[2] << 16;
    return _mm256_set1_epi64x(bits | bits << apart);
}

INLINE axis_tables tables_of(const uint8_t *low, const uint8_t *high, const uint8_t *low_bits,
                             const uint8_t *high_bits, int apart) {
    return (axis_tables){both_halves(low), both_halves(high), three_bytes(low_bits, apart),
                         three_bytes(high_bits, apart)};
}

INLINE __m256i look_up(const axis_tables *t, __m256i bytes, __m256i high_halves) {
    const __m256i low = _mm256_shuffle_epi8(t->low, _mm256_and_si256(bytes, t->low_bits));
    const __m256i high = _mm256_shuffle_epi8(t->high, _mm256_and_si256(high_halves, t->high_bits));
    return _mm256_or_si256(low, high);
}

/* Which byte of two ids' coordinates, 16 bits each and four words an id, goes where: each three times. */
INLINE __m256i three_times(int axis) {
    const char a = (char)(2 * axis), b = (char)(a + 1), c = (char)(a + 8), d = (char)(a + 9);
    return _mm256_setr_epi8(a, a, a, b, b, b, -1, -1, c, c, c, d, d, d, -1, -1, a, a, a, b, b, b, -1, -1, c,
                            c, c, d, d, d, -1, -1);
}

INLINE __m256i two_lanes(const int32_t *low, const int32_t *high) {
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)low)),
        _mm_loadu_si128((const __m128i *)(const void *)high), 1);
}

/* A site is read with the number after it, so one more must be there. */
OCTA_AVX2 size_t octa_morton_pack_avx2(const int32_t *sites, size_t n, uint64_t prefix, uint64_t *ids) {
    const __m256i flip =
        _mm256_set1_epi64x((int64_t)(prefix ^ 7ull << 45)); /* adding the bias flips the top bits */
    axis_tables tables[3];
    __m256i bytes_of[3];
    size_t i = 0;
    for (int axis = 0; axis < 3; axis++) {
        tables[axis] =
            tables_of(spread_low[axis], spread_high[axis], spread_low_bits[axis], spread_high_bits[axis], 24);
        bytes_of[axis] = three_times(axis);
    }
    for (; i + GROUP < n; i += GROUP) {
        const int32_t *s = sites + 3 * i;
        const __m256i words = _mm256_packs_epi32(two_lanes(s, s + 6), two_lanes(s + 3, s + 9));
        const __m256i high_halves = _mm256_srli_epi16(words, 4);
        __m256i code = flip;
        for (int axis = 0; axis < 3; axis++)
            code = _mm256_xor_si256(code, look_up(&tables[axis], _mm256_shuffle_epi8(words, bytes_of[axis]),
                                                  _mm256_shuffle_epi8(high_halves, bytes_of[axis])));
        _mm256_storeu_si256((__m256i *)(void *)(ids + i), code);
    }
    return i;
}

/* Three bytes of code a half, with a fourth that is zero. */
INLINE __m256i in_fours(__m256i code) {
    return _mm256_shuffle_epi8(code,
                               _mm256_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 8, 9, 10, -1, 11, 12, 13, -1, 0, 1,
                                                2, -1, 3, 4, 5, -1, 8, 9, 10, -1, 11, 12, 13, -1));
}

/* Sums of two bytes; they share no bit. */
INLINE __m256i pairs(__m256i bytes) { return _mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1)); }

/* From two bytes of each of x x y y z z, of two ids in turn, to four numbers of the first or the second. */
INLINE __m256i numbers_of(int second) {
    const char x = (char)(2 * second), y = (char)(x + 4), z = (char)(x + 8);
    return _mm256_setr_epi8(x, x + 1, -1, -1, y, y + 1, -1, -1, z, z + 1, -1, -1, -1, -1, -1, -1, x, x + 1,
                            -1, -1, y, y + 1, -1, -1, z, z + 1, -1, -1, -1, -1, -1, -1);
}

INLINE void put_site(__m128i site, int32_t *out) { _mm_storeu_si128((__m128i *)(void *)out, site); }

/* A site is written with the number after it, which the next one overwrites. */
OCTA_AVX2 size_t octa_morton_unpack_avx2(const uint64_t *ids, size_t n, int32_t *sites) {
    const __m256i bias = _mm256_set1_epi32(OCTA_COORD_BIAS), half_byte = _mm256_set1_epi8(15);
    const __m256i first = numbers_of(0), second = numbers_of(1);
    axis_tables tables[3];
    size_t i = 0;
    for (int axis = 0; axis < 3; axis++)
        tables[axis] =
            tables_of(gather_low[axis], gather_high[axis], gather_low_bits[axis], gather_high_bits[axis], 32);
    for (; i + GROUP < n; i += GROUP) {
        const __m256i code = in_fours(_mm256_loadu_si256((const __m256i *)(const void *)(ids + i)));
        const __m256i high_halves = _mm256_and_si256(_mm256_srli_epi64(code, 4), half_byte);
        const __m256i x = pairs(look_up(&tables[0], code, high_halves));
        const __m256i y = pairs(look_up(&tables[1], code, high_halves));
        const __m256i z = pairs(look_up(&tables[2], code, high_halves));
        const __m256i xy = pairs(_mm256_packus_epi16(x, y)), zz = pairs(_mm256_packus_epi16(z, z));
        const __m256i bytes = _mm256_packus_epi16(xy, zz);
        const __m256i even = _mm256_sub_epi32(_mm256_shuffle_epi8(bytes, first), bias);
        const __m256i odd = _mm256_sub_epi32(_mm256_shuffle_epi8(bytes, second), bias);
        int32_t *out = sites + 3 * i;
        put_site(_mm256_castsi256_si128(even), out);
        put_site(_mm256_castsi256_si128(odd), out + 3);
        put_site(_mm256_extracti128_si256(even, 1), out + 6);
        put_site(_mm256_extracti128_si256(odd, 1), out + 9);
    }
    return i;
}
#endif
