/* Records and times from anywhere, in any order: a window always holds together, and a refusal changes
 * nothing. */
#include "../bytes.h"

enum { MOST = 12, STEPS = 10, BIN = 10 };

typedef struct {
    octa_record record;
    uint64_t ids[MOST];
    uint32_t hits[MOST], passes[MOST];
    int32_t sums[MOST * OCTA_SUMS];
} held;

static void take_record(fuzz_bytes *bytes, const octa_grid *grid, held *out) {
    const size_t n = fuzz_ids(bytes, grid, out->ids, MOST);
    const int wild = fuzz_u8(bytes) < 16;
    size_t hit = 0;
    for (size_t i = 0; i < n; i++) {
        out->hits[i] = wild ? fuzz_u32(bytes) : fuzz_up_to(bytes, 3);
        out->passes[i] = wild ? fuzz_u32(bytes) : fuzz_up_to(bytes, 3);
        for (int k = 0; out->hits[i] && k < OCTA_SUMS; k++)
            out->sums[hit * OCTA_SUMS + (size_t)k] =
                wild ? (int32_t)fuzz_u32(bytes) : fuzz_i8(bytes) * 32 * (int32_t)out->hits[i];
        hit += out->hits[i] > 0;
    }
    const int64_t stamp = fuzz_u8(bytes) < 8 ? (int64_t)fuzz_u64(bytes) : 1000 + fuzz_i8(bytes);
    out->record = (octa_record){
        stamp, n, out->ids, out->hits, out->passes, hit - (hit && fuzz_u8(bytes) < 4), out->sums};
}

static void check_valid(const octa_window *window) {
    const char *reason = "none given";
    const int valid = octa_window_validate(window, &reason);
    if (!valid)
        fprintf(stderr, "invalid window: %s\n", reason);
    REQUIRE(valid && !reason);
    REQUIRE(octa_window_active(window) <= octa_window_cells(window));
}

static uint64_t total_hits(const octa_window *window) {
    uint64_t hits[MOST * STEPS], passes[MOST * STEPS], ids[MOST * STEPS], total = 0;
    int64_t sums[MOST * STEPS * OCTA_SUMS];
    const size_t n = octa_window_cells(window);
    REQUIRE(n <= MOST * STEPS);
    REQUIRE(octa_window_export(window, n, ids, hits, passes, sums) == OCTA_OK);
    for (size_t i = 0; i < n; i++) {
        REQUIRE(!i || ids[i] > ids[i - 1]);
        total += hits[i];
    }
    return total;
}

static void check_features(fuzz_bytes *bytes, const octa_window *window, uint32_t bins) {
    enum { WIDTH = 256 };
    static float x[MOST * STEPS * WIDTH];
    static int32_t neighbors[MOST * STEPS * OCTA_NEIGHBORS];
    uint64_t ids[MOST * STEPS];
    uint8_t before[MOST * STEPS];
    int16_t beams[3 * 8];
    octa_view view = {.beam_count = fuzz_up_to(bytes, 8), .beams = beams};
    const size_t n = octa_window_active(window), width = octa_features_count(bins);
    REQUIRE(width <= WIDTH);
    fuzz_pose(bytes, view.pose);
    fuzz_pose(bytes, view.forecast_pose);
    view.speed_mps = fuzz_double(bytes);
    view.yaw_rate_rps = fuzz_double(bytes);
    view.beam_weight = fuzz_up_to(bytes, 200);
    fuzz_take(bytes, beams, sizeof beams);
    if (octa_window_features(window, &view, n, ids, x, neighbors, before) != OCTA_OK)
        return;
    for (size_t i = 0; i < n * width; i++)
        REQUIRE(isfinite(x[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    held record;
    char name[64];
    const octa_window_options options = {.grid = {0.4, 3, 1, 7, 0.0, 60.0, 1.0},
                                         .bin_ns = fuzz_u8(&bytes) < 8 ? (int64_t)fuzz_u64(&bytes) : BIN,
                                         .bins = (uint32_t)fuzz_up_to(&bytes, 5),
                                         .keep_bins = (uint32_t)fuzz_up_to(&bytes, 4),
                                         .max_records = (uint32_t)fuzz_up_to(&bytes, 6),
                                         .max_cells = (uint32_t)fuzz_up_to(&bytes, 30)};
    octa_window *window;
    if (octa_window_new(&options, &window) != OCTA_OK)
        return 0;
    for (int step = 0; step < STEPS && bytes.left; step++) {
        const uint64_t before = total_hits(window);
        uint64_t evicted = 77;
        if (fuzz_u8(&bytes) < 32) {
            (void)octa_window_advance(window, 1000 + fuzz_i8(&bytes));
        } else {
            take_record(&bytes, &options.grid, &record);
            if (octa_window_push(window, &record.record, &evicted) != OCTA_OK)
                REQUIRE(evicted == 77 && total_hits(window) == before);
        }
        check_valid(window);
        REQUIRE(octa_window_records(window) <= options.max_records);
    }
    if (bytes.left)
        check_features(&bytes, window, options.bins);
    (void)octa_features_name(options.bins, fuzz_u8(&bytes), name, fuzz_up_to(&bytes, 63));
    octa_window_free(window);
    return 0;
}
