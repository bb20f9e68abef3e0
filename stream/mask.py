"""What of a sweep is evidence: all of it, less the robot's own body and directions that show nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.config import MaskConfig
from stream.sweep import Sweep

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Unmasked:
    """What is left of a sweep.

    points : float32 (N, 3), metres, sensor frame; as in the sweep, so some may not be finite
    intensity : float32 (N,)
    misses : float32 (M, 3), unit directions of rays without return, sensor frame
    masked : points and rays without return that were dropped
    time_offset_ns : int32 (N + M,), times of points and of rays without return; None where those of either
        are not known
    """

    points: Floats
    intensity: Floats
    misses: Floats
    masked: int
    time_offset_ns: NDArray[np.int32] | None = None

    def ray_ends(self, miss_range_m: float) -> Floats:
        """Where rays end, float32 (N + M, 3): at their return, or ``miss_range_m`` away without one."""
        if not len(self.misses):
            return self.points
        return np.concatenate([self.points, self.misses * np.float32(miss_range_m)])


class Mask:
    """The mask of a configuration. Arithmetic on points is + - * / and square roots: equal everywhere."""

    def __init__(self, config: MaskConfig) -> None:
        self._box = np.array(config.ego_box_m, np.float32).reshape(-1, 3)  # (2, 3), or (0, 3) for none
        self._sectors = [_Sector(*sector) for sector in config.drop_sectors_deg]
        self._beyond_m = config.miss_beyond_m
        self.frame = config.ego_frame if len(self._box) and config.ego_frame != "sensor" else None
        """Frame that ``apply`` needs the sensor's pose in; None when it needs none."""

    def apply(self, sweep: Sweep, pose: NDArray[np.float64] | None = None) -> Unmasked:
        """Drop what the mask covers; far points become rays without return where they are configured to.

        pose : float64 (12,), sensor to ``frame``
        A point inside the ego box is dropped, and so is a ray without return that enters the box from
        outside: the body may have swallowed it. Without a mask the arrays are the sweep's own.
        """
        points, intensity, misses = sweep.points, sweep.intensity, sweep.misses
        if not len(self._box) and not self._sectors and self._beyond_m is None:
            times = None if len(misses) else sweep.time_offset_ns
            return Unmasked(points=points, intensity=intensity, misses=misses, masked=0, time_offset_ns=times)
        columns = np.ascontiguousarray(points.T)
        dropped = self._in_sectors(columns) | self._in_body(columns, pose)
        kept, far = ~dropped, np.zeros(len(points), np.bool_)
        if self._beyond_m is not None:
            far = _at_least(columns, self._beyond_m)
            misses = np.concatenate([misses, _directions(_rows(points, far))])
            kept &= ~far
            dropped &= ~far
        lost = self._in_sectors(misses.T) | self._into_body(misses.T, pose)
        return Unmasked(
            points=_rows(points, kept),
            intensity=intensity[kept],
            misses=_rows(misses, ~lost),
            masked=int(np.count_nonzero(dropped)) + int(np.count_nonzero(lost)),
            time_offset_ns=_times(sweep, kept, far, lost),
        )

    def _in_sectors(self, columns: Floats) -> Flags:
        inside = np.zeros(columns.shape[1], np.bool_)
        for sector in self._sectors:
            inside |= sector.holds(columns[0], columns[1])
        return inside

    def _in_body(self, columns: Floats, pose: NDArray[np.float64] | None) -> Flags:
        if not len(self._box):
            return np.zeros(columns.shape[1], np.bool_)
        rotation, origin = _parts(pose)
        inside = np.ones(columns.shape[1], np.bool_)
        for axis, column in enumerate(_rotated(columns, rotation)):
            low, high = self._box[:, axis] - origin[axis]
            inside &= (column >= low) & (column <= high)
        return inside

    def _into_body(self, columns: Floats, pose: NDArray[np.float64] | None) -> Flags:
        """Rays from the sensor that enter the box; none where the sensor is inside it."""
        if not len(self._box):
            return np.zeros(columns.shape[1], np.bool_)
        rotation, origin = _parts(pose)
        low, high = self._box - origin
        if (low <= 0).all() and (high >= 0).all():
            return np.zeros(columns.shape[1], np.bool_)
        enter = np.zeros(columns.shape[1], np.float32)
        leave = np.full(columns.shape[1], np.inf, np.float32)
        for axis, column in enumerate(_rotated(columns, rotation)):
            along = np.where(np.abs(column) < 1e-20, np.float32(1e-20), column)
            first, second = low[axis] / along, high[axis] / along
            enter = np.maximum(enter, np.minimum(first, second))
            leave = np.minimum(leave, np.maximum(first, second))
        entered: Flags = enter <= leave
        return entered


class _Sector:
    """Directions from one azimuth counter-clockwise to another, degrees; neither end belongs to it."""

    def __init__(self, start: float, end: float) -> None:
        self._start = np.array([math.cos(math.radians(start)), math.sin(math.radians(start))], np.float32)
        self._end = np.array([math.cos(math.radians(end)), math.sin(math.radians(end))], np.float32)
        self._wide = (end - start) % 360 > 180

    def holds(self, x: Floats, y: Floats) -> Flags:
        """Whether each direction is in the sector; one straight up or down, or not a number, is not."""
        after: Flags = self._start[0] * y - self._start[1] * x > 0
        before: Flags = self._end[1] * x - self._end[0] * y > 0
        return after | before if self._wide else after & before


def _times(sweep: Sweep, kept: Flags, far: Flags, lost: Flags) -> NDArray[np.int32] | None:
    times = sweep.time_offset_ns
    if times is None or len(sweep.misses):  # rays without return that came as such do not say when
        return None
    return np.concatenate([times[kept], times[far][~lost]])


def _rows(array: Floats, wanted: Flags) -> Floats:
    """``array[wanted]`` in a quarter of the time."""
    return array.take(np.flatnonzero(wanted), axis=0)


def _parts(pose: NDArray[np.float64] | None) -> tuple[Floats | None, Floats]:
    """Rotation (3, 3), None for none, and origin (3,) of a pose."""
    if pose is None:
        return None, np.zeros(3, np.float32)
    matrix = pose.reshape(3, 4).astype(np.float32)
    return matrix[:, :3], matrix[:, 3]


def _rotated(columns: Floats, rotation: Floats | None) -> Floats:
    """Columns (3, N) in rotated axes. Not a matrix product: its order of operations is the library's."""
    if rotation is None:
        return columns
    x, y, z = columns
    return np.stack([row[0] * x + row[1] * y + row[2] * z for row in rotation])


def _at_least(columns: Floats, range_m: float) -> Flags:
    x, y, z = columns
    with np.errstate(over="ignore"):
        square = x * x + y * y + z * z
    far: Flags = (square >= np.float32(range_m) ** 2) & (square < np.inf)
    return far


def _directions(points: Floats) -> Floats:
    wide = points.astype(np.float64)
    length = np.sqrt(wide[:, 0] ** 2 + wide[:, 1] ** 2 + wide[:, 2] ** 2)
    return (wide / length[:, None]).astype(np.float32)
