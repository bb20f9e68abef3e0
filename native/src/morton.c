#include "morton.h"

OCTA_HOT static void pack(const int32_t *sites, size_t n, uint64_t prefix, uint64_t *ids) {
    for (size_t i = 0; i < n; i++)
        ids[i] = octa_index64_pack(prefix, sites[3 * i], sites[3 * i + 1], sites[3 * i + 2]);
}

OCTA_HOT static void unpack(const uint64_t *ids, size_t n, int32_t *sites) {
    for (size_t i = 0; i < n; i++)
        octa_index64_unpack(ids[i], sites + 3 * i, sites + 3 * i + 1, sites + 3 * i + 2);
}

void octa_morton_pack(const int32_t *sites, size_t n, uint64_t prefix, uint64_t *ids) {
    size_t done = 0;
#ifdef OCTA_HAVE_AVX2
    if (octa_has_avx2())
        done = octa_morton_pack_avx2(sites, n, prefix, ids);
#endif
    pack(sites + 3 * done, n - done, prefix, ids + done);
}

void octa_morton_unpack(const uint64_t *ids, size_t n, int32_t *sites) {
    size_t done = 0;
#ifdef OCTA_HAVE_AVX2
    if (octa_has_avx2())
        done = octa_morton_unpack_avx2(ids, n, sites);
#endif
    unpack(ids + done, n - done, sites + 3 * done);
}
