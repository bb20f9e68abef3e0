/* The columns of the feature schema. History comes first, one column a kind and newest time bin; then the
 * rest. */
#ifndef OCTA_FEATURE_COLUMNS_H
#define OCTA_FEATURE_COLUMNS_H

/* Counts of older bins are in the columns of evidence, and add nothing to them. */
#define HISTORY_BINS 3
enum { HISTORY_HITS, HISTORY_PASSES, HISTORY_KINDS };

/* One column each, in this order, after the columns of history. */
#define OCTA_FEATURE_COLUMNS(X)                                                                              \
    X(hit_bins)        /* time bins with a hit */                                                            \
    X(observed_bins)   /* time bins in which the cell was observed */                                        \
    X(hit_share)       /* hit_bins / observed_bins */                                                        \
    X(evidence)        /* hits / (hits + passes) over the window */                                          \
    X(evidence_recent) /* the same, decayed by 0.7 a bin */                                                  \
    X(hit_age)         /* bins since the newest hit */                                                       \
    X(pass_age)        /* bins since it was newest seen through, K if never */                               \
    X(hit_run)         /* newest observed bins in a row that hit */                                          \
    X(log_points)      /* log(1 + hits over the window) */                                                   \
    X(offset_x)        /* mean return relative to the site, half edges, map axes */                          \
    X(offset_y)                                                                                              \
    X(offset_z)                                                                                              \
    X(spread_xx) /* covariance of the returns, square half edges */                                          \
    X(spread_yy)                                                                                             \
    X(spread_zz)                                                                                             \
    X(spread_xy)                                                                                             \
    X(spread_xz)                                                                                             \
    X(spread_yz)                                                                                             \
    X(intensity_mean)                                                                                        \
    X(intensity_variance)                                                                                    \
    X(x) /* position in the sensor frame, metres */                                                          \
    X(y)                                                                                                     \
    X(z)                                                                                                     \
    X(range)                                                                                                 \
    X(elevation)  /* sine */                                                                                 \
    X(forecast_x) /* the same from the forecast pose */                                                      \
    X(forecast_y)                                                                                            \
    X(forecast_z)                                                                                            \
    X(forecast_range)                                                                                        \
    X(forecast_elevation)                                                                                    \
    X(height_in_column)     /* half edges above the lowest window cell of the same column */                 \
    X(height_in_block)      /* the same over the 3 x 3 columns around */                                     \
    X(normal_z)             /* of the plane through the returns of cell and neighbours, upwards */           \
    X(view_cosine)          /* between that normal and the line of sight */                                  \
    X(forecast_view_cosine) /* the same from the forecast pose */                                            \
    X(planarity)            /* (middle - least) / largest eigenvalue of their covariance */                  \
    X(linearity)            /* (largest - middle) / largest */                                               \
    X(curvature)            /* least / sum */                                                                \
    X(neighbors)            /* share of the 14 neighbours in the window */                                   \
    X(neighbors_hit)        /* share of the 14 neighbours hit in the newest bin */                           \
    X(neighbors_evidence)   /* mean evidence_recent of the neighbours in the window */                       \
    X(coarse1_hits_0)       /* means over the window cells of the parent, one LOD coarser */                 \
    X(coarse1_passes_0)                                                                                      \
    X(coarse1_state_0)                                                                                       \
    X(coarse1_hit_share)                                                                                     \
    X(coarse1_evidence_recent)                                                                               \
    X(coarse1_observed_bins)                                                                                 \
    X(coarse1_log_points)                                                                                    \
    X(coarse1_height_in_block)                                                                               \
    X(coarse2_hits_0) /* the same of the grandparent */                                                      \
    X(coarse2_passes_0)                                                                                      \
    X(coarse2_state_0)                                                                                       \
    X(coarse2_hit_share)                                                                                     \
    X(coarse2_evidence_recent)                                                                               \
    X(coarse2_observed_bins)                                                                                 \
    X(coarse2_log_points)                                                                                    \
    X(coarse2_height_in_block)                                                                               \
    X(cast_hits)       /* log(1 + beams expected to end here), cast from the forecast pose */                \
    X(cast_reach)      /* log(1 + beams expected to get here) */                                             \
    X(cast_share)      /* hits over reach */                                                                 \
    X(cast_seen)       /* chance of at least one expected hit: 1 - exp(-hits) */                             \
    X(cast_reached)    /* 1 if any beam crosses the cell */                                                  \
    X(surface_hits)    /* log(1 + the sum of overlaps of the beams that get here with the cell's returns) */ \
    X(surface_share)   /* that sum over reach */                                                             \
    X(surface_overlap) /* log(1 + the sum of overlaps of all beams that cross the cell) */                   \
    X(surface_best)    /* the largest overlap */                                                             \
    X(speed)           /* of the sensor, m/s */                                                              \
    X(yaw_rate)        /* of the sensor, rad/s */

#define OCTA_FEATURE_ENUM(name) FEATURE_##name,
enum { OCTA_FEATURE_COLUMNS(OCTA_FEATURE_ENUM) FEATURE_COLUMNS };
#undef OCTA_FEATURE_ENUM

#endif
