/* Order of cell ids: radix sorts over the 48 Morton bits, since all ids of a grid share the bits above. */
#ifndef OCTA_SORT_H
#define OCTA_SORT_H

#include "internal.h"

typedef struct {
    uint64_t id;
    uint32_t row;
} octa_id_row;

/** Sort pairs ascending by the low 48 bits of id; scratch holds n pairs. The result is in pairs. */
void octa_sort_id_rows(octa_id_row *pairs, octa_id_row *scratch, size_t n);

#define OCTA_ROW_BITS 20 /* of a row in a sorted word */

/** Rows of n < 2^OCTA_ROW_BITS codes, each below 2^bits <= 2^48, in ascending order of the codes; equal codes
 *  keep their order. Both arrays hold n and are overwritten.
 *  @return codes or scratch: words whose low OCTA_ROW_BITS are the rows */
uint64_t *octa_sort_codes(uint64_t *codes, uint64_t *scratch, size_t n, int bits);

#endif
