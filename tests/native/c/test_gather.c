/* Rows of a table: those that were asked for, or none at all. */
#include "check.h"

enum { ROWS = 30, WIDTH = 37, N = 25 };

void test_gather(void) {
    static float table[ROWS * WIDTH], out[N * WIDTH];
    int64_t index[N];
    for (int i = 0; i < ROWS * WIDTH; i++)
        table[i] = (float)i;
    for (int i = 0; i < N; i++)
        index[i] = i * 17 % ROWS;
    CHECK_OK(octa_gather(table, ROWS, WIDTH, index, N, out));
    for (int i = 0; i < N * WIDTH; i++)
        CHECK(out[i] == (float)(index[i / WIDTH] * WIDTH + i % WIDTH));
    CHECK_OK(octa_gather(table, ROWS, 0, index, N, out));
    CHECK_OK(octa_gather(table, 0, WIDTH, index, 0, out));
    const int64_t bad[] = {-1, ROWS, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        index[N - 1] = bad[i];
        out[0] = -5.0f;
        CHECK_CODE(octa_gather(table, ROWS, WIDTH, index, N, out), OCTA_E_DOMAIN);
        CHECK(out[0] == -5.0f);
    }
}
