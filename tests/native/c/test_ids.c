/* Route64, Galactic128 and Hilbert64, arrays of texts, and the tree across LODs, at the ends of their ranges.
 */
#include "check.h"

#include <string.h>

#define ROUTE_MIN (-524288)
#define ROUTE_MAX 524287

static void *exactly(size_t size) {
    void *block = malloc(size); /* no byte more, so that one too many is seen */
    CHECK(block);
    return block;
}

static void test_route64(void) {
    const int32_t sites[9] = {ROUTE_MIN, ROUTE_MAX - 1, 0, ROUTE_MAX, ROUTE_MIN + 1, 1, 0, 0, 0};
    const int32_t far[6] = {0, 0, 0, 0, ROUTE_MAX + 1, 0}, mixed[6] = {0, 0, 0, 1, 0, 0};
    const int32_t farther[3] = {INT32_MIN, 0, INT32_MAX - 1};
    int32_t back[9];
    uint64_t ids[3], index64[3] = {7, 7, 7};
    uint8_t tiers[3];
    CHECK_OK(octa_route64_encode(sites, 3, 3, ids));
    CHECK(ids[2] == (7ull << 60));
    CHECK_OK(octa_route64_decode(ids, 3, back, tiers));
    CHECK(memcmp(sites, back, sizeof sites) == 0 && tiers[1] == 3);
    CHECK_OK(octa_route64_decode(ids, 3, back, NULL));
    CHECK_OK(octa_route64_decode(NULL, 0, NULL, NULL));
    CHECK_CODE(octa_route64_to_index64(ids, 3, 0, 0, index64), OCTA_E_RANGE);
    CHECK_CODE(octa_route64_to_index64(ids + 2, 1, 0, 16, index64), OCTA_E_DOMAIN);
    CHECK(index64[0] == 7);
    CHECK_OK(octa_route64_to_index64(ids + 2, 1, 250, 9, index64));
    CHECK_OK(octa_route64_from_index64(index64, 1, index64)); /* in place */
    CHECK(index64[0] == ids[2]);
    CHECK_CODE(octa_route64_from_index64(index64, 1, index64), OCTA_E_ID);
    CHECK_CODE(octa_route64_encode(far, 2, 0, index64), OCTA_E_RANGE);
    CHECK_CODE(octa_route64_encode(farther, 1, 0, index64), OCTA_E_RANGE);
    CHECK_CODE(octa_route64_encode(mixed, 2, 0, index64), OCTA_E_PARITY);
    CHECK_CODE(octa_route64_encode(sites, 3, 4, index64), OCTA_E_DOMAIN);
    ids[1] ^= 1;
    memset(back, 0x55, sizeof back);
    CHECK_CODE(octa_route64_decode(ids, 3, back, NULL), OCTA_E_PARITY);
    ids[0] ^= 1ull << 63;
    CHECK_CODE(octa_route64_decode(ids, 3, back, NULL), OCTA_E_ID);
    CHECK(back[0] == 0x55555555);
}

static void test_galactic128(void) {
    const octa_galactic128_fields fields = {255, 254, 3, 63, 15}, top = {1, 2, 3, 0, 5};
    const octa_galactic128_fields bad[] = {{0, 0, 4, 0, 0}, {0, 0, 0, 64, 0}, {0, 0, 0, 0, 16}};
    const int32_t sites[6] = {INT32_MIN, INT32_MAX - 1, 0, INT32_MAX, INT32_MIN + 1, -1},
                  mixed[3] = {0, 1, 0};
    int32_t back[6];
    uint64_t ids[4], out[2 * OCTA_CHILDREN] = {0};
    octa_galactic128_fields fields_back[2];
    CHECK_OK(octa_galactic128_encode(sites, 2, &fields, ids));
    CHECK_OK(octa_galactic128_decode(ids, 2, back, fields_back));
    CHECK(memcmp(sites, back, sizeof sites) == 0 && memcmp(&fields, fields_back + 1, sizeof fields) == 0);
    CHECK_OK(octa_galactic128_decode(ids, 2, back, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_CODE(octa_galactic128_encode(sites, 2, bad + i, out), OCTA_E_DOMAIN);
    CHECK_CODE(octa_galactic128_encode(mixed, 1, &fields, out), OCTA_E_PARITY);
    CHECK_CODE(octa_galactic128_children(ids, 2, out), OCTA_E_LOD);
    CHECK_CODE(octa_galactic128_to_index64(ids, 2, out), OCTA_E_LOD);
    CHECK_OK(octa_galactic128_parent(ids, 2, ids));                   /* in place */
    CHECK_CODE(octa_galactic128_children(ids, 2, out), OCTA_E_RANGE); /* of the second: y - 1 */
    CHECK_OK(octa_galactic128_encode(sites, 1, &top, ids));
    CHECK_CODE(octa_galactic128_parent(ids, 1, out), OCTA_E_LOD);
    CHECK_CODE(octa_galactic128_to_index64(ids, 1, out), OCTA_E_RANGE);
    ids[0] ^= 1;
    CHECK_CODE(octa_galactic128_decode(ids, 1, back, NULL), OCTA_E_PARITY);
    ids[0] ^= 1ull << 36;
    CHECK_CODE(octa_galactic128_decode(ids, 1, back, NULL), OCTA_E_ID);
    CHECK(out[0] == 0);
}

static void test_galactic128_and_index64(void) {
    const int32_t site[3] = {-32768, 32766, 0};
    uint64_t index64, back, id[2] = {9, 9}, children[2 * OCTA_CHILDREN], parents[2 * OCTA_CHILDREN];
    CHECK_OK(octa_index64_encode(site, 1, 200, 2, 15, &index64));
    CHECK_CODE(octa_galactic128_from_index64(&index64, 1, 0, 16, id), OCTA_E_DOMAIN);
    CHECK(id[0] == 9 && id[1] == 9);
    CHECK_OK(octa_galactic128_from_index64(&index64, 1, 77, 3, id));
    CHECK_OK(octa_galactic128_to_index64(id, 1, &back));
    CHECK(back == index64);
    CHECK_OK(octa_galactic128_children(id, 1, children));
    CHECK_OK(octa_galactic128_parent(children, OCTA_CHILDREN, parents));
    for (int k = 0; k < OCTA_CHILDREN; k++)
        CHECK(parents[2 * k] == id[0] && parents[2 * k + 1] == id[1]);
}

static void test_hilbert64(void) {
    const int32_t sites[6] = {-32768, 32766, 0, 32767, -32767, 1};
    uint64_t index64[2], ids[2], back[2] = {5, 5};
    CHECK_OK(octa_index64_encode(sites, 2, 255, 3, 15, index64));
    CHECK_OK(octa_hilbert64_from_index64(index64, 2, ids));
    CHECK(ids[0] >> 48 == 0xffff);
    CHECK_CODE(octa_hilbert64_from_index64(ids, 2, back), OCTA_E_ID);
    CHECK_CODE(octa_hilbert64_to_index64(index64, 2, back), OCTA_E_ID);
    ids[1] ^= 1;
    CHECK_CODE(octa_hilbert64_to_index64(ids, 2, back), OCTA_E_PARITY);
    CHECK(back[0] == 5 && back[1] == 5);
    ids[1] ^= 1;
    CHECK_OK(octa_hilbert64_to_index64(ids, 2, ids)); /* in place */
    CHECK(memcmp(ids, index64, sizeof ids) == 0);
    for (uint64_t digit = 0; digit < 8; digit++) {
        const uint64_t code = digit << 45 | digit << 3, gray = digit ^ digit >> 1;
        uint64_t key, again;
        CHECK_OK(octa_hilbert64_keys(&code, 1, &key));
        CHECK(key == (gray << 45 | gray << 3));
        CHECK_OK(octa_hilbert64_morton(&key, 1, &again));
        CHECK(again == code);
    }
    const uint64_t wide = 1ull << 48;
    CHECK_CODE(octa_hilbert64_keys(&wide, 1, back), OCTA_E_DOMAIN);
    CHECK_CODE(octa_hilbert64_morton(&wide, 1, back), OCTA_E_DOMAIN);
    CHECK(back[0] == 5);
}

static void test_texts(void) {
    const octa_galactic128_fields fields = {1, 2, 3, 4, 5};
    const int32_t sites[6] = {-32768, 32766, 0, 32767, -32767, 1};
    uint64_t ids[2], routes[2], wide[4], back[4] = {6, 6, 6, 6};
    char *texts = exactly(2 * OCTA_INDEX64_TEXT), *galactic = exactly(2 * OCTA_GALACTIC128_TEXT);
    CHECK_OK(octa_index64_encode(sites, 2, 255, 3, 15, ids));
    CHECK_OK(octa_route64_encode(sites, 2, 3, routes));
    CHECK_OK(octa_galactic128_encode(sites, 2, &fields, wide));
    CHECK_OK(octa_index64_to_texts(ids, 2, texts));
    texts[OCTA_INDEX64_TEXT + 7] ^= 1;
    CHECK_CODE(octa_index64_from_texts(texts, 2, back), OCTA_E_TEXT);
    texts[OCTA_INDEX64_TEXT + 7] ^= 1;
    CHECK(back[0] == 6);
    CHECK_CODE(octa_route64_from_texts(texts, 2, back), OCTA_E_TEXT);
    CHECK_OK(octa_index64_from_texts(texts, 2, back));
    CHECK(memcmp(back, ids, sizeof ids) == 0);
    CHECK_OK(octa_route64_to_texts(routes, 2, texts));
    CHECK_OK(octa_route64_from_texts(texts, 2, back));
    CHECK(memcmp(back, routes, sizeof routes) == 0);
    CHECK_OK(octa_galactic128_to_texts(wide, 2, galactic));
    CHECK_OK(octa_galactic128_from_texts(galactic, 2, back));
    CHECK(memcmp(back, wide, sizeof wide) == 0);
    for (int place = 0; place < OCTA_GALACTIC128_TEXT; place++) {
        galactic[place] ^= 2;
        CHECK_CODE(octa_galactic128_from_texts(galactic, 2, back), OCTA_E_TEXT);
        galactic[place] ^= 2;
    }
    CHECK_CODE(octa_index64_to_texts(routes, 2, texts), OCTA_E_ID);
    CHECK_CODE(octa_route64_to_texts(ids, 2, texts), OCTA_E_ID);
    wide[3] ^= 1;
    CHECK_CODE(octa_galactic128_to_texts(wide, 2, galactic), OCTA_E_PARITY);
    free(texts);
    free(galactic);
}

static void test_levels(void) {
    enum { LEVELS = 3, EACH = 512 };
    /* As far out as three levels leave room: -2^15 / 8, and 14 below the top after three steps up. */
    const int32_t sites[6] = {-4096, 4094, -4094, 1, -1, 3}, far[3] = {0, -4096, 0};
    uint64_t ids[2], out, *down = exactly(2 * EACH * sizeof *down);
    CHECK_OK(octa_index64_encode(sites, 2, 1, 1, 12, ids));
    CHECK_OK(octa_index64_descendants(ids, 2, LEVELS, down));
    CHECK_OK(octa_index64_ancestor(down, 2 * EACH, 12, down)); /* in place */
    for (int i = 0; i < 2 * EACH; i++)
        CHECK(down[i] == ids[i / EACH]);
    down[0] = 3;
    CHECK_CODE(octa_index64_descendants(ids, 2, LEVELS + 1, down), OCTA_E_LOD);
    CHECK_CODE(octa_index64_descendants(ids, 2, 16, down), OCTA_E_DOMAIN);
    CHECK_CODE(octa_index64_ancestor(ids, 2, 13, down), OCTA_E_LOD);
    CHECK_CODE(octa_index64_ancestor(ids, 2, 16, down), OCTA_E_DOMAIN);
    CHECK_OK(octa_index64_encode(far, 1, 0, 0, 0, &out));
    CHECK_CODE(octa_index64_descendants(&out, 1, LEVELS, down), OCTA_E_RANGE);
    ids[1] ^= 1;
    CHECK_CODE(octa_index64_descendants(ids, 2, 1, down), OCTA_E_PARITY);
    CHECK_CODE(octa_index64_ancestor(ids, 2, 0, down), OCTA_E_PARITY);
    CHECK(down[0] == 3);
    free(down);
}

void test_ids(void) {
    test_route64();
    test_galactic128();
    test_galactic128_and_index64();
    test_hilbert64();
    test_texts();
    test_levels();
}
