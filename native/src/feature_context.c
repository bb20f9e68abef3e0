/* Columns that a cell's surroundings decide: column height, neighbours, coarser cells, beams to come. */
#include "extraction.h"

#include <string.h>

static uint64_t column_key(int32_t x, int32_t y) {
    return octa_index64_pack(2ull << 62, (x - (x & 1)) / 2, (y - (y & 1)) / 2, 0);
}

static float lowest_around(const octa_extraction *e, const int32_t *site, int reach) {
    float lowest = (float)site[2];
    for (int dx = -2 * reach; dx <= 2 * reach; dx += 2)
        for (int dy = -2 * reach; dy <= 2 * reach; dy += 2) {
            uint32_t column = octa_cellmap_find(&e->groups, column_key(site[0] + dx, site[1] + dy));
            if (column != OCTA_NO_ROW && e->group_values[column] < lowest)
                lowest = e->group_values[column];
        }
    return lowest;
}

void octa_height_columns(octa_extraction *e, float *x) {
    octa_cellmap_clear(&e->groups);
    for (size_t i = 0; i < e->count; i++) {
        const int32_t *site = e->sites[i];
        uint32_t fresh = (uint32_t)e->groups.used;
        uint32_t column = octa_cellmap_insert(&e->groups, column_key(site[0], site[1]), fresh);
        if (column == fresh || (float)site[2] < e->group_values[column])
            e->group_values[column] = (float)site[2];
    }
    for (size_t i = 0; i < e->count; i++) {
        float *f = octa_row_columns(e, x, i), z = (float)e->sites[i][2];
        f[FEATURE_height_in_column] = z - lowest_around(e, e->sites[i], 0);
        f[FEATURE_height_in_block] = z - lowest_around(e, e->sites[i], 1);
    }
}

/* Neighbourhood is mutual: seven look-ups a cell fill both ends. */
static void find_neighbors(const octa_extraction *e, int32_t *neighbors) {
    static const uint8_t ways[7][2] = {{0, 7}, {1, 6}, {2, 5}, {3, 4}, {8, 9}, {10, 11}, {12, 13}};
    for (size_t i = 0; i < e->count * OCTA_NEIGHBORS; i++)
        neighbors[i] = (int32_t)e->count;
    for (size_t i = 0; i < e->count; i++)
        for (int way = 0; way < 7; way++) {
            const int8_t *offset = octa_neighbor_offsets[ways[way][0]];
            const int32_t *site = e->sites[i];
            int32_t x = site[0] + offset[0], y = site[1] + offset[1], z = site[2] + offset[2];
            if (!octa_in_range(x, y, z))
                continue;
            uint32_t row = octa_cellmap_find(&e->window->map, octa_index64_pack(e->window->prefix, x, y, z));
            if (row == OCTA_NO_ROW || e->position[row] == (int32_t)e->count)
                continue;
            neighbors[i * OCTA_NEIGHBORS + ways[way][0]] = e->position[row];
            neighbors[(size_t)e->position[row] * OCTA_NEIGHBORS + ways[way][1]] = (int32_t)i;
        }
}

void octa_neighbor_columns(const octa_extraction *e, float *x, int32_t *neighbors, const uint8_t *before) {
    find_neighbors(e, neighbors);
    for (size_t i = 0; i < e->count; i++) {
        const int32_t *own = neighbors + i * OCTA_NEIGHBORS;
        float present = 0, hit = 0, evidence = 0, *f = octa_row_columns(e, x, i);
        for (int n = 0; n < OCTA_NEIGHBORS; n++) {
            size_t row = (size_t)own[n];
            if (row == e->count)
                continue;
            present += 1;
            hit += before[row] == 2;
            evidence += octa_row_columns(e, x, row)[FEATURE_evidence_recent];
        }
        f[FEATURE_neighbors] = present / OCTA_NEIGHBORS;
        f[FEATURE_neighbors_hit] = hit / OCTA_NEIGHBORS;
        f[FEATURE_neighbors_evidence] = present > 0 ? evidence / present : 0;
    }
}

/* ---- coarser cells ---- */

#define POOLED                                                                                               \
    8 /* columns a level, in the order of the coarse columns; the group's last value is its size             \
       */

static void pooled_sources(const octa_extraction *e, const float *row, float *values) {
    const float *f = row + e->history;
    const size_t bins = e->window->options.bins;
    values[0] = row[HISTORY_HITS * bins];
    values[1] = row[HISTORY_PASSES * bins];
    values[2] = row[HISTORY_STATE * bins];
    values[3] = f[FEATURE_hit_share];
    values[4] = f[FEATURE_evidence_recent];
    values[5] = f[FEATURE_observed_bins];
    values[6] = f[FEATURE_log_points];
    values[7] = f[FEATURE_height_in_block];
    values[8] = 1;
}

/* One level: the scratch sites are replaced by their parents, and cells with the same parent are pooled. */
static void pool_level(octa_extraction *e, float *x, int first_column) {
    (void)octa_lattice_parent(&e->parents[0][0], e->count, &e->parents[0][0]); /* all are sites */
    octa_cellmap_clear(&e->groups);
    memset(e->group_values, 0, e->count * OCTA_GROUP_VALUES * sizeof *e->group_values);
    for (size_t i = 0; i < e->count; i++) {
        const int32_t *site = e->parents[i];
        float values[OCTA_GROUP_VALUES];
        pooled_sources(e, x + i * e->width, values);
        e->group_of[i] = octa_cellmap_insert(
            &e->groups, octa_index64_pack(2ull << 62, site[0], site[1], site[2]), (uint32_t)e->groups.used);
        for (int v = 0; v < OCTA_GROUP_VALUES; v++)
            e->group_values[e->group_of[i] * OCTA_GROUP_VALUES + v] += values[v];
    }
    for (size_t i = 0; i < e->count; i++) {
        const float *group = e->group_values + e->group_of[i] * OCTA_GROUP_VALUES;
        for (int v = 0; v < POOLED; v++)
            octa_row_columns(e, x, i)[first_column + v] = group[v] / group[POOLED];
    }
}

void octa_coarse_columns(octa_extraction *e, float *x) {
    memcpy(e->parents, e->sites, e->count * sizeof *e->parents);
    pool_level(e, x, FEATURE_coarse1_hits_0);
    pool_level(e, x, FEATURE_coarse2_hits_0);
}

/* ---- forecast casts ---- */

void octa_cast_columns(octa_extraction *e, float *x) {
    const octa_view *view = e->view;
    octa_cast *cast = &e->cast;
    memset(cast->reach, 0, e->count * sizeof *cast->reach);
    memset(cast->hits, 0, e->count * sizeof *cast->hits);
    for (size_t i = 0; i < e->count; i++)
        e->stop[i] = octa_row_columns(e, x, i)[FEATURE_evidence_recent];
    /* A forecast that leaves the map casts nothing. */
    if (octa_sensor_at(&e->window->options.grid, view->forecast_pose, &cast->sensor) == OCTA_OK)
        octa_cast_run(cast, view->beams, view->beam_count, (const int32_t (*)[3])e->sites, e->stop, e->count);
    const float weight = (float)view->beam_weight;
    for (size_t i = 0; i < e->count; i++) {
        float *f = octa_row_columns(e, x, i), hits = weight * cast->hits[i], reach = weight * cast->reach[i];
        f[FEATURE_cast_hits] = log1pf(hits);
        f[FEATURE_cast_reach] = log1pf(reach);
        f[FEATURE_cast_share] = reach > 0 ? hits / reach : 0;
        f[FEATURE_cast_seen] = 1.0f - expf(-hits);
        f[FEATURE_cast_reached] = cast->reach[i] > 0 ? 1.0f : 0.0f;
    }
}
