/* Ids and their text at the ends of their ranges; nothing is written when a call fails. */
#include "check.h"

#include <string.h>

#define SITE_ID 0x80050000044e8d40ull
#define SITE_TEXT "i3d11sqzsqqqyf6x5qvpj6d3"

static void test_round_trip(void) {
    const int32_t sites[9] = {-32768, 32766, 0, 32767, -32767, 1, 0, 0, 0};
    int32_t back[9];
    uint64_t ids[3];
    uint8_t frames[3], tiers[3], lods[3];
    CHECK_OK(octa_index64_encode(sites, 3, 255, 3, 15, ids));
    CHECK_OK(octa_index64_decode(ids, 3, back, frames, tiers, lods));
    CHECK(memcmp(sites, back, sizeof sites) == 0);
    CHECK(frames[2] == 255 && tiers[2] == 3 && lods[2] == 15);
    CHECK_OK(octa_index64_decode(ids, 3, back, NULL, NULL, NULL));
    CHECK_OK(octa_index64_decode(NULL, 0, NULL, NULL, NULL, NULL));
}

static void test_encode_refuses(void) {
    const int32_t mixed[6] = {0, 0, 0, 1, 0, 0}, far[6] = {0, 0, 0, 32768, 0, 0};
    const int32_t farther[3] = {INT32_MIN, 0, INT32_MAX - 1};
    uint64_t ids[2] = {5, 5};
    CHECK_CODE(octa_index64_encode(mixed, 2, 0, 0, 0, ids), OCTA_E_PARITY);
    CHECK_CODE(octa_index64_encode(far, 2, 0, 0, 0, ids), OCTA_E_RANGE);
    CHECK_CODE(octa_index64_encode(farther, 1, 0, 0, 0, ids), OCTA_E_RANGE);
    CHECK_CODE(octa_index64_encode(mixed, 1, 0, 4, 0, ids), OCTA_E_DOMAIN);
    CHECK_CODE(octa_index64_encode(mixed, 1, 0, 0, 16, ids), OCTA_E_DOMAIN);
    CHECK(ids[0] == 5 && ids[1] == 5);
}

static void test_tree(void) {
    const int32_t sites[6] = {-16384, 16382, 0, 16381, -16383, -1};
    uint64_t ids[2], children[2 * OCTA_CHILDREN], parents[2 * OCTA_CHILDREN];
    CHECK_OK(octa_index64_encode(sites, 2, 9, 2, 14, ids));
    CHECK_OK(octa_index64_children(ids, 2, children));
    CHECK_OK(octa_index64_parent(children, 2 * OCTA_CHILDREN, parents));
    for (int i = 0; i < 2 * OCTA_CHILDREN; i++)
        CHECK(parents[i] == ids[i / OCTA_CHILDREN]);
    CHECK_OK(octa_index64_parent(children, 2 * OCTA_CHILDREN, children)); /* in place */
    CHECK(memcmp(children, parents, sizeof children) == 0);
}

static void test_tree_refuses(void) {
    const int32_t middle[3] = {0, 0, 0}, edge[3] = {16384, 0, 0};
    uint64_t top, bottom, far, out[OCTA_CHILDREN] = {0};
    CHECK_OK(octa_index64_encode(middle, 1, 0, 0, 0, &top));
    CHECK_OK(octa_index64_encode(middle, 1, 0, 0, 15, &bottom));
    CHECK_OK(octa_index64_encode(edge, 1, 0, 0, 3, &far));
    const uint64_t header = top ^ 1ull << 62, mixed = top ^ 1;
    CHECK_CODE(octa_index64_parent(&top, 1, out), OCTA_E_LOD);
    CHECK_CODE(octa_index64_parent(&header, 1, out), OCTA_E_ID);
    CHECK_CODE(octa_index64_parent(&mixed, 1, out), OCTA_E_PARITY);
    CHECK_CODE(octa_index64_children(&bottom, 1, out), OCTA_E_LOD);
    CHECK_CODE(octa_index64_children(&far, 1, out), OCTA_E_RANGE);
    CHECK_CODE(octa_index64_children(&header, 1, out), OCTA_E_ID);
    CHECK_CODE(octa_index64_children(&mixed, 1, out), OCTA_E_PARITY);
    int32_t site[3] = {4, 4, 4};
    CHECK_CODE(octa_index64_decode(&header, 1, site, NULL, NULL, NULL), OCTA_E_ID);
    CHECK_CODE(octa_index64_decode(&mixed, 1, site, NULL, NULL, NULL), OCTA_E_PARITY);
    CHECK(site[0] == 4 && out[0] == 0);
}

static void test_text(void) {
    /* Exactly as long as it must be, so that one character too many is seen. */
    char *text = malloc(OCTA_INDEX64_TEXT);
    CHECK(text);
    uint64_t id = 1;
    CHECK_OK(octa_index64_to_text(SITE_ID, text));
    CHECK(memcmp(text, SITE_TEXT, OCTA_INDEX64_TEXT) == 0);
    CHECK_OK(octa_index64_from_text(text, OCTA_INDEX64_TEXT, &id));
    CHECK(id == SITE_ID);
    id = 1;
    for (int place = 0; place < OCTA_INDEX64_TEXT; place++)
        for (int c = 0; c < 256; c++) {
            char keep = text[place];
            if ((char)c == keep)
                continue;
            text[place] = (char)c;
            CHECK_CODE(octa_index64_from_text(text, OCTA_INDEX64_TEXT, &id), OCTA_E_TEXT);
            text[place] = keep;
        }
    for (size_t length = 0; length < OCTA_INDEX64_TEXT; length++)
        CHECK_CODE(octa_index64_from_text(text, length, &id), OCTA_E_TEXT);
    CHECK_CODE(octa_index64_to_text(SITE_ID ^ 1, text), OCTA_E_PARITY);
    CHECK_CODE(octa_index64_to_text(5, text), OCTA_E_ID);
    CHECK(id == 1 && memcmp(text, SITE_TEXT, OCTA_INDEX64_TEXT) == 0);
    free(text);
}

/* Valid checksums all the same: a padding bit that is set, and plain bech32. */
static void test_text_is_strict(void) {
    uint64_t id = 1;
    CHECK_CODE(octa_index64_from_text("i3d11sqzsqqqyf6x5p3hx0sr", OCTA_INDEX64_TEXT, &id), OCTA_E_TEXT);
    CHECK_CODE(octa_index64_from_text("i3d11sqzsqqqyf6x5qeazkgn", OCTA_INDEX64_TEXT, &id), OCTA_E_TEXT);
    CHECK_OK(octa_index64_from_text("I3D11SQZSQQQYF6X5QVPJ6D3", OCTA_INDEX64_TEXT, &id));
    CHECK(id == SITE_ID);
}

void test_index64(void) {
    test_round_trip();
    test_encode_refuses();
    test_tree();
    test_tree_refuses();
    test_text();
    test_text_is_strict();
}
