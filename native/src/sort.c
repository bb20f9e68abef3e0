#include "sort.h"

#include <string.h>

#define DIGIT_BITS 12
#define DIGITS (1u << DIGIT_BITS)
#define PASSES 4 /* 4 x 12 = 48 bits; even, so the result lands where it started */

void octa_sort_id_rows(octa_id_row *pairs, octa_id_row *scratch, size_t n) {
    for (int pass = 0; pass < PASSES; pass++) {
        uint32_t start[DIGITS];
        int shift = pass * DIGIT_BITS;
        memset(start, 0, sizeof start);
        for (size_t i = 0; i < n; i++)
            start[pairs[i].id >> shift & (DIGITS - 1)]++;
        uint32_t sum = 0;
        for (size_t digit = 0; digit < DIGITS; digit++) {
            uint32_t count = start[digit];
            start[digit] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++)
            scratch[start[pairs[i].id >> shift & (DIGITS - 1)]++] = pairs[i];
        octa_id_row *swap = pairs;
        pairs = scratch;
        scratch = swap;
    }
}
