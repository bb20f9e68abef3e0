/* Points from anywhere: every one is accounted for, and their order does not matter. */
#include "../bytes.h"

enum { MOST = 40 };

typedef struct {
    octa_bin_counts counts;
    size_t cells;
    uint64_t ids[MOST];
    uint32_t hits[MOST];
    int32_t sums[MOST * OCTA_SUMS], rows[MOST];
} result;

static octa_error run(octa_binner *binner, const float *points, const float *intensity, size_t n,
                      const double *pose, result *out) {
    memset(out, 0, sizeof *out);
    const octa_error error = octa_binner_run(binner, points, intensity, n, pose, &out->counts, &out->cells);
    if (error != OCTA_OK)
        return error;
    REQUIRE(out->cells <= n);
    if (out->cells)
        REQUIRE(octa_binner_copy(binner, out->cells - 1, out->ids, out->hits, out->sums) == OCTA_E_CAPACITY);
    REQUIRE(octa_binner_copy(binner, out->cells, out->ids, out->hits, out->sums) == OCTA_OK);
    REQUIRE(octa_binner_point_rows(binner, n, out->rows) == OCTA_OK);
    return OCTA_OK;
}

static void check(const octa_grid *grid, const result *r, size_t n) {
    const octa_bin_counts *c = &r->counts;
    uint64_t hits[MOST] = {0};
    REQUIRE(c->binned + c->not_finite + c->out_of_range + c->off_map == n);
    REQUIRE(c->rays + c->not_finite <= n && c->intensity_clamped <= c->binned);
    for (size_t i = 0; i < n; i++) {
        REQUIRE(r->rows[i] >= -1 && r->rows[i] < (int64_t)r->cells);
        if (r->rows[i] >= 0)
            hits[r->rows[i]]++;
    }
    for (size_t i = 0; i < r->cells; i++) {
        int32_t site[3];
        uint8_t frame, tier, lod;
        REQUIRE(octa_index64_decode(r->ids + i, 1, site, &frame, &tier, &lod) == OCTA_OK);
        REQUIRE(frame == grid->frame && tier == grid->tier && lod == grid->lod);
        REQUIRE(hits[i] == r->hits[i] && hits[i] && (!i || r->ids[i] > r->ids[i - 1]));
        for (int k = 0; k < OCTA_SUMS; k++)
            REQUIRE(abs(r->sums[i * OCTA_SUMS + (size_t)k]) <= (int32_t)hits[i] * OCTA_FIXED_ONE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    static result one, two;
    float points[3 * MOST], intensity[MOST];
    double pose[12];
    const octa_grid grid = fuzz_grid(&bytes);
    octa_binner *binner;
    if (octa_binner_new(&grid, &binner) != OCTA_OK)
        return 0;
    fuzz_pose(&bytes, pose);
    const size_t n = fuzz_up_to(&bytes, MOST);
    fuzz_floats(&bytes, points, 3 * n);
    fuzz_floats(&bytes, intensity, n);
    if (run(binner, points, intensity, n, pose, &one) == OCTA_OK) {
        check(&grid, &one, n);
        for (size_t i = 0, j = n; i + 1 < j--; i++) { /* backwards */
            for (int axis = 0; axis < 3; axis++) {
                const float swap = points[3 * i + (size_t)axis];
                points[3 * i + (size_t)axis] = points[3 * j + (size_t)axis];
                points[3 * j + (size_t)axis] = swap;
            }
            const float swap = intensity[i];
            intensity[i] = intensity[j];
            intensity[j] = swap;
        }
        REQUIRE(run(binner, points, intensity, n, pose, &two) == OCTA_OK);
        REQUIRE(memcmp(&one, &two, offsetof(result, rows)) == 0);
        for (size_t i = 0; i < n; i++)
            REQUIRE(one.rows[i] == two.rows[n - 1 - i]);
    }
    octa_binner_free(binner);
    return 0;
}
