/* From points' cells to cells' points. */
#include "internal.h"

#include <string.h>

octa_error octa_point_lists(const int32_t *rows, size_t n, size_t cells, uint32_t *starts, uint32_t *points) {
    if (n > UINT32_MAX || cells > INT32_MAX)
        return OCTA_E_DOMAIN;
    for (size_t i = 0; i < n; i++)
        if (rows[i] < -1 || rows[i] >= (int64_t)cells)
            return OCTA_E_DOMAIN;
    memset(starts, 0, (cells + 1) * sizeof *starts);
    for (size_t i = 0; i < n; i++)
        if (rows[i] >= 0)
            starts[rows[i]]++;
    uint32_t sum = 0;
    for (size_t cell = 0; cell <= cells; cell++) {
        sum += starts[cell]; /* to the end of the cell's list: it is filled from behind */
        starts[cell] = sum;
    }
    for (size_t i = n; i-- > 0;)
        if (rows[i] >= 0)
            points[--starts[rows[i]]] = (uint32_t)i;
    return OCTA_OK;
}
