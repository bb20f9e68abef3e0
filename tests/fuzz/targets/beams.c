/* Points from anywhere: beams stay within the buffer and have unit length. */
#include "../bytes.h"

enum { MOST = 70 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    float points[3 * MOST];
    const size_t n = fuzz_up_to(&bytes, MOST), capacity = fuzz_up_to(&bytes, MOST + 1);
    size_t count = 0;
    fuzz_floats(&bytes, points, 3 * n);
    int16_t *beams = malloc(3 * capacity * sizeof *beams + 1);
    REQUIRE(beams);
    if (octa_beams_sample(points, n, capacity, beams, &count) == OCTA_OK) {
        REQUIRE(count <= capacity && count <= n);
        for (size_t i = 0; i < count; i++) {
            double square = 0.0;
            for (int axis = 0; axis < 3; axis++)
                square += (double)beams[3 * i + (size_t)axis] * beams[3 * i + (size_t)axis];
            REQUIRE(fabs(sqrt(square) / OCTA_BEAM_ONE - 1.0) < 1e-3);
        }
    } else {
        REQUIRE(capacity == 0);
    }
    free(beams);
    return 0;
}
