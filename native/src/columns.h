/* Vertical columns of a set of sites, two half edges wide, and the lowest site in and around each. */
#ifndef OCTA_COLUMNS_H
#define OCTA_COLUMNS_H

#include "sort.h"

typedef struct {
    size_t count;
    uint64_t *codes;        /* ascending, and one more than any */
    int32_t *lowest;        /* z of the lowest site of each column */
    int32_t *lowest_around; /* and of it and the eight columns around it */
    uint32_t *column_of;    /* of each site */
    octa_id_row *pairs;     /* scratch */
    void *memory;           /* owns them all */
} octa_columns;

/** Room for n sites; nothing to free when it fails. */
octa_error octa_columns_begin(octa_columns *columns, size_t n);
void octa_columns_end(octa_columns *columns);

/** Find the columns of n sites within -32768 .. 32767. */
void octa_columns_load(octa_columns *columns, const int32_t (*sites)[3], size_t n);

#endif
