/* Checks of the C tests: the first failure prints its place and ends the program. */
#ifndef OCTA_TEST_CHECK_H
#define OCTA_TEST_CHECK_H

#include "octa.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                          \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

#define CHECK_CODE(call, expected)                                                                           \
    do {                                                                                                     \
        octa_error check_code = (call);                                                                      \
        if (check_code != (expected)) {                                                                      \
            fprintf(stderr, "%s:%d: %s: expected %s, got: %s\n", __FILE__, __LINE__, #call, #expected,       \
                    octa_describe_error(check_code));                                                        \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

#define CHECK_OK(call) CHECK_CODE(call, OCTA_OK)

void test_lattice(void);
void test_index64(void);
void test_ids(void);
void test_rings(void);
void test_regions(void);
void test_pose(void);
void test_deskew(void);
void test_grid(void);
void test_binner(void);
void test_rays(void);
void test_beams(void);
void test_neighbor_table(void);
void test_coarse(void);
void test_window(void);
void test_features(void);
void test_container(void);
void test_freecells(void);
void test_search(void);
void test_gather(void);
void test_invalid(void);
void test_memory(void);
void test_container_memory(void);

#endif
