/* Error codes in words. */
#include "octa.h"

const char *octa_describe_error(octa_error error) {
    switch (error) {
    case OCTA_OK:
        return "success";
    case OCTA_E_DOMAIN:
        return "value outside its domain (not finite, not positive, or too large)";
    case OCTA_E_RANGE:
        return "cell beyond the map: coordinates must lie in -32768..32767 half edges (Route64 "
               "-524288..524287, "
               "Galactic128 32 bits)";
    case OCTA_E_PARITY:
        return "mixed parity: a site has three even or three odd coordinates";
    case OCTA_E_ID:
        return "not an id of this kind: the two top bits of an Index64 are 10, of a Route64 01, of a "
               "Hilbert64 11, "
               "and the version of a Galactic128 is 1";
    case OCTA_E_TEXT:
        return "not a cell id in strict bech32m: i3d1 or r3d1, a 1, then 19 characters in one case; or g3d1, "
               "a 1, "
               "then 32";
    case OCTA_E_LOD:
        return "no such level of detail: LOD 0 has no parent, the finest LOD (15, of a Galactic128 63) no "
               "children";
    case OCTA_E_POSE:
        return "not a rigid transform: values must be finite, the rotation proper and of unit length within "
               "1e-3";
    case OCTA_E_ORDER:
        return "wrong order: cell ids must ascend strictly and a record must not be older than the window";
    case OCTA_E_CAPACITY:
        return "buffer too small for the result";
    case OCTA_E_MEMORY:
        return "allocation failed";
    default:
        return "unknown error";
    }
}
