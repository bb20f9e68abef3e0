#include "pool.h"

#include <string.h>

octa_error octa_pool_begin(octa_pool *pool, size_t n) {
    const size_t cells = n + 1,
                 cell = 3 * sizeof(int32_t) + (OCTA_POOLED + 1) * sizeof(float) + sizeof(uint32_t);
    memset(pool, 0, sizeof *pool);
    char *memory = OCTA_MALLOC(OCTA_POOL_LEVELS * cells * cell);
    if (!memory || octa_cellmap_reserve(&pool->map, cells)) {
        OCTA_FREE(memory);
        return OCTA_E_MEMORY;
    }
    pool->memory = memory;
    for (int i = 0; i < OCTA_POOL_LEVELS; i++, memory += cells * cell) {
        octa_pool_level *level = &pool->levels[i];
        level->sites = (int32_t (*)[3])memory;
        level->mean = (float (*)[OCTA_POOLED])(level->sites + cells);
        level->size = (float *)(level->mean + cells);
        level->cell_of = (uint32_t *)(level->size + cells);
    }
    return OCTA_OK;
}

void octa_pool_end(octa_pool *pool) {
    octa_cellmap_free(&pool->map);
    OCTA_FREE(pool->memory);
    memset(pool, 0, sizeof *pool);
}

/* The level's cell above each of n cells; a new one starts from nothing. */
static void find_parents(octa_pool *pool, octa_pool_level *level, const int32_t (*sites)[3], size_t n,
                         uint32_t *parent_of) {
    octa_cellmap_clear(&pool->map);
    level->count = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t *fresh = level->sites[level->count];
        (void)octa_lattice_parent(sites[i], 1, fresh); /* all are sites */
        if (i && !memcmp(fresh, level->sites[parent_of[i - 1]], sizeof *level->sites)) {
            parent_of[i] =
                parent_of[i - 1]; /* cells come in the order of their ids: siblings often in a row */
            continue;
        }
        const uint64_t key = octa_index64_pack(2ull << 62, fresh[0], fresh[1], fresh[2]);
        parent_of[i] = octa_cellmap_insert(&pool->map, key, (uint32_t)level->count);
        level->count += parent_of[i] == level->count;
    }
    memset(level->mean, 0, level->count * sizeof *level->mean);
    memset(level->size, 0, level->count * sizeof *level->size);
}

static void add_up(octa_pool_level *level, const uint32_t *parent_of, const float (*values)[OCTA_POOLED],
                   const float *size, size_t n) {
    for (size_t i = 0; i < n; i++) {
        for (int v = 0; v < OCTA_POOLED; v++)
            level->mean[parent_of[i]][v] += values[i][v];
        level->size[parent_of[i]] += size ? size[i] : 1.0f;
    }
}

static void take_means(octa_pool_level *level) {
    for (size_t i = 0; i < level->count; i++)
        for (int v = 0; v < OCTA_POOLED; v++)
            level->mean[i][v] /= level->size[i];
}

void octa_pool_run(octa_pool *pool, const int32_t (*sites)[3], const float (*values)[OCTA_POOLED], size_t n) {
    octa_pool_level *parents = &pool->levels[0], *grandparents = &pool->levels[1];
    find_parents(pool, parents, sites, n, parents->cell_of);
    add_up(parents, parents->cell_of, values, NULL, n);
    /* What the parents have summed is not summed again: their cells are those of their own parent. */
    find_parents(pool, grandparents, (const int32_t (*)[3])parents->sites, parents->count,
                 grandparents->cell_of);
    add_up(grandparents, grandparents->cell_of, (const float (*)[OCTA_POOLED])parents->mean, parents->size,
           parents->count);
    for (size_t i = n; i-- > 0;) /* from the back: parents come no later than their cells */
        grandparents->cell_of[i] = grandparents->cell_of[parents->cell_of[i]];
    take_means(parents);
    take_means(grandparents);
}
