/* Columns that a cell's surroundings decide: heights, neighbours, coarser cells, beams to come. */
#include "extraction.h"
#include "functions.h"

static void height_columns(const octa_extraction *e, size_t begin) {
    const octa_columns *columns = &e->columns;
    octa_column *f = octa_named(e);
    for (size_t lane = 0; lane < octa_block_cells(e, begin); lane++) {
        const uint32_t column = columns->column_of[begin + lane];
        const int32_t z = e->sites[begin + lane][2];
        f[FEATURE_height_in_column][lane] = (float)(z - columns->lowest[column]);
        f[FEATURE_height_in_block][lane] = (float)(z - columns->lowest_around[column]);
    }
}

static void neighbor_columns(const octa_extraction *e, size_t begin, const int32_t *neighbors) {
    octa_column *f = octa_named(e);
    for (size_t lane = 0; lane < octa_block_cells(e, begin); lane++) {
        const int32_t *own = neighbors + (begin + lane) * OCTA_NEIGHBORS;
        octa_notes sum = e->notes[own[0]];
        for (int n = 1; n < OCTA_NEIGHBORS; n++)
            sum += e->notes[own[n]];
        const float present = sum[NOTE_PRESENT];
        f[FEATURE_neighbors][lane] = present / OCTA_NEIGHBORS;
        f[FEATURE_neighbors_hit][lane] = sum[NOTE_HIT] / OCTA_NEIGHBORS;
        f[FEATURE_neighbors_evidence][lane] = present > 0 ? sum[NOTE_EVIDENCE] / present : 0;
    }
}

static void coarse_columns(const octa_extraction *e, size_t begin) {
    for (int i = 0; i < OCTA_POOL_LEVELS; i++) {
        const octa_pool_level *level = &e->pool.levels[i];
        octa_column *f = octa_named(e) + FEATURE_coarse1_hits_0 + i * OCTA_POOLED;
        for (size_t lane = 0; lane < octa_block_cells(e, begin); lane++)
            for (int v = 0; v < OCTA_POOLED; v++)
                f[v][lane] = level->mean[level->cell_of[begin + lane]][v];
    }
}

OCTA_HOT static void cast_columns(const octa_extraction *e, size_t begin) {
    octa_column *f = octa_named(e);
    const float weight = (float)e->view->beam_weight;
    octa_column reach, hits, surface, overlap, any, best;
    for (int i = 0; i < OCTA_CELL_LANES; i++) {
        const octa_landing *landing = &e->cast.landings[begin + (size_t)i];
        reach[i] = weight * landing->reach;
        hits[i] = weight * landing->hits;
        surface[i] = weight * landing->surface;
        overlap[i] = weight * landing->overlap;
        any[i] = landing->reach > 0 ? 1.0f : 0.0f;
        best[i] = landing->best;
    }
    for (int i = 0; i < OCTA_CELL_LANES; i++) {
        f[FEATURE_cast_hits][i] = octa_log1p(hits[i]);
        f[FEATURE_cast_reach][i] = octa_log1p(reach[i]);
    }
    for (int i = 0; i < OCTA_CELL_LANES; i++) {
        f[FEATURE_surface_hits][i] = octa_log1p(surface[i]);
        f[FEATURE_surface_overlap][i] = octa_log1p(overlap[i]);
    }
    for (int i = 0; i < OCTA_CELL_LANES; i++)
        f[FEATURE_cast_seen][i] = 1.0f - octa_exp_minus(hits[i]);
    for (int i = 0; i < OCTA_CELL_LANES; i++) {
        f[FEATURE_cast_share][i] = reach[i] > 0 ? hits[i] / reach[i] : 0;
        f[FEATURE_surface_share][i] = reach[i] > 0 ? surface[i] / reach[i] : 0;
        f[FEATURE_cast_reached][i] = any[i];
        f[FEATURE_surface_best][i] = best[i];
    }
}

void octa_context_columns(const octa_extraction *e, size_t begin, const int32_t *neighbors) {
    height_columns(e, begin);
    neighbor_columns(e, begin, neighbors);
    coarse_columns(e, begin);
    cast_columns(e, begin);
    for (int lane = 0; lane < OCTA_CELL_LANES; lane++) {
        octa_named(e)[FEATURE_speed][lane] = (float)e->view->speed_mps;
        octa_named(e)[FEATURE_yaw_rate][lane] = (float)e->view->yaw_rate_rps;
    }
}
