/* Points with times from anywhere, moved between knots from anywhere. */
#include "../bytes.h"

enum { MOST = 12, KNOTS = 5 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    float points[3 * MOST], out[3 * MOST];
    int32_t offset_ns[MOST], knot_ns[KNOTS];
    double poses[7 * KNOTS], matrix[12];
    const size_t n = fuzz_up_to(&bytes, MOST), knots = fuzz_up_to(&bytes, KNOTS);
    const uint8_t kind = fuzz_u8(&bytes);
    int32_t at = (int32_t)fuzz_u32(&bytes) >> kind % 32;
    for (size_t k = 0; k < knots; k++) {
        knot_ns[k] = at;
        at = (int32_t)((uint32_t)at + fuzz_u32(&bytes) % (1u << kind % 31));
        fuzz_pose(&bytes, matrix);
        if (fuzz_u8(&bytes) < 16 || octa_pose_vector(matrix, poses + 7 * k) != OCTA_OK)
            fuzz_doubles(&bytes, poses + 7 * k, 7);
    }
    fuzz_floats(&bytes, points, 3 * n);
    for (size_t i = 0; i < n; i++) {
        const int64_t first = knots ? knot_ns[0] : 0, last = knots ? knot_ns[knots - 1] : 0;
        const int64_t inside = first + (last - first) * fuzz_u8(&bytes) / 255;
        offset_ns[i] = kind < 16 ? (int32_t)fuzz_u32(&bytes) : (int32_t)inside;
    }
    memset(out, 0x55, sizeof out);
    if (octa_deskew(points, offset_ns, n, knot_ns, poses, knots, out) != OCTA_OK) {
        for (size_t i = 0; i < sizeof out; i++)
            REQUIRE(((const unsigned char *)out)[i] == 0x55);
        return 0;
    }
    for (size_t i = 0; i < 3 * n; i++)
        REQUIRE(isfinite(out[i]) || memcmp(out + i, points + i, sizeof *out) == 0);
    return 0;
}
