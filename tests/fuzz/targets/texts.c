/* Texts from anywhere, of every kind and in arrays: what is read is written as it was read, up to its case.
 */
#include "../bytes.h"

#include <ctype.h>

enum { MOST = 4 };

/* How the texts of a kind are read and written, and the words of an id. */
typedef struct {
    octa_error (*read)(const char *texts, size_t n, uint64_t *ids);
    octa_error (*write)(const uint64_t *ids, size_t n, char *texts);
    size_t length, words;
    const char *prefix;
} kind;

static const kind kinds[] = {
    {octa_index64_from_texts, octa_index64_to_texts, OCTA_INDEX64_TEXT, 1, "i3d11"},
    {octa_route64_from_texts, octa_route64_to_texts, OCTA_ROUTE64_TEXT, 1, "r3d11"},
    {octa_galactic128_from_texts, octa_galactic128_to_texts, OCTA_GALACTIC128_TEXT, 2, "g3d11"},
};

static void check_texts(const kind *k, const char *texts, size_t n) {
    uint64_t ids[2 * MOST] = {0};
    char back[MOST * OCTA_GALACTIC128_TEXT];
    const octa_error error = k->read(texts, n, ids);
    REQUIRE(error == OCTA_OK || error == OCTA_E_TEXT || error == OCTA_E_ID || error == OCTA_E_PARITY);
    if (error != OCTA_OK)
        return;
    REQUIRE(k->write(ids, n, back) == OCTA_OK);
    for (size_t i = 0; i < n * k->length; i++)
        REQUIRE(tolower((uint8_t)texts[i]) == back[i]);
}

/* Any bits as an id: its text, if it has one, is read as the same id, and with one character changed as none.
 */
static void check_ids(const kind *k, fuzz_bytes *bytes) {
    uint64_t id[2], back[2];
    char text[OCTA_GALACTIC128_TEXT];
    fuzz_take(bytes, id, sizeof id);
    if (k->write(id, 1, text) != OCTA_OK)
        return;
    REQUIRE(k->read(text, 1, back) == OCTA_OK && memcmp(id, back, k->words * sizeof *id) == 0);
    const size_t at = fuzz_u8(bytes) % k->length;
    const char other = (char)fuzz_u8(bytes), was = text[at];
    text[at] = other;
    REQUIRE(other == was || k->read(text, 1, back) == OCTA_E_TEXT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    const kind *k = &kinds[fuzz_up_to(&bytes, 2)];
    const size_t n = fuzz_up_to(&bytes, MOST);
    check_ids(k, &bytes);
    char texts[MOST * OCTA_GALACTIC128_TEXT];
    fuzz_take(&bytes, texts, n * k->length);
    if (fuzz_u8(&bytes) < 128)
        for (size_t i = 0; i < n; i++)
            memcpy(texts + i * k->length, k->prefix, 5);
    check_texts(k, texts, n);
    return 0;
}
