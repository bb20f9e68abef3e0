/* octastream C core: points to cells on a body-centred-cubic (BCC) lattice.
 *
 * Every fallible call returns octa_error and leaves its handle and its outputs as they were on error.
 * Inputs are const, outputs are the caller's buffers; handles are opaque and have one owner at a time.
 * Nothing here prints, reads a clock or keeps a global.
 *
 * Units: metres in the sensor or map frame; a site is an int32 triple, all even or all odd, in half edges.
 */
#ifndef OCTA_H
#define OCTA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors ------------------------------------------------------------------------------------------ */

typedef uint32_t octa_error;

enum {
    OCTA_OK = 0,
    OCTA_E_DOMAIN,   /* an argument is outside its domain (not finite, not positive, too large) */
    OCTA_E_RANGE,    /* a site does not fit the fields of its id: for Index64 beyond +-32768 half edges */
    OCTA_E_PARITY,   /* a triple is neither all even nor all odd */
    OCTA_E_ID,       /* a value is not an id of the expected kind */
    OCTA_E_TEXT,     /* a text is not strict bech32m of the expected kind */
    OCTA_E_LOD,      /* no parent at LOD 0, no children at the finest LOD */
    OCTA_E_POSE,     /* a pose is not a rigid transform */
    OCTA_E_ORDER,    /* rows are not strictly ascending by cell id, or a record is older than the window */
    OCTA_E_CAPACITY, /* the caller's buffer is too small */
    OCTA_E_MEMORY,   /* allocation failed */
    OCTA_ERROR_END
};

/** A sentence for a code, never NULL; codes from OCTA_ERROR_END on give "unknown error". */
const char *octa_describe_error(octa_error error);

/* ---- lattice ----------------------------------------------------------------------------------------- */

#define OCTA_NEIGHBORS 14
#define OCTA_CHILDREN 8

/** Nearest site of each point; even wins a tie between sublattices, within one half rounds up. Distances
 *  that differ by less than rounding (about 1e-16) count as ties.
 *  @param points  n x 3, lattice units (metres / half edge); |v| <= 2^30, finite
 *  @param sites   n x 3, receives the sites
 *  @return OCTA_OK or OCTA_E_DOMAIN */
octa_error octa_lattice_snap(const double *points, size_t n, int32_t *sites);

/** The 14 neighbours in the order of OctaIndex3D: 8 diagonals, then +-2 on x, y, z.
 *  @param sites  n x 3, |v| <= 2^30
 *  @param out    n x 14 x 3 */
octa_error octa_lattice_neighbors(const int32_t *sites, size_t n, int32_t *out);

/** Parent one LOD coarser, by the lattice rule (exact inverse of the children); out n x 3. */
octa_error octa_lattice_parent(const int32_t *sites, size_t n, int32_t *out);

/** The 8 children one LOD finer; |v| <= 2^29; out n x 8 x 3. */
octa_error octa_lattice_children(const int32_t *sites, size_t n, int32_t *out);

/* ---- Index64 ----------------------------------------------------------------------------------------- */

#define OCTA_INDEX64_TEXT 24 /* characters of the text form, without a terminator */

/** Sites to ids: header 10, tier 2 bits, frame 8, LOD 4, Morton code of (coordinate + 32768) on 48 bits.
 *  @return OCTA_E_DOMAIN (tier > 3, lod > 15), OCTA_E_PARITY, OCTA_E_RANGE */
octa_error octa_index64_encode(const int32_t *sites, size_t n, uint8_t frame, uint8_t tier, uint8_t lod,
                               uint64_t *ids);

/** Ids to sites; frames, tiers and lods may each be NULL.  @return OCTA_E_ID, OCTA_E_PARITY */
octa_error octa_index64_decode(const uint64_t *ids, size_t n, int32_t *sites, uint8_t *frames, uint8_t *tiers,
                               uint8_t *lods);

/** Lattice parent of each id (frame and tier kept).  @return OCTA_E_ID, OCTA_E_PARITY, OCTA_E_LOD */
octa_error octa_index64_parent(const uint64_t *ids, size_t n, uint64_t *out);

/** Lattice children, out n x 8.  @return OCTA_E_ID, OCTA_E_PARITY, OCTA_E_LOD, OCTA_E_RANGE */
octa_error octa_index64_children(const uint64_t *ids, size_t n, uint64_t *out);

/** Lower-case bech32m with the prefix i3d1; text receives OCTA_INDEX64_TEXT characters, no terminator. */
octa_error octa_index64_to_text(uint64_t id, char *text);

/** Strict: bech32m only, no stray padding, one case; both cases accepted.
 *  @return OCTA_E_TEXT, OCTA_E_ID, OCTA_E_PARITY */
octa_error octa_index64_from_text(const char *text, size_t length, uint64_t *id);

/* ---- poses ------------------------------------------------------------------------------------------- */

/* A pose vector is 7 doubles: translation x y z (m), unit quaternion x y z w.
 * A pose matrix is 12 doubles, 3 x 4 row-major [R | t], child frame to parent frame. */

/** Interpolate two pose vectors at 0 <= u <= 1: linear translation, normalised linear rotation on the
 *  shorter arc.  Only + - * / and sqrt, so equal on every machine.
 *  @return OCTA_E_DOMAIN (u), OCTA_E_POSE (quaternion not unit within 1e-3, or not finite) */
octa_error octa_pose_interpolate(const double *a, const double *b, double u, double *out);

/** Pose vector to pose matrix.  @return OCTA_E_POSE */
octa_error octa_pose_matrix(const double *pose, double *out);

/** Pose matrix to pose vector; w >= 0.  @return OCTA_E_POSE (R not a rotation within 1e-3) */
octa_error octa_pose_vector(const double *matrix, double *out);

/** out = a * b for pose matrices. */
octa_error octa_pose_compose(const double *a, const double *b, double *out);

/** Inverse of a rigid pose matrix.  @return OCTA_E_POSE */
octa_error octa_pose_invert(const double *a, double *out);

/* ---- deskewing --------------------------------------------------------------------------------------- */

/** Move the points of a sensor that moved while it turned to where it saw them from at the sweep's stamp.
 *  Each point moves by the pose at its own time, interpolated as octa_pose_interpolate does. Points at the
 *  origin, not finite or beyond 10 km stay as they are.
 *  @param points     n x 3, metres, sensor frame at each point's own time
 *  @param offset_ns  n, times of the points from the stamp, within the first and the last knot
 *  @param knot_ns    strictly ascending, two at least
 *  @param poses      knots x 7 pose vectors, sensor frame at the knot to sensor frame at the stamp
 *  @param out        n x 3, sensor frame at the stamp
 *  @return OCTA_E_DOMAIN (fewer than two knots, a time outside them, a motion beyond 10 km), OCTA_E_ORDER,
 *          OCTA_E_POSE */
octa_error octa_deskew(const float *points, const int32_t *offset_ns, size_t n, const int32_t *knot_ns,
                       const double *poses, size_t knots, float *out);

/* ---- binning ----------------------------------------------------------------------------------------- */

typedef struct {
    double half_edge_m;   /* 0.001 .. 10^6 */
    uint8_t frame;        /* frame id of the map, 0..255 */
    uint8_t tier;         /* 0..3 */
    uint8_t lod;          /* 0..15 */
    double range_min_m;   /* returns nearer than this are rays but fill no cell */
    double range_max_m;   /* at most 10^6; returns farther than this are rays but fill no cell */
    double intensity_max; /* 10^-6 .. 10^9; intensity is clamped to [0, this] and stored as a share of it */
} octa_grid;

/* Integer sums of one cell, in units of 2^-12: offset from the site in half edges, intensity as a share.
 * A second moment is the product of two unrounded values, rounded once. */
#define OCTA_SUMS 11
enum {
    OCTA_SUM_X = 0,
    OCTA_SUM_Y,
    OCTA_SUM_Z,
    OCTA_SUM_XX,
    OCTA_SUM_YY,
    OCTA_SUM_ZZ,
    OCTA_SUM_XY,
    OCTA_SUM_XZ,
    OCTA_SUM_YZ,
    OCTA_SUM_INTENSITY,
    OCTA_SUM_INTENSITY2
};
#define OCTA_FIXED_ONE 4096
#define OCTA_MAX_POINTS 524287 /* a sweep or part: int32 sums of |v| <= 1 cannot overflow */

typedef struct {
    uint64_t binned;            /* points that fell into a cell */
    uint64_t rays;              /* finite points other than the origin, in range or not */
    uint64_t not_finite;        /* NaN, infinite, or |coordinate| > 10 km: dropped */
    uint64_t out_of_range;      /* outside range_min_m..range_max_m */
    uint64_t off_map;           /* in range, but the cell has no Index64 */
    uint64_t intensity_clamped; /* binned points whose intensity was NaN or outside [0, intensity_max] */
} octa_bin_counts;

typedef struct octa_binner octa_binner;

octa_error octa_binner_new(const octa_grid *grid, octa_binner **out);
void octa_binner_free(octa_binner *binner);

/** Bin one sweep or part: transform, snap, aggregate; the result stays in the handle until the next run.
 *  @param points     n x 3 row-major float32, metres, sensor frame; n <= OCTA_MAX_POINTS
 *  @param intensity  n float32
 *  @param pose       pose matrix, sensor frame to map frame
 *  @param counts     receives where the points went
 *  @param cells      receives the number of cells hit
 *  @return OCTA_E_DOMAIN, OCTA_E_POSE, OCTA_E_RANGE (the sensor itself is off the map), OCTA_E_MEMORY */
octa_error octa_binner_run(octa_binner *binner, const float *points, const float *intensity, size_t n,
                           const double *pose, octa_bin_counts *counts, size_t *cells);

/** Put the cells of the last run in order and copy them, rows ascending by id: ids m, hits m, sums m x
 * OCTA_SUMS.
 *  @return OCTA_E_CAPACITY if capacity is less than the cells of the last run */
octa_error octa_binner_copy(octa_binner *binner, size_t capacity, uint64_t *ids, uint32_t *hits,
                            int32_t *sums);

/** Row of each point of the last run in the copied result, -1 for points in no cell. */
octa_error octa_binner_point_rows(octa_binner *binner, size_t capacity, int32_t *rows);

/** The points of each cell: the inverse of octa_binner_point_rows.
 *  @param rows    n, each a row below cells, or -1
 *  @param starts  cells + 1: the points of cell i are points[starts[i]] .. points[starts[i + 1] - 1],
 * ascending
 *  @param points  room for n; as many as have a cell are written
 *  @return OCTA_E_DOMAIN (a row out of range, n above 2^32 - 1, cells above 2^31 - 1) */
octa_error octa_point_lists(const int32_t *rows, size_t n, size_t cells, uint32_t *starts, uint32_t *points);

/* ---- visibility -------------------------------------------------------------------------------------- */

typedef struct octa_rays octa_rays;

octa_error octa_rays_new(const octa_grid *grid, octa_rays **out);
void octa_rays_free(octa_rays *rays);

/** Index the rays of one sweep or part: from the sensor's origin to every finite return. */
octa_error octa_rays_load(octa_rays *rays, const float *points, size_t n, const double *pose);

/** Number of loaded rays that cross each cell and leave it before their return.
 *  A cell is the truncated octahedron |x|,|y|,|z| <= 1, |x|+|y|+|z| <= 3/2 in half edges about its site.
 *  @param ids     m cells of the grid's frame, tier and LOD
 *  @param passes  m
 *  @return OCTA_E_ID, OCTA_E_PARITY, OCTA_E_DOMAIN (a cell of another grid) */
octa_error octa_rays_passes(const octa_rays *rays, const uint64_t *ids, size_t m, uint32_t *passes);

#define OCTA_BEAM_ONE 32767 /* length of a beam's direction */

/** Every k-th usable return's direction in the sensor frame, in point order. k is the least odd number
 *  that capacity allows, so that clouds stored by columns of 2^i rings show every ring.
 *  @param beams  capacity x 3, units of 1 / OCTA_BEAM_ONE
 *  @param count  receives the number of beams
 *  @return OCTA_E_DOMAIN (n > OCTA_MAX_POINTS, capacity 0) */
octa_error octa_beams_sample(const float *points, size_t n, size_t capacity, int16_t *beams, size_t *count);

/* ---- free cells -------------------------------------------------------------------------------------- */

typedef struct octa_free_cells octa_free_cells;

/** Finds the cells, so many levels above the grid's, that the rays of a sweep went through.
 *  @return OCTA_E_DOMAIN, OCTA_E_LOD (more than 6 levels, or above LOD 0), OCTA_E_MEMORY */
octa_error octa_free_cells_new(const octa_grid *grid, uint8_t levels, octa_free_cells **out);
void octa_free_cells_free(octa_free_cells *cells);

/** Walk along the rays of one sweep or part; the result stays in the handle until the next run. A ray passes
 * a cell, once, if it crosses one of its finest cells, leaves that before its end, and its return lies in
 * none of them: as octa_rays_coarse_passes counts, but for rays that graze an edge. Time is in the cells
 * crossed.
 *  @param points   n x 3, metres, sensor frame: rays that came back; unusable ones count for nothing
 *  @param misses   m x 3, directions of any length, sensor frame: rays that did not
 *  @param pose     pose matrix, sensor frame to map frame
 *  @param reach_m  above 0, at most 10 km: no ray is followed farther, and a miss so far
 *  @param count    receives the number of cells
 *  @return OCTA_E_DOMAIN, OCTA_E_POSE, OCTA_E_RANGE (the sensor is off the map), OCTA_E_MEMORY */
octa_error octa_free_cells_run(octa_free_cells *cells, const float *points, size_t n, const float *misses,
                               size_t m, const double *pose, double reach_m, size_t *count);

/** Copy the cells of the last run, ascending by id, and how many rays passed each.  @return OCTA_E_CAPACITY
 */
octa_error octa_free_cells_copy(const octa_free_cells *cells, size_t capacity, uint64_t *ids,
                                uint32_t *passes, uint32_t *misses);

/* ---- rolling window ---------------------------------------------------------------------------------- */

typedef struct {
    octa_grid grid;
    int64_t bin_ns;       /* length of a time bin, > 0 */
    uint32_t bins;        /* K: the window holds ages 0..K-1; age = round_half_up((now - stamp) / bin_ns) */
    uint32_t keep_bins;   /* records stay until age K - 1 + keep_bins, so that outcomes stay observable */
    uint32_t max_records; /* more records than this evict the oldest */
    uint32_t max_cells;   /* a push that would list more cells evicts the oldest records */
} octa_window_options;

/* One binned sweep or part; all arrays are the caller's and are copied. */
typedef struct {
    int64_t stamp_ns;
    size_t cells;           /* tested cells */
    const uint64_t *ids;    /* cells, strictly ascending */
    const uint32_t *hits;   /* cells */
    const uint32_t *passes; /* cells */
    size_t hit_cells;       /* number of rows with hits > 0 */
    const int32_t *sums;    /* hit_cells x OCTA_SUMS, in the order of the rows with hits > 0 */
} octa_record;

typedef struct octa_window octa_window;

octa_error octa_window_new(const octa_window_options *options, octa_window **out);
void octa_window_free(octa_window *window);

/** Move the window's now forward and drop what has grown too old; an earlier stamp changes nothing. */
octa_error octa_window_advance(octa_window *window, int64_t stamp_ns);

/** Fold one record; advances first if it is newer than now.
 *  @param evicted  receives the number of cells evicted to stay within the caps
 *  @return OCTA_E_ORDER (ids not ascending, or the record is already too old to keep), OCTA_E_ID,
 *          OCTA_E_PARITY, OCTA_E_DOMAIN (another grid, hit_cells or the sums disagree with hits),
 *          OCTA_E_CAPACITY (one record alone lists more than max_cells), OCTA_E_MEMORY */
octa_error octa_window_push(octa_window *window, const octa_record *record, uint64_t *evicted);

/** Number of retained cells (hit in any retained record). */
size_t octa_window_cells(const octa_window *window);
/** Number of retained records. */
size_t octa_window_records(const octa_window *window);

/** Copy the retained cells, ascending by id: ids, in-window hits and passes, in-window sums (m x OCTA_SUMS).
 *  Any output may be NULL. */
octa_error octa_window_export(const octa_window *window, size_t capacity, uint64_t *ids, uint64_t *hits,
                              uint64_t *passes, int64_t *sums);

/** Check every invariant; reason receives a sentence when it fails, else NULL.  @return 1 or 0 */
int octa_window_validate(const octa_window *window, const char **reason);

/* ---- containers -------------------------------------------------------------------------------------- */

/* A container holds what cells were seen to be, at one or several LODs, each coarser one the exact sum of its
 * children. It keeps the records that it was given (then any can be removed, they age, and containers merge
 * as sets of records), or only their sum (for maps that grow for hours). Nothing depends on the order of
 * adding and merging, as long as nothing is refused for want of room. */

#define OCTA_LEVELS 7       /* the grid's LOD and up to six coarser ones */
#define OCTA_MAX_COLUMNS 16 /* of the user's own */
#define OCTA_MAX_WIDTH 256  /* values of a cell in all of those */

/* How the values of one cell become one. The neutral value of a sum is 0, of the least INT64_MAX, of the
 * greatest INT64_MIN, each value on its own; of the latest it is INT64_MIN throughout. */
enum {
    OCTA_RULE_SUM = 0,
    OCTA_RULE_LEAST,
    OCTA_RULE_GREATEST,
    OCTA_RULE_LATEST, /* the row whose first value (its stamp) is greatest; if equal, whose second is... */
    OCTA_RULE_END
};

typedef struct {
    octa_grid grid;     /* of the finest level; its range is not used */
    uint8_t levels;     /* 1 .. OCTA_LEVELS, at most lod + 1 */
    uint8_t free_level; /* levels above the finest at which free cells are held; below levels */
    uint8_t keep;       /* 1: keep records; 0: only their sum */
    uint8_t dense;      /* 1: the finest level is an array over the extent */
    int32_t origin[3];  /* an even site: the extent holds the sites s with origin <= s < origin + 2 * shape */
    uint32_t shape[3];  /* unit cells of two half edges; all 0: no extent */
    int64_t span_ns;    /* records are dropped once so old; 0: never */
    uint32_t max_records; /* 1 .. 2^20 */
    uint32_t max_rows;    /* 1 .. 2^31 - 1: rows of all records kept, or of a level of a sum */
    uint32_t columns;     /* of the user's own */
    uint16_t widths[OCTA_MAX_COLUMNS];
    uint8_t rules[OCTA_MAX_COLUMNS];
} octa_container_options;

/* Who made a record, and when. Records are in the order of stamp, source and part. */
typedef struct {
    int64_t stamp_ns; /* 0 .. 2^61 - 1 */
    uint64_t source;
    uint32_t part;
} octa_record_key;

/* What a record says about cells, the caller's arrays. Rows that say nothing are left out. */
typedef struct {
    size_t cells;
    const uint64_t *ids;    /* cells of the grid, strictly ascending */
    const uint64_t *hits;   /* at most 2^35 in all, as passes are */
    const uint64_t *passes; /* a coarser level has none: see octa_rays_coarse_passes */
    const int64_t *sums;    /* cells x OCTA_SUMS; each at most OCTA_FIXED_ONE times its hits */
    const int64_t
        *values; /* column after column, each cells x width; neutral, or within +-2^62 (+-2^40 of a sum) */
    size_t free_cells;
    const uint64_t *free_ids; /* cells of the free level, strictly ascending */
    const uint64_t *free_passes, *free_misses;
} octa_rows;

typedef struct {
    uint64_t added;   /* records */
    uint64_t known;   /* that were there already */
    uint64_t late;    /* left out: older than the span, or than one evicted */
    uint64_t removed; /* because it was asked for */
    uint64_t expired; /* older than the span */
    uint64_t evicted; /* to stay within the caps; the oldest go first */
    uint64_t rows;    /* of those evicted */
    uint64_t outside; /* rows of those added that lie outside the extent */
} octa_container_counts;

typedef struct octa_container octa_container;

/** @return OCTA_E_DOMAIN, OCTA_E_PARITY (origin), OCTA_E_RANGE (the extent leaves the map), OCTA_E_MEMORY
 * (also for an array of more than 2^28 sites) */
octa_error octa_container_new(const octa_container_options *options, octa_container **out);
void octa_container_free(octa_container *container);

/** Add one record. Its key does not matter to a sum.
 *  @return OCTA_E_DOMAIN (values out of their bounds, another grid, another record of that key, a total
 * beyond 2^62), OCTA_E_ID, OCTA_E_PARITY, OCTA_E_ORDER, OCTA_E_CAPACITY (more rows than max_rows: of the
 *          record, or of a level of a sum), OCTA_E_MEMORY */
octa_error octa_container_add(octa_container *container, const octa_record_key *key, const octa_rows *rows,
                              octa_container_counts *counts);

/** Undo an add exactly. Of records kept, that of the key goes, if there is one, and rows may be NULL; from a
 *  sum, rows are subtracted.
 *  @return as octa_container_add; OCTA_E_DOMAIN from a sum also if it holds less, or a column that is no sum
 */
octa_error octa_container_remove(octa_container *container, const octa_record_key *key, const octa_rows *rows,
                                 octa_container_counts *counts);

/** Add what another container of the same grid, levels and columns holds: records to records, a total to a
 * sum.
 *  @return as octa_container_add; OCTA_E_DOMAIN also for one of another kind, or a sum into records */
octa_error octa_container_merge(octa_container *container, const octa_container *other,
                                octa_container_counts *counts);

/** Undo a merge exactly: remove the records that the other holds, or subtract its total. */
octa_error octa_container_unmerge(octa_container *container, const octa_container *other,
                                  octa_container_counts *counts);

/** Move the container's now forward and drop what has grown too old; an earlier stamp changes nothing. */
octa_error octa_container_advance(octa_container *container, int64_t stamp_ns, octa_container_counts *counts);

/** Move the extent: what the records say about its cells counts, whether it was inside before or not.
 *  @param origin  an even site
 *  @return OCTA_E_DOMAIN (a sum, or no extent), OCTA_E_PARITY, OCTA_E_RANGE, OCTA_E_MEMORY */
octa_error octa_container_move(octa_container *container, const int32_t *origin);

/** Number of records kept. */
size_t octa_container_records(const octa_container *container);

/** Keys of the records kept, in their order.  @return OCTA_E_CAPACITY */
octa_error octa_container_keys(const octa_container *container, size_t capacity, octa_record_key *keys);

/** Number of cells so many levels above the finest of which anything is known; 0 for no such level. */
size_t octa_container_cells(const octa_container *container, uint8_t level);

/** Copy the cells of a level, ascending by id. Any output may be NULL.
 *  @param sums    m x OCTA_SUMS, about each cell's own site, in half edges of the finest level
 *  @param values  column after column of the user's, each m x width
 *  @return OCTA_E_DOMAIN (no such level), OCTA_E_CAPACITY, OCTA_E_MEMORY */
octa_error octa_container_copy(const octa_container *container, uint8_t level, size_t capacity, uint64_t *ids,
                               uint64_t *hits, uint64_t *passes, uint64_t *free_passes, uint64_t *free_misses,
                               int64_t *sums, int64_t *values);

/** The array of the finest level: a row for every site of the extent, even ones first, then odd ones, x
 *  fastest, then y, then z. It is the container's own memory, changes with it and lasts as long.
 *  @param values  receives rows x lanes: hits, passes, free passes, free misses, sums, values of the columns
 *  @return OCTA_E_DOMAIN (it has no array) */
octa_error octa_container_array(const octa_container *container, const int64_t **values, size_t *rows,
                                size_t *lanes);

/** Check every invariant; reason receives a sentence when it fails, else NULL.  @return 1 or 0 */
int octa_container_validate(const octa_container *container, const char **reason);

/* ---- features ---------------------------------------------------------------------------------------- */

#define OCTA_FEATURES_VERSION 3

/* What features read beside the window: where the sensor is now and where it will be. */
typedef struct {
    double pose[12];          /* sensor to map at the predicted stamp */
    double forecast_pose[12]; /* sensor to map at the primary horizon, as forecast */
    double speed_mps;
    double yaw_rate_rps;
    size_t beam_count;    /* at most OCTA_MAX_POINTS */
    const int16_t *beams; /* beam_count x 3, from octa_beams_sample, of the predicted sweep */
    double beam_weight;   /* rays that one beam stands for, 0 .. 10^6 */
} octa_view;

/** Number of features with K time bins. */
size_t octa_features_count(uint32_t bins);

/** Name of feature i with K time bins; writes at most capacity bytes with a terminator.
 *  @return OCTA_E_DOMAIN (i), OCTA_E_CAPACITY */
octa_error octa_features_name(uint32_t bins, size_t i, char *name, size_t capacity);

/** Number of window cells: hit at ages 0..K-1. */
size_t octa_window_active(const octa_window *window);

/** Features of every window cell, rows ascending by id.
 *  @param ids        m
 *  @param x          m x octa_features_count(K), float32, finite
 *  @param neighbors  m x 14 rows of the neighbours, m where the neighbour is not in the window
 *  @param before     m: at age 0, 0 unobserved, 1 seen through, 2 hit
 *  @return OCTA_E_CAPACITY, OCTA_E_POSE, OCTA_E_DOMAIN (|translation| > 10^9 m, |speed| or |rate| > 10^6),
 *          OCTA_E_MEMORY */
octa_error octa_window_features(const octa_window *window, const octa_view *view, size_t capacity,
                                uint64_t *ids, float *x, int32_t *neighbors, uint8_t *before);

/* ---- neighbour table --------------------------------------------------------------------------------- */

/** Rows of each cell's 14 neighbours, in the order of octa_lattice_neighbors.
 *  @param ids   n <= 2^31 - 1 cells of one grid, strictly ascending
 *  @param rows  n x OCTA_NEIGHBORS, n where the neighbour is not among the cells
 *  @return OCTA_E_ID, OCTA_E_PARITY, OCTA_E_DOMAIN (n too large, cells of two grids), OCTA_E_ORDER,
 *          OCTA_E_MEMORY */
octa_error octa_neighbor_table(const uint64_t *ids, size_t n, int32_t *rows);

/* ---- neighbourhoods ---------------------------------------------------------------------------------- */

/* Cells around positions: those whose site lies within a radius, or within so many steps to a neighbour. */
typedef struct {
    const uint64_t *ids; /* cells of one grid, strictly ascending, at most 2^31 - 1 */
    size_t cells;
    const double *queries; /* n x 3, half edges of the cells' LOD, |v| <= 2^20 */
    size_t n;
    double radius;  /* half edges, 0 .. 2^17 */
    uint32_t rings; /* 0, or at most 2^16 steps; then queries are sites, and the radius does not matter */
} octa_search;

/** How many cells there are around each query, itself among them.
 *  @param starts  n + 1: the cells of query i have the places starts[i] .. starts[i + 1] - 1
 *  @return OCTA_E_DOMAIN, OCTA_E_PARITY (a query of rings is no site), OCTA_E_ID, OCTA_E_ORDER, OCTA_E_MEMORY
 */
octa_error octa_search_count(const octa_search *search, uint64_t *starts);

/** Rows of the cells around each query, ascending, one query after the other.
 *  @return as octa_search_count, OCTA_E_CAPACITY */
octa_error octa_search_rows(const octa_search *search, size_t capacity, int32_t *rows);

/** Mean, least and greatest of each value over the cells around each query, added up in the order of rows.
 *  @param x       cells x width, finite
 *  @param counts  n, cells around each query
 *  @param pooled  n x 3 x width: means, least, greatest; zeros where there is no cell
 *  @return as octa_search_count */
octa_error octa_search_pool(const octa_search *search, const float *x, size_t width, uint32_t *counts,
                            float *pooled);

/** Rows of a table, copied in the order of an index.
 *  @param table  rows x width; out  n x width
 *  @return OCTA_E_DOMAIN (an index that is not 0 .. rows - 1; out is then as before) */
octa_error octa_gather(const float *table, size_t rows, size_t width, const int64_t *index, size_t n,
                       float *out);

/* ---- coarser levels ---------------------------------------------------------------------------------- */

/* Cells of one level with what fell into them; a coarse cell is the union of its finest cells. */
typedef struct {
    size_t cells;
    const uint64_t *ids;  /* cells of one grid, strictly ascending */
    const uint64_t *hits; /* cells */
    const int64_t
        *sums; /* cells x OCTA_SUMS, about each cell's site, in units of 2^-12: half edges of unit_lod */
    uint8_t unit_lod; /* level at which the points were binned: that of the ids or finer, at most 15 */
} octa_cells;

/** The level one LOD coarser: sums of the children of each cell, rebased to its own site. Integers all the
 *  way, in the unit that the sums are in already, so the result is that of adding up each point about the
 *  parent's site, whatever the order, and levels compose. Passes are no sums: a ray that crosses two children
 *  passes their parent once; see octa_rays_coarse_passes.
 *  @param ids, hits, sums  receive the parents, ascending; room for fine->cells, sums times OCTA_SUMS
 *  @param rows             fine->cells, receives each child's row among the parents; may be NULL
 *  @param cells            receives the number of parents
 *  @return OCTA_E_ID, OCTA_E_PARITY, OCTA_E_ORDER, OCTA_E_LOD (LOD 0), OCTA_E_MEMORY, OCTA_E_DOMAIN (cells of
 *          two grids, unit_lod, more than 2^31 - 1 cells, a total that does not fit its type) */
octa_error octa_coarsen(const octa_cells *fine, uint64_t *ids, uint64_t *hits, int64_t *sums, int32_t *rows,
                        size_t *cells);

/** Number of loaded rays that pass each coarse cell: distinct rays that cross at least one of its finest
 * cells and leave it before their return, and whose return lies in none of them.
 *  @param ids     m cells of the grid's frame and tier, of its LOD or up to 6 coarser
 *  @param passes  m
 *  @return OCTA_E_ID, OCTA_E_PARITY, OCTA_E_DOMAIN (another frame or tier), OCTA_E_LOD, OCTA_E_MEMORY */
octa_error octa_rays_coarse_passes(const octa_rays *rays, const uint64_t *ids, size_t m, uint32_t *passes);

/* ---- more of Index64 --------------------------------------------------------------------------------- */

/** The cell at a LOD that contains each id: its parent, repeated.
 *  @return OCTA_E_ID, OCTA_E_PARITY, OCTA_E_DOMAIN (lod > 15), OCTA_E_LOD (an id is coarser) */
octa_error octa_index64_ancestor(const uint64_t *ids, size_t n, uint8_t lod, uint64_t *out);

/** The cells so many levels finer, out n x 8^levels: children of each child in turn.
 *  @return OCTA_E_ID, OCTA_E_PARITY, OCTA_E_DOMAIN (levels > 15), OCTA_E_LOD, OCTA_E_RANGE */
octa_error octa_index64_descendants(const uint64_t *ids, size_t n, uint8_t levels, uint64_t *out);

/** Texts of ids, n x OCTA_INDEX64_TEXT characters, no terminators. */
octa_error octa_index64_to_texts(const uint64_t *ids, size_t n, char *texts);

/** Ids of texts; strict as octa_index64_from_text.  @return OCTA_E_TEXT, OCTA_E_ID, OCTA_E_PARITY */
octa_error octa_index64_from_texts(const char *texts, size_t n, uint64_t *ids);

/* ---- rings ------------------------------------------------------------------------------------------- */

/* A step leads to one of the 14 neighbours; shell k holds the 12 k^2 + 2 sites k steps away. Sites are in the
 * order of their shell, then of their largest |offset|, then of |x|, |y|, |z| and x, y, z, greatest first:
 * shell 1 is the neighbours in the order of octa_lattice_neighbors. */

#define OCTA_RINGS_MAX 255

/** Number of sites in shells first..last; 0 if first > last or last > OCTA_RINGS_MAX. */
size_t octa_rings_count(uint32_t first, uint32_t last);

/** Offsets of the sites of shells first..last, octa_rings_count x 3.  @return OCTA_E_DOMAIN */
octa_error octa_rings_offsets(uint32_t first, uint32_t last, int32_t *out);

/** Fewest steps between sites, any that int32 holds; a and b n x 3.  @return OCTA_E_PARITY */
octa_error octa_lattice_distance(const int32_t *a, const int32_t *b, size_t n, uint32_t *out);

/** Ids of the cells in shells first..last of each id, n x octa_rings_count; 0, which is no id, for those
 * beyond the map.  Every other field is kept.  @return OCTA_E_ID, OCTA_E_PARITY, OCTA_E_DOMAIN, OCTA_E_MEMORY
 */
octa_error octa_index64_shells(const uint64_t *ids, size_t n, uint32_t first, uint32_t last, uint64_t *out);
octa_error octa_route64_shells(const uint64_t *ids, size_t n, uint32_t first, uint32_t last, uint64_t *out);
/** The same, two words an id. */
octa_error octa_galactic128_shells(const uint64_t *ids, size_t n, uint32_t first, uint32_t last,
                                   uint64_t *out);

/* ---- Route64 ----------------------------------------------------------------------------------------- */

#define OCTA_ROUTE64_TEXT 24 /* characters of the text form, without a terminator */

/** Sites to ids: header 01, tier 2 bits, x, y and z 20 bits each, -524288..524287.
 *  @return OCTA_E_DOMAIN (tier > 3), OCTA_E_PARITY, OCTA_E_RANGE */
octa_error octa_route64_encode(const int32_t *sites, size_t n, uint8_t tier, uint64_t *ids);

/** Ids to sites; tiers may be NULL.  @return OCTA_E_ID, OCTA_E_PARITY */
octa_error octa_route64_decode(const uint64_t *ids, size_t n, int32_t *sites, uint8_t *tiers);

/** Site and tier of each Index64; frame and LOD are lost.  @return OCTA_E_ID, OCTA_E_PARITY */
octa_error octa_route64_from_index64(const uint64_t *index64, size_t n, uint64_t *ids);

/** The other way, with a frame and a LOD.
 *  @return OCTA_E_DOMAIN (lod > 15), OCTA_E_ID, OCTA_E_PARITY, OCTA_E_RANGE (not a site of an Index64) */
octa_error octa_route64_to_index64(const uint64_t *ids, size_t n, uint8_t frame, uint8_t lod,
                                   uint64_t *index64);

/** Texts with the prefix r3d1; as those of Index64. */
octa_error octa_route64_to_texts(const uint64_t *ids, size_t n, char *texts);
octa_error octa_route64_from_texts(const char *texts, size_t n, uint64_t *ids);

/* ---- Galactic128 ------------------------------------------------------------------------------------- */

/* An id is two words, the high one first, so that ids order as rows of words do. */

#define OCTA_GALACTIC128_TEXT 37 /* characters of the text form, without a terminator */

typedef struct {
    uint8_t frame;
    uint8_t scale_mant;
    uint8_t scale_tier; /* 0..3 */
    uint8_t lod;        /* 0..63 */
    uint8_t attr_usr;   /* 0..15, free for the user */
} octa_galactic128_fields;

/** Sites, any that int32 holds, to ids (n x 2); all get the same fields.
 *  @return OCTA_E_DOMAIN (a field), OCTA_E_PARITY */
octa_error octa_galactic128_encode(const int32_t *sites, size_t n, const octa_galactic128_fields *fields,
                                   uint64_t *ids);

/** Ids to sites and fields, n each; fields may be NULL.  @return OCTA_E_ID, OCTA_E_PARITY */
octa_error octa_galactic128_decode(const uint64_t *ids, size_t n, int32_t *sites,
                                   octa_galactic128_fields *fields);

/** Lattice parent of each id; every other field is kept.  @return OCTA_E_ID, OCTA_E_PARITY, OCTA_E_LOD */
octa_error octa_galactic128_parent(const uint64_t *ids, size_t n, uint64_t *out);

/** Lattice children, out n x 8 x 2.  @return OCTA_E_ID, OCTA_E_PARITY, OCTA_E_LOD (63), OCTA_E_RANGE */
octa_error octa_galactic128_children(const uint64_t *ids, size_t n, uint64_t *out);

/** Every field of each Index64, with a mantissa and user bits.
 *  @return OCTA_E_DOMAIN (attr_usr > 15), OCTA_E_ID, OCTA_E_PARITY */
octa_error octa_galactic128_from_index64(const uint64_t *index64, size_t n, uint8_t scale_mant,
                                         uint8_t attr_usr, uint64_t *ids);

/** The other way; mantissa and user bits are lost.
 *  @return OCTA_E_ID, OCTA_E_PARITY, OCTA_E_LOD (above 15), OCTA_E_RANGE (not a site of an Index64) */
octa_error octa_galactic128_to_index64(const uint64_t *ids, size_t n, uint64_t *index64);

/** Texts with the prefix g3d1, n x OCTA_GALACTIC128_TEXT characters; strict as those of Index64. */
octa_error octa_galactic128_to_texts(const uint64_t *ids, size_t n, char *texts);
octa_error octa_galactic128_from_texts(const char *texts, size_t n, uint64_t *ids);

/* ---- Hilbert64 --------------------------------------------------------------------------------------- */

/* Index64 with header 11 and a Gray code in place of each digit of its Morton code. Whatever can be asked of
 * an Index64 is asked of a Hilbert64 between these two. */

/** @return OCTA_E_ID, OCTA_E_PARITY */
octa_error octa_hilbert64_from_index64(const uint64_t *index64, size_t n, uint64_t *ids);
octa_error octa_hilbert64_to_index64(const uint64_t *ids, size_t n, uint64_t *index64);

/** Keys of Morton codes of 48 bits, and back; any three coordinates of 16 bits, sites or not.
 *  @return OCTA_E_DOMAIN (more than 48 bits) */
octa_error octa_hilbert64_keys(const uint64_t *morton, size_t n, uint64_t *keys);
octa_error octa_hilbert64_morton(const uint64_t *keys, size_t n, uint64_t *morton);

/* ---- regions to cells -------------------------------------------------------------------------------- */

/* Kinds of regions, closed sets in the map frame, and their numbers (metres; poses as above, region to map).
 */
enum {
    OCTA_SPHERE = 0,   /* center 3, radius */
    OCTA_BOX,          /* low 3, high 3 */
    OCTA_ORIENTED_BOX, /* pose 12, half edges of the box 3 */
    OCTA_CAPSULE,      /* ends of its axis 3 and 3, radius */
    OCTA_FRUSTUM,      /* pose 12, tangents of half the angles of view on x and y, depth near and far on z */
    OCTA_REGIONS
};

/* Which cells: those whose site lies in the region, or all that it meets, if only at a point of their
 * surface. */
enum { OCTA_CENTER_IN = 0, OCTA_INTERSECTS };

#define OCTA_COVER_MAX_CELLS 268435456

/** Numbers that make a region; 0 for no kind. */
size_t octa_region_values(uint32_t kind);

typedef struct octa_cover octa_cover;

/** For the half edge, frame, tier and LOD of a grid. */
octa_error octa_cover_new(const octa_grid *grid, octa_cover **out);
void octa_cover_free(octa_cover *cover);

/** The cells of regions of one kind; the result stays in the handle until the next run. Metres become half
 * edges by one division each; what follows is decided in float64, so a cell whose distance from the region's
 * boundary is within its rounding (about 1e-11 half edges) may fall either way.
 *  @param regions        n x octa_region_values(kind), finite; radii, half edges and depths >= 0, low <=
 * high, near < far, tangents > 0
 *  @param with_coverage  also the share of each cell that lies in the region
 *  @param max_cells      more are an error, and so is a region so thin and large that 16 times as many blocks
 * were looked at; at most OCTA_COVER_MAX_CELLS
 *  @param cells          receives how many there are, all rows together
 *  @param row            receives the row at fault, n if it is none
 *  @return OCTA_E_DOMAIN, OCTA_E_POSE, OCTA_E_RANGE (a region reaches beyond the map), OCTA_E_CAPACITY,
 *          OCTA_E_MEMORY */
octa_error octa_cover_run(octa_cover *cover, uint32_t kind, const double *regions, size_t n, uint32_t mode,
                          int with_coverage, size_t max_cells, size_t *cells, size_t *row);

/** Copy the last result: row i has ids[offsets[i]] .. ids[offsets[i + 1] - 1], ascending.
 *  @param offsets   n + 1
 *  @param coverage  may be NULL
 *  @return OCTA_E_CAPACITY, OCTA_E_DOMAIN (there is none, or none of the coverage) */
octa_error octa_cover_copy(const octa_cover *cover, size_t capacity, uint64_t *offsets, uint64_t *ids,
                           double *coverage);

#ifdef __cplusplus
}
#endif
#endif
