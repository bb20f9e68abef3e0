/* Order of cell ids: a radix sort over the 48 Morton bits, since all ids of a grid share the bits above. */
#ifndef OCTA_SORT_H
#define OCTA_SORT_H

#include "internal.h"

typedef struct {
    uint64_t id;
    uint32_t row;
} octa_id_row;

/** Sort pairs ascending by the low 48 bits of id; scratch holds n pairs. The result is in pairs. */
void octa_sort_id_rows(octa_id_row *pairs, octa_id_row *scratch, size_t n);

#endif
