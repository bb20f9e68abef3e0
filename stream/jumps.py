"""Where localisation jumped: a transform that its edge's motion does not lead to, or that says so itself."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from native import pose
from stream.config import PoseConfig

BASE_NS = 100_000_000
"""Speed is measured over at least this time, where there is as much: over less it is noise of the poses."""

ACCELERATION_MPS2, TURN_DPS2 = 10.0, 100.0
"""What a robot can do to leave its forecast: full braking on a dry road; a quick turn in place."""

SPEED_MPS, TURN_DPS = 50.0, 200.0
"""How fast a robot may be whose speed is not known yet."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Track:
    """Poses of one edge between two frames, as they are known now.

    stamps : ascending; vectors : float64 (7,) by stamp, child in parent
    upward : from child to parent on the way to the target
    lever : float64 (3,), metres, where the source's origin is in the frame that the edge is left from
    """

    stamps: Sequence[int]
    vectors: Mapping[int, Matrix]
    upward: bool
    lever: Matrix
    _poses: dict[int, Matrix] = field(default_factory=dict)

    def pose(self, place: int) -> Matrix:
        """Pose matrix along the way, float64 (12,)."""
        if place not in self._poses:
            matrix = pose.matrix(self.vectors[self.stamps[place]])
            self._poses[place] = matrix if self.upward else pose.invert(matrix)
        return self._poses[place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """Poses up to ``before_ns`` are of one map, those from ``at_ns`` on of another; between there are none.

    metres, degrees : how far the source's origin is from its forecast, and how far it is turned
    bound_m, bound_deg : how far that may be, infinite for no bound; declared : a transform says so
    """

    before_ns: int
    at_ns: int
    metres: float
    degrees: float
    bound_m: float
    bound_deg: float
    declared: bool

    def __str__(self) -> str:
        why = "a transform says so" if self.declared else f"at most {self.bound_m:.3g} m and "
        why += "" if self.declared else f"{self.bound_deg:.3g} degrees may be motion"
        return f"localisation jumped by {self.metres:.3g} m and {self.degrees:.3g} degrees ({why})"


def jumps(
    track: Track,
    config: PoseConfig,
    *,
    after_ns: int,
    until_ns: int,
    starts: Sequence[int],
    declared: Collection[int],
) -> list[Jump]:
    """Jumps of one edge, by time: of each transform behind ``after_ns`` to the first at or past ``until_ns``.

    starts : stamps at which known maps began, ascending; declared : those of transforms that begin one
    A transform is compared with the one before it, moved on as the edge moved over the last 0.1 s in its own
    axes: a jump does not change these, so the next one is told by the speed from before it.
    A function of the transforms. Bounds grow with the square of the time between transforms, as forecasts
    are wrong so fast: over a gap, only what is too far to have been driven is a jump.
    """
    found: list[Jump] = []
    stamps, starts = track.stamps, list(starts)
    first = max(bisect_right(stamps, max(after_ns, *starts[-1:], -1)), 1)
    for place in range(first, min(bisect_left(stamps, until_ns), len(stamps) - 1) + 1):
        before_ns, at_ns = stamps[place - 1], stamps[place]
        said = any(before_ns < stamp <= at_ns for stamp in declared)
        jump = _compare(track, config, place, starts, said)
        if said or jump.metres > jump.bound_m or jump.degrees > jump.bound_deg:
            found.append(jump)
            starts.append(at_ns)
    return found


def _compare(track: Track, config: PoseConfig, place: int, starts: Sequence[int], declared: bool) -> Jump:
    """How far a transform is from where the motion up to the one before it leads, and how far it may be."""
    stamps, time_s = track.stamps, (track.stamps[place] - track.stamps[place - 1]) * 1e-9
    pair = _newest_motion(stamps, place - 1, starts)
    expected, slack_m, slack_deg = track.pose(place - 1), SPEED_MPS * time_s, TURN_DPS * time_s
    if pair is not None:
        older, newer = pair
        base_s = (stamps[newer] - stamps[older]) * 1e-9
        motion = pose.compose(pose.invert(track.pose(older)), track.pose(newer))
        expected = pose.compose(expected, _prolonged(motion, time_s / base_s))
        strayed = time_s * (time_s + base_s) / 2  # how far off one unit of acceleration may lead
        slack_m, slack_deg = ACCELERATION_MPS2 * strayed, TURN_DPS2 * strayed
    metres, degrees = _apart(expected, track.pose(place), track.lever)
    return Jump(
        before_ns=stamps[place - 1],
        at_ns=stamps[place],
        metres=metres,
        degrees=degrees,
        bound_m=math.inf if config.jump_m is None else config.jump_m + slack_m,
        bound_deg=math.inf if config.jump_deg is None else config.jump_deg + slack_deg,
        declared=declared,
    )


def _newest_motion(stamps: Sequence[int], last: int, starts: Sequence[int]) -> tuple[int, int] | None:
    """Two places within one map, BASE_NS apart where there is as much, the later one ``last`` if possible."""
    for start_ns in (*reversed(starts), stamps[0]):
        begin = bisect_left(stamps, start_ns)
        if begin < last:
            older = bisect_right(stamps, stamps[last] - BASE_NS) - 1
            return max(older, begin), last
        last = begin - 1  # this map has only begun: the speed is that from before
    return None


def _prolonged(motion: Matrix, share: float) -> Matrix:
    """A motion carried on for so many times as long, turning on; of a small angle nearly exact."""
    vector = pose.vector(motion)
    vector[:3] *= share
    vector[3:6] *= share
    vector[6] = 1.0 + (vector[6] - 1.0) * share
    vector[3:] /= math.sqrt(sum(value * value for value in vector[3:].tolist()))
    return pose.matrix(vector)


def _apart(a: Matrix, b: Matrix, lever: Matrix) -> tuple[float, float]:
    """Metres between where two poses put the lever's end, and degrees between their rotations."""
    left, right = a.reshape(3, 4), b.reshape(3, 4)
    gap = (left[:, :3] - right[:, :3]) @ lever + left[:, 3] - right[:, 3]
    cosine = (float((left[:, :3] * right[:, :3]).sum()) - 1.0) / 2.0
    return math.hypot(*gap.tolist()), math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
