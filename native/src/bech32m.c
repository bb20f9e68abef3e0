#include "bech32m.h"

#include <string.h>

#define HEAD (OCTA_BECH32M_PREFIX + 1) /* with the separator */
#define MAX_GROUPS ((8 * OCTA_BECH32M_MAX_BYTES + 4) / 5 + OCTA_BECH32M_CHECK)
#define CONSTANT 0x2bc830a3u

static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/* What the five bits that leave at the top put back, by their value. */
#define BIT(value, i, generator) ((value) >> (i) & 1 ? (generator) : 0u)
#define BACK(value)                                                                                          \
    (BIT(value, 0, 0x3b6a57b2u) ^ BIT(value, 1, 0x26508e6du) ^ BIT(value, 2, 0x1ea119fau) ^                  \
     BIT(value, 3, 0x3d4233ddu) ^ BIT(value, 4, 0x2a1462b3u))
#define BACK4(value) BACK(value), BACK((value) + 1), BACK((value) + 2), BACK((value) + 3)

static const uint32_t back[32] = {BACK4(0),  BACK4(4),  BACK4(8),  BACK4(12),
                                  BACK4(16), BACK4(20), BACK4(24), BACK4(28)};

static inline uint32_t step(uint32_t sum, uint32_t value) {
    return ((sum & 0x1ffffffu) << 5 ^ value) ^ back[sum >> 25];
}

static uint32_t checksum(const char *prefix, const uint8_t *groups, size_t count) {
    uint32_t sum = 1;
    for (size_t i = 0; i < OCTA_BECH32M_PREFIX; i++)
        sum = step(sum, (uint32_t)prefix[i] >> 5);
    sum = step(sum, 0);
    for (size_t i = 0; i < OCTA_BECH32M_PREFIX; i++)
        sum = step(sum, (uint32_t)prefix[i] & 31u);
    for (size_t i = 0; i < count; i++)
        sum = step(sum, groups[i]);
    return sum;
}

void octa_bech32m_write(const char *prefix, const uint8_t *bytes, size_t count, char *text) {
    const size_t data = octa_bech32m_groups(count), all = data + OCTA_BECH32M_CHECK;
    uint8_t groups[MAX_GROUPS] = {0};
    for (size_t bit = 0; bit < 8 * count; bit++) {
        const unsigned set = bytes[bit / 8] >> (7 - bit % 8) & 1u;
        groups[bit / 5] |= (uint8_t)(set << (4 - bit % 5));
    }
    const uint32_t sum = checksum(prefix, groups, all) ^ CONSTANT;
    for (size_t i = 0; i < OCTA_BECH32M_CHECK; i++)
        groups[data + i] = (uint8_t)(sum >> 5 * (OCTA_BECH32M_CHECK - 1 - i) & 31u);
    memcpy(text, prefix, OCTA_BECH32M_PREFIX);
    text[OCTA_BECH32M_PREFIX] = '1';
    for (size_t i = 0; i < all; i++)
        text[HEAD + i] = alphabet[groups[i]];
}

/* Lower-case copy of a text in one case; by hand, because tolower reads the locale. */
static octa_error lower(const char *text, size_t length, char *out) {
    int has_lower = 0, has_upper = 0;
    for (size_t i = 0; i < length; i++) {
        const int is_upper = text[i] >= 'A' && text[i] <= 'Z';
        has_upper |= is_upper;
        has_lower |= text[i] >= 'a' && text[i] <= 'z';
        out[i] = is_upper ? (char)(text[i] - 'A' + 'a') : text[i];
    }
    return has_lower && has_upper ? OCTA_E_TEXT : OCTA_OK;
}

octa_error octa_bech32m_read(const char *prefix, const char *text, size_t count, uint8_t *bytes) {
    const size_t data = octa_bech32m_groups(count), all = data + OCTA_BECH32M_CHECK;
    char plain[HEAD + MAX_GROUPS];
    uint8_t groups[MAX_GROUPS];
    OCTA_TRY(lower(text, HEAD + all, plain));
    if (memcmp(plain, prefix, OCTA_BECH32M_PREFIX) != 0 || plain[OCTA_BECH32M_PREFIX] != '1')
        return OCTA_E_TEXT;
    for (size_t i = 0; i < all; i++) {
        const char *at = memchr(alphabet, plain[HEAD + i], sizeof alphabet - 1);
        if (!at)
            return OCTA_E_TEXT;
        groups[i] = (uint8_t)(at - alphabet);
    }
    const unsigned padding = (unsigned)(5 * data - 8 * count);
    if (checksum(prefix, groups, all) != CONSTANT || groups[data - 1] & ((1u << padding) - 1))
        return OCTA_E_TEXT;
    memset(bytes, 0, count);
    for (size_t bit = 0; bit < 8 * count; bit++) {
        const unsigned set = groups[bit / 5] >> (4 - bit % 5) & 1u;
        bytes[bit / 8] |= (uint8_t)(set << (7 - bit % 8));
    }
    return OCTA_OK;
}
