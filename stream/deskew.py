"""Undo the motion of a sensor within a sweep: each point is moved by the pose at its own time.

Rays are moved too: they begin where the sensor was when it fired. A sweep's rays are cast in a few bundles,
each from one place that is near enough to where all of its rays began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from native import pose
from native.deskew import deskew
from stream.sweep import Sweep

KNOT_NS = 20_000_000
"""Poses of a sweep are looked up so far apart, and interpolated between: a jolt of 10 m/s^2 makes that
wrong by 0.5 mm."""

MAX_KNOTS = 64
"""Of a sweep at most, however long it lasts."""

MAX_BUNDLES = 16
"""Casting one more bundle costs about as much as the index of another sweep."""

Floats = NDArray[np.float32]
Times = NDArray[np.int32]
Pose = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Bundle:
    """Rays that began at about one place.

    pose : float64 (12,), to the map, from the sensor's axes at the stamp about the place where the rays began
    ends : float32 (N, 3), metres, from there
    """

    pose: Pose
    ends: Floats


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Motion:
    """Where a sensor was during a sweep, as seen from where it was at the stamp.

    knot_ns : int32 (K,), times from the stamp, strictly ascending, K >= 2; poses : float64 (K, 7)
    """

    knot_ns: Times
    poses: Pose

    def undo(self, ends: Floats, offset_ns: Times) -> Floats:
        """Ends of rays, float32 (N, 3), seen at their times, as seen at the stamp; see ``deskew``."""
        return deskew(ends, offset_ns, self.knot_ns, self.poses)

    def at(self, offset_ns: int) -> Pose:
        """Pose vector, float64 (7,), at a time within the knots."""
        knot = min(int(np.searchsorted(self.knot_ns, offset_ns, side="right")), len(self.knot_ns) - 1) - 1
        first, last = (int(time) for time in self.knot_ns[knot : knot + 2])
        return pose.interpolate(self.poses[knot], self.poses[knot + 1], (offset_ns - first) / (last - first))

    def length_m(self) -> float:
        """How far the sensor went."""
        steps = np.diff(self.poses[:, :3], axis=0)
        squares = steps[:, 0] ** 2 + steps[:, 1] ** 2 + steps[:, 2] ** 2
        return float(sum(np.sqrt(squares).tolist()))

    def bundles(self, ends: Floats, offset_ns: Times, place: Pose, apart_m: float) -> Iterator[Bundle]:
        """Rays from where they began, in the order of time; those without a place are left out.

        ends : float32 (N, 3), as ``undo`` gives them; offset_ns : int32 (N,), within the knots
        place : float64 (12,), sensor to map at the stamp
        apart_m : rays of a bundle began about so far apart at most, or the MAX_BUNDLES-th part of the way
        """
        first, last = int(self.knot_ns[0]), int(self.knot_ns[-1])
        count = 1 + int(min(self.length_m() / apart_m, MAX_BUNDLES - 1))
        number = ((offset_ns - np.int64(first)) * count // (last - first)).clip(0, count - 1).astype(np.uint8)
        number[(ends[:, 0] == 0) & (ends[:, 1] == 0) & (ends[:, 2] == 0)] = count
        in_order = ends.take(np.argsort(number, kind="stable"), axis=0)
        stops = np.cumsum(np.bincount(number, minlength=count)).tolist()
        for bundle, (start, stop) in enumerate(pairwise([0, *stops[:count]])):
            origin = self.at(first + (2 * bundle + 1) * (last - first) // (2 * count))[:3]
            yield Bundle(
                pose=pose.compose(place, _shift(origin)),
                ends=in_order[start:stop] - origin.astype(np.float32),
            )


def motion_of(sweep: Sweep, place: Pose, look_up: Callable[[int], Pose]) -> Motion | None:
    """The motion of a sweep's sensor, None where its points have no times of their own, or no sensor.

    place : float64 (12,), sensor to map at the stamp; look_up : the same at any stamp
    Raises what ``look_up`` raises, for the end of the sweep first
    """
    times = sweep.time_offset_ns
    if times is None or not times.any() or sweep.hits_only:
        return None
    first, last = min(int(times.min()), 0), max(int(times.max()), 0)
    count = min(2 + (last - first - 1) // KNOT_NS, MAX_KNOTS)
    knots = [first + (last - first) * number // (count - 1) for number in range(count)]
    knots = sorted(set(knots))
    back = pose.invert(place)
    newest_first = [pose.compose(back, look_up(sweep.stamp_ns + knot)) for knot in reversed(knots)]
    poses = np.stack([pose.vector(matrix) for matrix in reversed(newest_first)])
    return Motion(knot_ns=np.array(knots, np.int32), poses=poses)


def _shift(origin: Pose) -> Pose:
    """Pose matrix that moves by ``origin`` and does not turn."""
    matrix = np.eye(3, 4)
    matrix[:, 3] = origin
    return matrix.reshape(12)
