/* Shells about ids from anywhere: as many cells as there should be, each as far away as its shell says. */
#include "../bytes.h"

enum { MOST = 4, CELLS = 9 * 9 * 9 };

static uint32_t shell_of(size_t at, uint32_t first) {
    uint32_t shell = first;
    while (at >= octa_rings_count(first, shell))
        shell++;
    return shell;
}

static void check_offsets(uint32_t first, uint32_t last) {
    static const int32_t zeros[3 * CELLS];
    int32_t offsets[3 * CELLS];
    uint32_t distances[CELLS];
    const size_t count = octa_rings_count(first, last);
    REQUIRE(count <= CELLS);
    REQUIRE(octa_rings_offsets(first, last, offsets) == (first > last ? OCTA_E_DOMAIN : OCTA_OK));
    REQUIRE(octa_lattice_distance(zeros, offsets, count, distances) == OCTA_OK);
    for (size_t i = 0; i < count; i++)
        REQUIRE(distances[i] == shell_of(i, first));
}

static uint64_t count_of(uint64_t k) { return (k + 1) * (k + 1) * (k + 1) * (k + 1) - k * k * k * k; }

static void check_counts(uint32_t first, uint32_t last) {
    const size_t count = octa_rings_count(first, last);
    if (first > last || last > OCTA_RINGS_MAX)
        REQUIRE(count == 0 && octa_rings_offsets(first, last, NULL) == OCTA_E_DOMAIN);
    else
        REQUIRE(count == count_of(last) - (first ? count_of(first - 1) : 0));
}

static void check_cells(const uint64_t *ids, size_t count, const int32_t *center, uint32_t first,
                        octa_error decode(const uint64_t *, size_t, int32_t *), size_t words) {
    for (size_t i = 0; i < count; i++) {
        int32_t site[3];
        uint32_t distance;
        if (!ids[words * i])
            continue; /* beyond the map */
        REQUIRE(decode(ids + words * i, 1, site) == OCTA_OK);
        REQUIRE(octa_lattice_distance(center, site, 1, &distance) == OCTA_OK);
        REQUIRE(distance == shell_of(i, first));
    }
}

static octa_error index_site(const uint64_t *id, size_t n, int32_t *site) {
    return octa_index64_decode(id, n, site, NULL, NULL, NULL);
}

static octa_error route_site(const uint64_t *id, size_t n, int32_t *site) {
    return octa_route64_decode(id, n, site, NULL);
}

static octa_error galactic_site(const uint64_t *id, size_t n, int32_t *site) {
    return octa_galactic128_decode(id, n, site, NULL);
}

typedef octa_error shells_of(const uint64_t *ids, size_t n, uint32_t first, uint32_t last, uint64_t *out);
typedef octa_error site_of(const uint64_t *ids, size_t n, int32_t *site);

static void check_kind(const uint64_t *id, shells_of *shells, site_of *decode, uint32_t first, uint32_t last,
                       size_t words) {
    static uint64_t out[2 * CELLS];
    int32_t center[3];
    const octa_error error = decode(id, 1, center), got = shells(id, 1, first, last, out);
    if (first > last)
        REQUIRE(got == OCTA_E_DOMAIN || got == error);
    else
        REQUIRE(got == error);
    if (got == OCTA_OK)
        check_cells(out, octa_rings_count(first, last), center, first, decode, words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, size};
    const uint32_t first = (uint32_t)fuzz_up_to(&bytes, MOST), last = (uint32_t)fuzz_up_to(&bytes, MOST);
    static const uint64_t headers[3] = {2, 1, 0};
    const size_t kind = fuzz_up_to(&bytes, 2);
    uint64_t id[2] = {fuzz_u64(&bytes), fuzz_u64(&bytes)};
    const int plain = fuzz_u8(&bytes) < 224;
    if (plain && kind < 2)
        id[0] = (id[0] & ~(3ull << 62)) | headers[kind] << 62;
    if (plain && kind == 2)
        id[0] = (id[0] & ~(15ull << 36)) | 1ull << 36;
    check_offsets(first, last);
    check_counts(fuzz_u32(&bytes) >> fuzz_up_to(&bytes, 31), fuzz_u32(&bytes) >> fuzz_up_to(&bytes, 31));
    if (kind == 0)
        check_kind(id, octa_index64_shells, index_site, first, last, 1);
    else if (kind == 1)
        check_kind(id, octa_route64_shells, route_site, first, last, 1);
    else
        check_kind(id, octa_galactic128_shells, galactic_site, first, last, 2);
    return 0;
}
