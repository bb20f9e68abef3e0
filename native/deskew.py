"""Points of a sensor that moved while it turned, as seen from where it was at the sweep's stamp."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native._octa import lib
from native.arrays import output, readable
from native.errors import check


def deskew(
    points: NDArray[np.float32],
    offset_ns: NDArray[np.int32],
    knot_ns: NDArray[np.int32],
    poses: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Move each point by the pose at its own time, interpolated between knots as ``pose.interpolate`` does.

    points : float32 (N, 3), metres, sensor frame at each point's own time; those at the origin, not finite or
        beyond 10 km stay as they are
    offset_ns : int32 (N,), times of the points from the stamp, within the first and the last knot
    knot_ns : int32 (K,), strictly ascending, K >= 2
    poses : float64 (K, 7), pose vectors, sensor frame at the knot to sensor frame at the stamp
    Returns float32 (N, 3), sensor frame at the stamp
    Raises DomainError (a time outside the knots, a motion beyond 10 km), OrderError, PoseError
    Equal on every machine.
    """
    points_in = readable(points, np.float32, (None, 3), "points")
    knots = readable(knot_ns, np.int32, (None,), "knot_ns")
    out = np.empty((len(points), 3), np.float32)
    code = lib.octa_deskew(
        points_in,
        readable(offset_ns, np.int32, (len(points),), "offset_ns"),
        len(points),
        knots,
        readable(poses, np.float64, (len(knot_ns), 7), "poses"),
        len(knot_ns),
        output(out),
    )
    check(code, "poses" if code == lib.OCTA_E_POSE else "offset_ns, knot_ns")
    return out
