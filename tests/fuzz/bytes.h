/* Foreign bytes as the arguments of the core, and checks that end a run. Bytes that are not there are zero.
 */
#ifndef OCTA_FUZZ_BYTES_H
#define OCTA_FUZZ_BYTES_H

#include "octa.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                          \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    const uint8_t *at;
    size_t left;
} fuzz_bytes;

static inline void fuzz_take(fuzz_bytes *bytes, void *out, size_t size) {
    const size_t have = size < bytes->left ? size : bytes->left;
    memset(out, 0, size);
    if (have)
        memcpy(out, bytes->at, have);
    bytes->at += have;
    bytes->left -= have;
}

static inline uint8_t fuzz_u8(fuzz_bytes *bytes) {
    uint8_t value;
    fuzz_take(bytes, &value, sizeof value);
    return value;
}

static inline int8_t fuzz_i8(fuzz_bytes *bytes) { return (int8_t)fuzz_u8(bytes); }

static inline uint32_t fuzz_u32(fuzz_bytes *bytes) {
    uint32_t value;
    fuzz_take(bytes, &value, sizeof value);
    return value;
}

static inline uint64_t fuzz_u64(fuzz_bytes *bytes) {
    uint64_t value;
    fuzz_take(bytes, &value, sizeof value);
    return value;
}

/* 0 .. most, most at most 255 */
static inline size_t fuzz_up_to(fuzz_bytes *bytes, size_t most) { return fuzz_u8(bytes) % (most + 1); }

/* Mostly values near cells and their faces; some that only a broken sender would send. */
static const double fuzz_odd[] = {NAN,   INFINITY, -INFINITY, 0.0,      -0.0,     1e-310,   -1e-40,
                                  1e30,  -1e30,    3e38,      1e4,      -10001.0, 2.5e8,    1e6,
                                  1e300, 1.5,      32767.0,   -32768.0, 32767.5,  1 - 1e-9, 0.5 - 1e-9};
#define FUZZ_ODD (sizeof fuzz_odd / sizeof *fuzz_odd)

/* A small number or an odd one; the raw bits are the caller's business for kinds from 224 on. */
static inline double fuzz_number(fuzz_bytes *bytes, uint8_t kind) {
    if (kind >= 192)
        return fuzz_odd[kind % FUZZ_ODD];
    const double coarse = fuzz_i8(bytes) / (double)(1 << kind % 8);
    return coarse + fuzz_i8(bytes) / 4096.0;
}

static inline double fuzz_double(fuzz_bytes *bytes) {
    const uint8_t kind = fuzz_u8(bytes);
    if (kind < 224)
        return fuzz_number(bytes, kind);
    const uint64_t bits = fuzz_u64(bytes);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float fuzz_float(fuzz_bytes *bytes) {
    const uint8_t kind = fuzz_u8(bytes);
    if (kind < 224)
        return (float)fuzz_number(bytes, kind);
    const uint32_t bits = fuzz_u32(bytes);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline void fuzz_floats(fuzz_bytes *bytes, float *out, size_t n) {
    for (size_t i = 0; i < n; i++)
        out[i] = fuzz_float(bytes);
}

static inline void fuzz_doubles(fuzz_bytes *bytes, double *out, size_t n) {
    for (size_t i = 0; i < n; i++)
        out[i] = fuzz_double(bytes);
}

/* A rotation about one axis and a translation; now and then none at all. */
static inline void fuzz_pose(fuzz_bytes *bytes, double *pose) {
    const uint8_t kind = fuzz_u8(bytes);
    if (kind >= 248) {
        fuzz_doubles(bytes, pose, 12);
        return;
    }
    const double angle = fuzz_i8(bytes) / 40.0, c = cos(angle), s = sin(angle);
    const int axis = kind % 3, u = (axis + 1) % 3, v = (axis + 2) % 3;
    memset(pose, 0, 12 * sizeof *pose);
    pose[5 * axis] = 1.0;
    pose[5 * u] = pose[5 * v] = c;
    pose[4 * u + v] = -s;
    pose[4 * v + u] = s;
    for (int i = 0; i < 3; i++)
        pose[4 * i + 3] = fuzz_double(bytes);
}

static inline octa_grid fuzz_grid(fuzz_bytes *bytes) {
    static const double half_edges[] = {0.4, 0.001, 0.25, 1.0, 1e6, 51.2, 0.1, 0.0005};
    return (octa_grid){.half_edge_m = half_edges[fuzz_up_to(bytes, 7)],
                       .frame = 3,
                       .tier = fuzz_u8(bytes) & 3,
                       .lod = fuzz_u8(bytes) & 15,
                       .range_min_m = fuzz_up_to(bytes, 3),
                       .range_max_m = 1.0 + fuzz_u8(bytes) * 40.0,
                       .intensity_max = 1.0};
}

/* The site nearest to a small triple. */
static inline void fuzz_site(fuzz_bytes *bytes, int32_t *site) {
    const double scale = fuzz_u8(bytes) < 240 ? 1.0 : 257.0;
    double point[3];
    for (int axis = 0; axis < 3; axis++)
        point[axis] = fuzz_i8(bytes) * scale / 8.0;
    REQUIRE(octa_lattice_snap(point, 1, site) == OCTA_OK);
}

/* An id of the grid, or now and then any number. */
static inline uint64_t fuzz_id(fuzz_bytes *bytes, const octa_grid *grid) {
    int32_t site[3];
    uint64_t id;
    if (fuzz_u8(bytes) >= 250)
        return fuzz_u64(bytes);
    fuzz_site(bytes, site);
    REQUIRE(octa_index64_encode(site, 1, grid->frame, grid->tier, grid->lod, &id) == OCTA_OK);
    return id;
}

static inline int fuzz_compare_ids(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* At most `most` ids; ascending without repeats, but now and then as they come. Returns how many. */
static inline size_t fuzz_ids(fuzz_bytes *bytes, const octa_grid *grid, uint64_t *ids, size_t most) {
    const size_t n = fuzz_up_to(bytes, most);
    size_t count = 0;
    const int sorted = fuzz_u8(bytes) < 240;
    for (size_t i = 0; i < n; i++)
        ids[i] = fuzz_id(bytes, grid);
    if (!sorted)
        return n;
    if (n)
        qsort(ids, n, sizeof *ids, fuzz_compare_ids);
    for (size_t i = 0; i < n; i++)
        if (!i || ids[i] != ids[i - 1])
            ids[count++] = ids[i];
    return count;
}

#endif
