#include "sensor.h"

#include <math.h>

octa_error octa_sensor_at(const octa_grid *grid, const double *pose, octa_sensor *out) {
    OCTA_TRY(octa_pose_check(pose));
    double origin[3];
    for (int axis = 0; axis < 3; axis++) {
        origin[axis] = pose[4 * axis + 3] / grid->half_edge_m;
        if (!(origin[axis] >= OCTA_COORD_MIN && origin[axis] <= OCTA_COORD_MAX))
            return OCTA_E_RANGE;
    }
    for (int axis = 0; axis < 3; axis++) {
        out->site[axis] = 2 * (int32_t)floor(origin[axis] / 2.0 + 0.5);
        out->origin[axis] = (float)(origin[axis] - out->site[axis]);
        for (int column = 0; column < 3; column++)
            out->rotation[axis][column] = (float)(pose[4 * axis + column] / grid->half_edge_m);
    }
    return OCTA_OK;
}
