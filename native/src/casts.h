/* Beams cast from a pose through cells that stop them with a probability. */
#ifndef OCTA_CASTS_H
#define OCTA_CASTS_H

#include "directions.h"
#include "sensor.h"
#include "sort.h"

typedef struct {
    octa_sensor sensor;
    size_t n;                   /* beams loaded */
    float *inverse[OCTA_SLABS]; /* 1 / (normal . direction) of each beam */
    int32_t *left;              /* share of each beam still under way, fixed point */
    uint32_t *start;            /* first beam of each direction bin */
    octa_id_row *order;         /* cells by range, then scratch */
    float *reach, *hits;        /* of each cell: beams that get there, and that end there */
    float *block;               /* owns the columns of inverse */
    float (*direction)[3];
    uint32_t *bin;
} octa_cast;

/** Room for n beams and m cells; nothing to free when it fails. */
octa_error octa_cast_begin(octa_cast *cast, size_t n, size_t m);
void octa_cast_end(octa_cast *cast);

/** Cast n beams (n x 3, sensor frame, any length) through m cells. stop is the share of the beams crossing a
 *  cell that end in it; cells nearer to the sensor stop beams first.  cast->sensor must be set. */
void octa_cast_run(octa_cast *cast, const int16_t *beams, size_t n, const int32_t (*sites)[3],
                   const float *stop, size_t m);

#endif
