/* Runs the C tests; built with OCTA_TEST_ALLOC it also runs those in which allocation fails. */
#include "check.h"

#include <string.h>

static void test_errors(void) {
    for (octa_error code = 0; code < OCTA_ERROR_END; code++) {
        CHECK(strlen(octa_describe_error(code)) > 0);
        CHECK(strcmp(octa_describe_error(code), "unknown error") != 0);
    }
    CHECK(strcmp(octa_describe_error(OCTA_ERROR_END), "unknown error") == 0);
    CHECK(strcmp(octa_describe_error(UINT32_MAX), "unknown error") == 0);
}

int main(void) {
    test_errors();
    test_lattice();
    test_index64();
    test_ids();
    test_rings();
    test_regions();
    test_pose();
    test_deskew();
    test_grid();
    test_binner();
    test_rays();
    test_beams();
    test_neighbor_table();
    test_coarse();
    test_window();
    test_features();
    test_container();
    test_freecells();
    test_search();
    test_gather();
    test_invalid();
#ifdef OCTA_TEST_ALLOC
    test_memory();
#endif
    puts("all C tests passed");
    return 0;
}
