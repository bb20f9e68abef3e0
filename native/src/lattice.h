/* The tree of the lattice, one site at a time. */
#ifndef OCTA_LATTICE_H
#define OCTA_LATTICE_H

#include "internal.h"

/* From twice a site to its children, in the order of OctaIndex3D. */
extern const int8_t octa_child_offsets[OCTA_CHILDREN][3];

static inline int32_t octa_odd(int32_t v) { return v & 1; }

/* The halves of an even site are no site when one axis disagrees with the two others; that one steps down. */
static inline void octa_parent_of_even(const int32_t *s, int32_t *out) {
    int32_t x = s[0] / 2, y = s[1] / 2, z = s[2] / 2;
    if (octa_odd(y) == octa_odd(z))
        x -= octa_odd(x) != octa_odd(y);
    else if (octa_odd(x) == octa_odd(z))
        y -= 1;
    else
        z -= 1;
    out[0] = x;
    out[1] = y;
    out[2] = z;
}

/* An odd child lies above its parent on x, and on y and z on whichever side has a site. */
static inline void octa_parent_of_odd(const int32_t *s, int32_t *out) {
    int32_t x = (s[0] - 1) / 2, y = (s[1] - 1) / 2, z = (s[2] - 1) / 2;
    out[0] = x;
    out[1] = y + (octa_odd(y) != octa_odd(x));
    out[2] = z + (octa_odd(z) != octa_odd(x));
}

/* The site one LOD coarser that has this one, any that int32 holds, among its children. */
static inline void octa_parent_site(const int32_t *s, int32_t *out) {
    if (octa_odd(s[0]))
        octa_parent_of_odd(s, out);
    else
        octa_parent_of_even(s, out);
}

#endif
