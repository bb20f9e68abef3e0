/* Beams cast from a pose through cells that stop them with a probability. */
#ifndef OCTA_CASTS_H
#define OCTA_CASTS_H

#include "cellview.h"
#include "sensor.h"
#include "sort.h"

/* A cell that beams meet. Its returns are taken to be normally distributed. */
typedef struct {
    float stop;       /* share of the beams crossing it that end in it */
    float mean[3];    /* of the returns, half edges from the site */
    float whitens[6]; /* lower triangle, row by row: makes their covariance the identity */
} octa_target;

/* What a cell gets of the beams, in beams. A beam's overlap with the returns is their density where it comes
 * nearest to their mean, relative to that at the mean: 0 .. 1. */
typedef struct {
    float reach;   /* that get there */
    float hits;    /* of those, that end there by the cell's stop */
    float surface; /* of those, the sum of the overlaps */
    float overlap; /* sum of the overlaps of all that would cross the cell if nothing stopped them */
    float best;    /* largest overlap */
} octa_landing;

/* Beams side by side, with their directions (of any length). */
typedef struct {
    octa_ray_block ray;
    float direction[3][OCTA_RAY_LANES];
} octa_beam_block;

typedef struct {
    octa_sensor sensor;
    size_t n;                /* beams loaded */
    octa_beam_block *blocks; /* beams in the order of their bins, blocks aligned to vectors */
    void *memory;            /* owns them */
    int32_t *left;           /* share of each beam still under way, fixed point */
    uint32_t *start;         /* first beam of each direction bin */
    octa_id_row *order;      /* cells by range, then scratch */
    octa_landing *landings;  /* of each cell */
    float (*direction)[3];
    uint32_t *bin;
} octa_cast;

/** Room for n beams and m cells; nothing to free when it fails. */
octa_error octa_cast_begin(octa_cast *cast, size_t n, size_t m);
void octa_cast_end(octa_cast *cast);

/** Cast n beams (n x 3, sensor frame, any length) through m cells; those nearer to the sensor stop beams
 *  first. cast->sensor must be set. */
void octa_cast_run(octa_cast *cast, const int16_t *beams, size_t n, const int32_t (*sites)[3],
                   const octa_target *targets, size_t m);

#endif
