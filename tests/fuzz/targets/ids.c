/* Ids of the kinds beside Index64, from any bits and from any fields: what decodes encodes to the same id,
 * the tree is its own inverse, and what one kind gives to another comes back. */
#include "../bytes.h"

static void check_route(uint64_t id, fuzz_bytes *bytes) {
    int32_t site[3];
    uint8_t tier;
    uint64_t back;
    const octa_error error = octa_route64_decode(&id, 1, site, &tier);
    REQUIRE(error == OCTA_OK || error == OCTA_E_ID || error == OCTA_E_PARITY);
    REQUIRE(octa_route64_decode(&id, 1, site, NULL) == error);
    const uint8_t frame = fuzz_u8(bytes), lod = fuzz_u8(bytes);
    if (error == OCTA_OK)
        REQUIRE(octa_route64_encode(site, 1, tier, &back) == OCTA_OK && back == id);
    const octa_error other = octa_route64_to_index64(&id, 1, frame, lod, &back);
    if (other == OCTA_OK)
        REQUIRE(octa_route64_from_index64(&back, 1, &back) == OCTA_OK && back == id);
    else
        REQUIRE(other == error || other == OCTA_E_RANGE || lod > 15);
}

static int same(const uint64_t *a, const uint64_t *b) { return a[0] == b[0] && a[1] == b[1]; }

static void check_galactic_tree(const uint64_t *id) {
    uint64_t parent[2], children[16], parents[16];
    if (octa_galactic128_children(id, 1, children) == OCTA_OK) {
        REQUIRE(octa_galactic128_parent(children, 8, parents) == OCTA_OK);
        for (int i = 0; i < 8; i++)
            REQUIRE(same(parents + 2 * i, id));
    }
    if (octa_galactic128_parent(id, 1, parent) != OCTA_OK ||
        octa_galactic128_children(parent, 1, children) != OCTA_OK)
        return;
    int found = 0;
    for (int i = 0; i < 8; i++)
        found += same(children + 2 * i, id);
    REQUIRE(found == 1);
}

static void check_galactic(const uint64_t *id) {
    int32_t site[3];
    octa_galactic128_fields fields;
    uint64_t back[2], index;
    const octa_error error = octa_galactic128_decode(id, 1, site, &fields);
    REQUIRE(error == OCTA_OK || error == OCTA_E_ID || error == OCTA_E_PARITY);
    REQUIRE(octa_galactic128_decode(id, 1, site, NULL) == error);
    if (error == OCTA_OK) {
        REQUIRE(octa_galactic128_encode(site, 1, &fields, back) == OCTA_OK && same(back, id));
        check_galactic_tree(id);
    } else
        REQUIRE(octa_galactic128_parent(id, 1, back) == error);
    if (octa_galactic128_to_index64(id, 1, &index) == OCTA_OK) {
        REQUIRE(octa_galactic128_from_index64(&index, 1, fields.scale_mant, fields.attr_usr, back) ==
                OCTA_OK);
        REQUIRE(same(back, id));
    }
}

static void check_hilbert(uint64_t id) {
    const uint64_t low = id & ((1ull << 48) - 1);
    uint64_t index, back;
    const octa_error error = octa_hilbert64_to_index64(&id, 1, &index);
    REQUIRE(error == OCTA_OK || error == OCTA_E_ID || error == OCTA_E_PARITY);
    if (error == OCTA_OK)
        REQUIRE(octa_hilbert64_from_index64(&index, 1, &back) == OCTA_OK && back == id);
    REQUIRE(octa_hilbert64_keys(&low, 1, &back) == OCTA_OK);
    REQUIRE(octa_hilbert64_morton(&back, 1, &back) == OCTA_OK && back == low);
    REQUIRE(octa_hilbert64_morton(&low, 1, &back) == OCTA_OK);
    REQUIRE(octa_hilbert64_keys(&back, 1, &back) == OCTA_OK && back == low);
    REQUIRE((octa_hilbert64_keys(&id, 1, &back) == OCTA_OK) == (id == low));
    REQUIRE((octa_hilbert64_morton(&id, 1, &back) == OCTA_OK) == (id == low));
}

static void check_index(uint64_t id, fuzz_bytes *bytes) {
    enum { LEVELS = 3, MOST = 512 };
    const uint8_t lod = (uint8_t)(id >> 48 & 15), levels = (uint8_t)fuzz_up_to(bytes, LEVELS);
    uint64_t found[MOST], above[MOST], back;
    if (octa_index64_ancestor(&id, 1, fuzz_u8(bytes), &back) == OCTA_OK)
        REQUIRE((back >> 48 & 15) <= lod);
    if (octa_index64_descendants(&id, 1, levels, found) != OCTA_OK)
        return;
    const size_t count = (size_t)1 << 3 * levels;
    REQUIRE(octa_index64_ancestor(found, count, lod, above) == OCTA_OK);
    for (size_t i = 0; i < count; i++)
        REQUIRE(above[i] == id);
}

/* Any bits, mostly those of a site of the kind. */
static uint64_t bits_of(fuzz_bytes *bytes, uint64_t header, uint64_t parity) {
    const uint64_t id = fuzz_u64(bytes);
    if (fuzz_u8(bytes) >= 192)
        return id;
    return (id & ~(3ull << 62 | parity)) | header << 62 | (id & 1 ? parity : 0);
}

static void check_fields(fuzz_bytes *bytes) {
    int32_t site[3];
    uint64_t id[2];
    for (int axis = 0; axis < 3; axis++)
        site[axis] = (int32_t)fuzz_u32(bytes) >> fuzz_up_to(bytes, 31);
    const octa_galactic128_fields fields = {fuzz_u8(bytes), fuzz_u8(bytes), fuzz_u8(bytes), fuzz_u8(bytes),
                                            fuzz_u8(bytes)};
    if (octa_route64_encode(site, 1, fields.scale_tier, id) == OCTA_OK)
        check_route(*id, bytes);
    if (octa_galactic128_encode(site, 1, &fields, id) == OCTA_OK)
        check_galactic(id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    check_route(bits_of(&bytes, 1, 1ull << 40 | 1ull << 20 | 1), &bytes);
    uint64_t galactic[2] = {fuzz_u64(&bytes), fuzz_u64(&bytes)};
    if (fuzz_u8(&bytes) < 192) {
        galactic[0] = (galactic[0] & ~(15ull << 36 | 1)) | 1ull << 36 | (galactic[1] & 1);
        galactic[1] = (galactic[1] & ~(1ull << 32)) | (galactic[1] & 1) << 32;
    }
    check_galactic(galactic);
    check_hilbert(bits_of(&bytes, 3, 7));
    check_index(bits_of(&bytes, 2, 7), &bytes);
    check_fields(&bytes);
    return 0;
}
