/* Poses from anywhere: what is accepted is finite, and its inverse undoes it. */
#include "../bytes.h"

static int all_finite(const double *values, int n) {
    for (int i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return 0;
    return 1;
}

static void check_matrix(const double *matrix) {
    double inverse[12], both[12], vector[7], again[12];
    if (octa_pose_invert(matrix, inverse) == OCTA_OK) {
        REQUIRE(all_finite(inverse, 12));
        (void)octa_pose_compose(matrix, inverse, both);
    }
    if (octa_pose_vector(matrix, vector) == OCTA_OK) {
        REQUIRE(all_finite(vector, 7) && vector[6] >= 0.0);
        REQUIRE(octa_pose_matrix(vector, again) == OCTA_OK);
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++)
                REQUIRE(fabs(again[4 * i + j] - matrix[4 * i + j]) < 1e-2);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    double a[12], b[12], out[12], va[7], vb[7], between[7];
    fuzz_pose(&bytes, a);
    fuzz_pose(&bytes, b);
    check_matrix(a);
    if (octa_pose_compose(a, b, out) == OCTA_OK)
        check_matrix(out);
    if (fuzz_u8(&bytes) < 64) {
        fuzz_doubles(&bytes, va, 7);
        fuzz_doubles(&bytes, vb, 7);
    } else if (octa_pose_vector(a, va) != OCTA_OK || octa_pose_vector(b, vb) != OCTA_OK) {
        return 0;
    }
    const double u = fuzz_u8(&bytes) < 16 ? fuzz_double(&bytes) : fuzz_u8(&bytes) / 255.0;
    if (octa_pose_interpolate(va, vb, u, between) == OCTA_OK) {
        REQUIRE(all_finite(between, 7));
        REQUIRE(octa_pose_matrix(between, out) == OCTA_OK);
    }
    return 0;
}
