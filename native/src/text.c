/* Ids of every kind as texts, whole arrays at once; either all are written or none. */
#include "bech32m.h"
#include "galactic128.h"
#include "index64.h"
#include "route64.h"

#define INDEX64 "i3d1"
#define ROUTE64 "r3d1"
#define GALACTIC128 "g3d1"

_Static_assert(OCTA_INDEX64_TEXT == OCTA_BECH32M_PREFIX + 1 + 13 + OCTA_BECH32M_CHECK, "64 bits: 13 groups");
_Static_assert(OCTA_ROUTE64_TEXT == OCTA_INDEX64_TEXT, "as long as an Index64");
_Static_assert(OCTA_GALACTIC128_TEXT == OCTA_BECH32M_PREFIX + 1 + 26 + OCTA_BECH32M_CHECK,
               "128 bits: 26 groups");

/* How a kind is written, and what makes words one of its ids. */
typedef struct {
    const char *prefix;
    size_t words;
    octa_error (*check_all)(const uint64_t *ids, size_t n);
} kind;

static const kind kinds[] = {{INDEX64, 1, octa_index64_check_all},
                             {ROUTE64, 1, octa_route64_check_all},
                             {GALACTIC128, 2, octa_galactic128_check_all}};
enum { KIND_INDEX64, KIND_ROUTE64, KIND_GALACTIC128 };

static octa_error write_all(const kind *k, const uint64_t *ids, size_t n, char *texts) {
    const size_t length = octa_bech32m_length(k->words);
    OCTA_TRY(k->check_all(ids, n));
    for (size_t i = 0; i < n; i++)
        octa_bech32m_write(k->prefix, ids + i * k->words, k->words, texts + i * length);
    return OCTA_OK;
}

static octa_error read_one(const kind *k, const char *text, uint64_t *id) {
    OCTA_TRY(octa_bech32m_read(k->prefix, text, k->words, id));
    return k->check_all(id, 1);
}

/* Read twice: the ids stay as they are unless every text is good. */
static octa_error read_all(const kind *k, const char *texts, size_t n, uint64_t *ids) {
    const size_t length = octa_bech32m_length(k->words);
    uint64_t id[OCTA_BECH32M_MAX_WORDS];
    for (size_t i = 0; i < n; i++)
        OCTA_TRY(read_one(k, texts + i * length, id));
    for (size_t i = 0; i < n; i++)
        OCTA_TRY(octa_bech32m_read(k->prefix, texts + i * length, k->words, ids + i * k->words));
    return OCTA_OK;
}

octa_error octa_index64_to_texts(const uint64_t *ids, size_t n, char *texts) {
    return write_all(&kinds[KIND_INDEX64], ids, n, texts);
}

octa_error octa_index64_from_texts(const char *texts, size_t n, uint64_t *ids) {
    return read_all(&kinds[KIND_INDEX64], texts, n, ids);
}

octa_error octa_route64_to_texts(const uint64_t *ids, size_t n, char *texts) {
    return write_all(&kinds[KIND_ROUTE64], ids, n, texts);
}

octa_error octa_route64_from_texts(const char *texts, size_t n, uint64_t *ids) {
    return read_all(&kinds[KIND_ROUTE64], texts, n, ids);
}

octa_error octa_galactic128_to_texts(const uint64_t *ids, size_t n, char *texts) {
    return write_all(&kinds[KIND_GALACTIC128], ids, n, texts);
}

octa_error octa_galactic128_from_texts(const char *texts, size_t n, uint64_t *ids) {
    return read_all(&kinds[KIND_GALACTIC128], texts, n, ids);
}

octa_error octa_index64_to_text(uint64_t id, char *text) { return octa_index64_to_texts(&id, 1, text); }

octa_error octa_index64_from_text(const char *text, size_t length, uint64_t *id) {
    return length == OCTA_INDEX64_TEXT ? octa_index64_from_texts(text, 1, id) : OCTA_E_TEXT;
}
