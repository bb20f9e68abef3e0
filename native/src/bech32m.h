/* Bech32m (BIP 350) of a value of one or two words, with a prefix of four characters: groups of 5 bits, the
 * most significant first, zero bits to fill the last, then 6 groups of checksum. One value has one string. */
#ifndef OCTA_BECH32M_H
#define OCTA_BECH32M_H

#include "internal.h"

#define OCTA_BECH32M_PREFIX 4
#define OCTA_BECH32M_CHECK 6
#define OCTA_BECH32M_MAX_WORDS 2

/* Groups that hold so many words of 64 bits. */
static inline size_t octa_bech32m_groups(size_t words) { return (64 * words + 4) / 5; }

/* Characters of the text of so many words, with its separator. */
static inline size_t octa_bech32m_length(size_t words) {
    return OCTA_BECH32M_PREFIX + 1 + octa_bech32m_groups(words) + OCTA_BECH32M_CHECK;
}

/** Write octa_bech32m_length(count) characters in lower case, no terminator.
 *  @param words  count, at most OCTA_BECH32M_MAX_WORDS, the high one first */
void octa_bech32m_write(const char *prefix, const uint64_t *words, size_t count, char *text);

/** Read octa_bech32m_length(count) characters in one case; words stay as they are on error.
 *  @return OCTA_E_TEXT for another prefix, character, checksum or constant, or for stray padding */
octa_error octa_bech32m_read(const char *prefix, const char *text, size_t count, uint64_t *words);

#endif
