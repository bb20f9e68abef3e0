/* Texts from anywhere: what is read as an id is that id's one text, up to its case. */
#include "../bytes.h"

#include <ctype.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char text[OCTA_INDEX64_TEXT];
    uint64_t id = 7;
    const octa_error error = octa_index64_from_text((const char *)data, size, &id);
    REQUIRE(error == OCTA_OK || error == OCTA_E_TEXT || error == OCTA_E_ID || error == OCTA_E_PARITY);
    if (error != OCTA_OK) {
        REQUIRE(id == 7);
        return 0;
    }
    REQUIRE(size == sizeof text && octa_index64_to_text(id, text) == OCTA_OK);
    for (size_t i = 0; i < size; i++)
        REQUIRE(tolower(data[i]) == text[i]);
    return 0;
}
