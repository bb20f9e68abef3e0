/* The sensor's place on the lattice: points are transformed relative to the sensor's own site in float32, so
 * that precision does not depend on how far the robot is from the map's origin. */
#ifndef OCTA_SENSOR_H
#define OCTA_SENSOR_H

#include "internal.h"

#define OCTA_MAX_COORDINATE_M 10000.0f

typedef struct {
    int32_t site[3]; /* even site by the sensor's origin: even, so that ties go the same way everywhere */
    float origin[3]; /* origin - site, half edges, within +-1 */
    float rotation[3][3]; /* sensor metres to half edges, map axes */
} octa_sensor;

/** @return OCTA_E_POSE, OCTA_E_RANGE (the sensor is off the map) */
octa_error octa_sensor_at(const octa_grid *grid, const double *pose, octa_sensor *out);

/* A usable point: finite and within 10 km on each axis. */
static inline int octa_point_valid(const float *p) {
    /* A comparison with NaN is false, so this refuses NaN and infinity too. */
    return p[0] >= -OCTA_MAX_COORDINATE_M && p[0] <= OCTA_MAX_COORDINATE_M &&
           p[1] >= -OCTA_MAX_COORDINATE_M && p[1] <= OCTA_MAX_COORDINATE_M &&
           p[2] >= -OCTA_MAX_COORDINATE_M && p[2] <= OCTA_MAX_COORDINATE_M;
}

#endif
