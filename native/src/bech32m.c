/* The text form of an Index64: bech32m (BIP 350) with the prefix i3d1.
 *
 * 13 groups of 5 bits hold 64 bits and one padding bit, 6 more the checksum. One value has one string. */
#include "internal.h"

#include <string.h>

#define PREFIX "i3d1"
#define PREFIX_LENGTH 4
#define HEAD (PREFIX_LENGTH + 1) /* with the separator */
#define GROUPS 13
#define CHECK 6
#define BECH32M 0x2bc830a3u

static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

static uint32_t step(uint32_t sum, uint32_t value) {
    static const uint32_t generator[5] = {0x3b6a57b2u, 0x26508e6du, 0x1ea119fau, 0x3d4233ddu, 0x2a1462b3u};
    uint32_t top = sum >> 25;
    sum = (sum & 0x1ffffffu) << 5 ^ value;
    for (int i = 0; i < 5; i++)
        if (top >> i & 1u)
            sum ^= generator[i];
    return sum;
}

static uint32_t checksum(const uint8_t *groups, size_t count) {
    uint32_t sum = 1;
    for (int i = 0; i < PREFIX_LENGTH; i++)
        sum = step(sum, (uint32_t)PREFIX[i] >> 5);
    sum = step(sum, 0);
    for (int i = 0; i < PREFIX_LENGTH; i++)
        sum = step(sum, (uint32_t)PREFIX[i] & 31u);
    for (size_t i = 0; i < count; i++)
        sum = step(sum, groups[i]);
    return sum;
}

static octa_error check_value(uint64_t id) {
    int32_t site[3];
    return octa_index64_decode(&id, 1, site, NULL, NULL, NULL);
}

octa_error octa_index64_to_text(uint64_t id, char *text) {
    OCTA_TRY(check_value(id));
    uint8_t groups[GROUPS + CHECK] = {0};
    for (int i = 0; i < GROUPS - 1; i++)
        groups[i] = (uint8_t)(id >> (59 - 5 * i) & 31u);
    groups[GROUPS - 1] = (uint8_t)(id << 1 & 31u);
    uint32_t sum = checksum(groups, GROUPS + CHECK) ^ BECH32M;
    for (int i = 0; i < CHECK; i++)
        groups[GROUPS + i] = (uint8_t)(sum >> 5 * (CHECK - 1 - i) & 31u);
    memcpy(text, PREFIX "1", HEAD);
    for (int i = 0; i < GROUPS + CHECK; i++)
        text[HEAD + i] = alphabet[groups[i]];
    return OCTA_OK;
}

/* Lower-case copy of a text in one case; by hand, because tolower reads the locale. */
static octa_error lower(const char *text, char *out) {
    int has_lower = 0, has_upper = 0;
    for (int i = 0; i < OCTA_INDEX64_TEXT; i++) {
        int is_upper = text[i] >= 'A' && text[i] <= 'Z';
        has_upper |= is_upper;
        has_lower |= text[i] >= 'a' && text[i] <= 'z';
        out[i] = is_upper ? (char)(text[i] - 'A' + 'a') : text[i];
    }
    return has_lower && has_upper ? OCTA_E_TEXT : OCTA_OK;
}

octa_error octa_index64_from_text(const char *text, size_t length, uint64_t *id) {
    char plain[OCTA_INDEX64_TEXT];
    uint8_t groups[GROUPS + CHECK];
    if (length != OCTA_INDEX64_TEXT)
        return OCTA_E_TEXT;
    OCTA_TRY(lower(text, plain));
    if (memcmp(plain, PREFIX "1", HEAD) != 0)
        return OCTA_E_TEXT;
    for (int i = 0; i < GROUPS + CHECK; i++) {
        const char *at = memchr(alphabet, plain[HEAD + i], sizeof alphabet - 1);
        if (!at)
            return OCTA_E_TEXT;
        groups[i] = (uint8_t)(at - alphabet);
    }
    if (checksum(groups, GROUPS + CHECK) != BECH32M || groups[GROUPS - 1] & 1u)
        return OCTA_E_TEXT;
    uint64_t value = 0;
    for (int i = 0; i < GROUPS - 1; i++)
        value = value << 5 | groups[i];
    value = value << 4 | groups[GROUPS - 1] >> 1;
    OCTA_TRY(check_value(value));
    *id = value;
    return OCTA_OK;
}
