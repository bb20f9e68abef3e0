#include "bech32m.h"

#include <string.h>

#define HEAD (OCTA_BECH32M_PREFIX + 1) /* with the separator */
#define MAX_GROUPS ((64 * OCTA_BECH32M_MAX_WORDS + 4) / 5 + OCTA_BECH32M_CHECK)
#define CONSTANT 0x2bc830a3u
#define CASE_BIT ('a' ^ 'A')
#define NONE 255

static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/* Place of a character in the alphabet, either case. */
static const uint8_t place_of[128] = {
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    15,   NONE, 10,   17,   21,   20,   26,   30,   7,    5,    NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, 29,   NONE, 24,   13,   25,   9,    8,    23,   NONE, 18,   22,   31,   27,   19,   NONE,
    1,    0,    3,    16,   11,   28,   12,   14,   6,    4,    2,    NONE, NONE, NONE, NONE, NONE,
    NONE, 29,   NONE, 24,   13,   25,   9,    8,    23,   NONE, 18,   22,   31,   27,   19,   NONE,
    1,    0,    3,    16,   11,   28,   12,   14,   6,    4,    2,    NONE, NONE, NONE, NONE, NONE,
};

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

/* The words as a queue of bits, the next five at the top. */
static void to_groups(const uint64_t *words, size_t count, uint8_t *groups) {
    uint64_t high = words[0], low = count > 1 ? words[1] : 0;
    for (size_t i = 0; i < octa_bech32m_groups(count); i++) {
        groups[i] = (uint8_t)(high >> 59);
        high = high << 5 | low >> 59;
        low <<= 5;
    }
}

/* Back, from the last group, whose padding leaves below; nothing is left of what is pushed out above. */
static void from_groups(const uint8_t *groups, size_t count, uint64_t *words) {
    const size_t data = octa_bech32m_groups(count);
    const unsigned padding = (unsigned)(5 * data - 64 * count);
    uint64_t high = 0, low = 0;
    for (size_t i = 0; i < data; i++) {
        const unsigned bits = i + 1 < data ? 5 : 5 - padding;
        high = high << bits | low >> (64 - bits);
        low = low << bits | groups[i] >> (5 - bits);
    }
    words[0] = count > 1 ? high : low;
    if (count > 1)
        words[1] = low;
}

void octa_bech32m_write(const char *prefix, const uint64_t *words, size_t count, char *text) {
    const size_t data = octa_bech32m_groups(count), all = data + OCTA_BECH32M_CHECK;
    uint8_t groups[MAX_GROUPS] = {0};
    to_groups(words, count, groups);
    const uint32_t sum = checksum(prefix, groups, all) ^ CONSTANT;
    for (size_t i = 0; i < OCTA_BECH32M_CHECK; i++)
        groups[data + i] = (uint8_t)(sum >> 5 * (OCTA_BECH32M_CHECK - 1 - i) & 31u);
    memcpy(text, prefix, OCTA_BECH32M_PREFIX);
    text[OCTA_BECH32M_PREFIX] = '1';
    for (size_t i = 0; i < all; i++)
        text[HEAD + i] = alphabet[groups[i]];
}

static inline int is_between(char c, char first, char last) { return c >= first && c <= last; }

/* By hand, because what the locale calls a letter does not matter. */
static int is_one_case(const char *text, size_t length) {
    int has_lower = 0, has_upper = 0;
    for (size_t i = 0; i < length; i++) {
        has_lower |= is_between(text[i], 'a', 'z');
        has_upper |= is_between(text[i], 'A', 'Z');
    }
    return !(has_lower && has_upper);
}

static int has_head(const char *prefix, const char *text) {
    for (size_t i = 0; i < OCTA_BECH32M_PREFIX; i++) {
        const char c = is_between(text[i], 'A', 'Z') ? (char)(text[i] ^ CASE_BIT) : text[i];
        if (c != prefix[i])
            return 0;
    }
    return text[OCTA_BECH32M_PREFIX] == '1';
}

octa_error octa_bech32m_read(const char *prefix, const char *text, size_t count, uint64_t *words) {
    const size_t data = octa_bech32m_groups(count), all = data + OCTA_BECH32M_CHECK;
    const unsigned padding = (1u << (5 * data - 64 * count)) - 1;
    uint8_t groups[MAX_GROUPS], seen = 0;
    if (!has_head(prefix, text) || !is_one_case(text, HEAD + all))
        return OCTA_E_TEXT;
    for (size_t i = 0; i < all; i++) {
        const uint8_t c = (uint8_t)text[HEAD + i];
        groups[i] = c < 128 ? place_of[c] : NONE;
        seen |= groups[i];
    }
    if (seen == NONE || checksum(prefix, groups, all) != CONSTANT || groups[data - 1] & padding)
        return OCTA_E_TEXT;
    from_groups(groups, count, words);
    return OCTA_OK;
}
