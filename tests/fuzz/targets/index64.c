/* Ids from anywhere: whatever decodes encodes to the same id, and the tree is its own inverse. */
#include "../bytes.h"

static void check_tree(uint64_t id) {
    uint64_t parent, children[8], parents[8];
    if (octa_index64_children(&id, 1, children) == OCTA_OK) {
        REQUIRE(octa_index64_parent(children, 8, parents) == OCTA_OK);
        for (int i = 0; i < 8; i++)
            REQUIRE(parents[i] == id);
    }
    if (octa_index64_parent(&id, 1, &parent) == OCTA_OK &&
        octa_index64_children(&parent, 1, children) == OCTA_OK) {
        int found = 0;
        for (int i = 0; i < 8; i++)
            found += children[i] == id;
        REQUIRE(found == 1);
    }
}

static void check_text(uint64_t id) {
    char text[OCTA_INDEX64_TEXT];
    uint64_t back;
    REQUIRE(octa_index64_to_text(id, text) == OCTA_OK);
    REQUIRE(octa_index64_from_text(text, sizeof text, &back) == OCTA_OK && back == id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    uint64_t id = fuzz_u64(&bytes), back;
    if (fuzz_u8(&bytes) < 192)
        id = (id & ~(7ull | 3ull << 62)) | 2ull << 62 | (id & 1 ? 7 : 0);
    int32_t site[3];
    uint8_t frame, tier, lod;
    const octa_error error = octa_index64_decode(&id, 1, site, &frame, &tier, &lod);
    REQUIRE(error == OCTA_OK || error == OCTA_E_ID || error == OCTA_E_PARITY);
    REQUIRE((error == OCTA_OK) == (octa_index64_decode(&id, 1, site, NULL, NULL, NULL) == OCTA_OK));
    if (error == OCTA_OK) {
        REQUIRE(octa_index64_encode(site, 1, frame, tier, lod, &back) == OCTA_OK && back == id);
        check_tree(id);
        check_text(id);
    } else {
        char text[OCTA_INDEX64_TEXT];
        REQUIRE(octa_index64_to_text(id, text) == error);
        REQUIRE(octa_index64_parent(&id, 1, &back) == error);
    }
    for (int axis = 0; axis < 3; axis++)
        site[axis] = (int32_t)fuzz_u32(&bytes) >> fuzz_up_to(&bytes, 31);
    if (octa_index64_encode(site, 1, fuzz_u8(&bytes), fuzz_u8(&bytes), fuzz_u8(&bytes), &back) == OCTA_OK)
        check_tree(back);
    return 0;
}
