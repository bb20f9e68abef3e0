/* Bech32m (BIP 350) of a value's big-endian bytes, with a prefix of four characters: groups of 5 bits, the
 * most significant first, zero bits to fill the last, then 6 groups of checksum. One value has one string. */
#ifndef OCTA_BECH32M_H
#define OCTA_BECH32M_H

#include "internal.h"

#define OCTA_BECH32M_PREFIX 4
#define OCTA_BECH32M_CHECK 6
#define OCTA_BECH32M_MAX_BYTES 16

/* Groups that hold so many bytes. */
static inline size_t octa_bech32m_groups(size_t bytes) { return (8 * bytes + 4) / 5; }

/* Characters of the text of so many bytes, with its separator. */
static inline size_t octa_bech32m_length(size_t bytes) {
    return OCTA_BECH32M_PREFIX + 1 + octa_bech32m_groups(bytes) + OCTA_BECH32M_CHECK;
}

/** Write octa_bech32m_length(count) characters in lower case, no terminator; count <= OCTA_BECH32M_MAX_BYTES.
 */
void octa_bech32m_write(const char *prefix, const uint8_t *bytes, size_t count, char *text);

/** Read octa_bech32m_length(count) characters in one case; bytes stay as they are on error.
 *  @return OCTA_E_TEXT for another prefix, character, checksum or constant, or for stray padding */
octa_error octa_bech32m_read(const char *prefix, const char *text, size_t count, uint8_t *bytes);

#endif
