#include "sort.h"

#include <string.h>

#define DIGIT_BITS 12
#define DIGITS (1u << DIGIT_BITS)
#define PASSES 4 /* 4 x 12 = 48 bits */

static void sort_by_digit(const octa_id_row *from, octa_id_row *to, size_t n, int shift) {
    uint32_t start[DIGITS], sum = 0;
    memset(start, 0, sizeof start);
    for (size_t i = 0; i < n; i++)
        start[from[i].id >> shift & (DIGITS - 1)]++;
    for (size_t digit = 0; digit < DIGITS; digit++) {
        uint32_t count = start[digit];
        start[digit] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++)
        to[start[from[i].id >> shift & (DIGITS - 1)]++] = from[i];
}

void octa_sort_id_rows(octa_id_row *pairs, octa_id_row *scratch, size_t n) {
    octa_id_row *from = pairs, *to = scratch;
    uint64_t varying = 0;
    for (size_t i = 0; i < n; i++)
        varying |= pairs[i].id ^ pairs[0].id;
    for (int shift = 0; shift < PASSES * DIGIT_BITS; shift += DIGIT_BITS) {
        if (!(varying >> shift & (DIGITS - 1)))
            continue; /* a digit that all share orders nothing */
        sort_by_digit(from, to, n, shift);
        octa_id_row *swap = from;
        from = to;
        to = swap;
    }
    if (from != pairs)
        memcpy(pairs, from, n * sizeof *pairs);
}

#define CODE_DIGIT_MAX 11
#define CODE_PASSES_MAX 5 /* 5 x 10 >= 48 bits */

/* Turn counts into the place of the first of each digit. */
static void begin_digits(uint32_t *start, size_t digits) {
    uint32_t sum = 0;
    for (size_t digit = 0; digit < digits; digit++) {
        uint32_t count = start[digit];
        start[digit] = sum;
        sum += count;
    }
}

static void count_digits(const uint64_t *codes, size_t n, int passes, int digit,
                         uint32_t start[][1 << CODE_DIGIT_MAX]) {
    const uint64_t mask = (1ull << digit) - 1;
    for (int pass = 0; pass < passes; pass++)
        memset(start[pass], 0, sizeof(uint32_t) << digit);
    for (size_t i = 0; i < n; i++)
        for (int pass = 0; pass < passes; pass++)
            start[pass][codes[i] >> pass * digit & mask]++;
    for (int pass = 0; pass < passes; pass++)
        begin_digits(start[pass], (size_t)1 << digit);
}

uint64_t *octa_sort_codes(uint64_t *codes, uint64_t *scratch, size_t n, int bits) {
    uint32_t start[CODE_PASSES_MAX][1 << CODE_DIGIT_MAX];
    const int passes = bits > CODE_DIGIT_MAX ? (bits + CODE_DIGIT_MAX - 1) / CODE_DIGIT_MAX : 1;
    const int digit = (bits + passes - 1) / passes;
    const uint64_t mask = (1ull << digit) - 1;
    count_digits(codes, n, passes, digit, start);
    /* The first pass uses up the lowest digit, which makes room for the row. */
    for (size_t i = 0; i < n; i++)
        scratch[start[0][codes[i] & mask]++] = codes[i] >> digit << OCTA_ROW_BITS | i;
    for (int pass = 1; pass < passes; pass++) {
        uint64_t *from = scratch;
        const int shift = OCTA_ROW_BITS + (pass - 1) * digit;
        for (size_t i = 0; i < n; i++)
            codes[start[pass][from[i] >> shift & mask]++] = from[i];
        scratch = codes;
        codes = from;
    }
    return scratch;
}
