/* Offsets of the sites within some steps of a site. */
#ifndef OCTA_RINGS_H
#define OCTA_RINGS_H

#include "internal.h"

typedef struct {
    size_t count;
    int32_t (*offsets)[3];
    uint64_t *words; /* count x a kind's words an offset, for the kind to fill; the block that holds it all */
} octa_rings;

/** Offsets of shells first..last with room for so many words each.  @return OCTA_E_DOMAIN, OCTA_E_MEMORY */
octa_error octa_rings_begin(octa_rings *rings, uint32_t first, uint32_t last, size_t words);
void octa_rings_end(octa_rings *rings);

#endif
