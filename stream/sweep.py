"""One sensor frame of points."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_STAMP_NS = 2**63 - 1
UNIT_TOLERANCE = 1e-3
"""How far from 1 the length of a direction may be."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sweep:
    """One sensor frame of points, or one part of it.

    stream_id : ``robot/sensor``
    stamp_ns : start of the sweep, nanoseconds since the epoch, > 0
    frame : coordinate frame of the points
    points : float32 (N, 3), metres, sensor frame; may hold values that are not finite (they are counted)
    intensity : float32 (N,), in the sensor's own unit
    misses : float32 (M, 3), unit directions of rays that came back with nothing, sensor frame; none where the
        sensor does not report them
    time_offset_ns : int32 (N,), when each point was measured, from ``stamp_ns``; each is in the sensor frame
        at its own time. None where all were measured at the stamp, or it is not known when
    hits_only : from where the points were seen is not known, as in a map: they are occupied, and no ray to
        them shows that anything is free
    part, parts : a sweep too large for one message comes in parts 0..parts-1 with one stamp
    """

    stream_id: str
    stamp_ns: int
    frame: str
    points: NDArray[np.float32]
    intensity: NDArray[np.float32]
    misses: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 3), np.float32))
    time_offset_ns: NDArray[np.int32] | None = None
    hits_only: bool = False
    part: int = 0
    parts: int = 1

    def __post_init__(self) -> None:
        count = len(self.points)
        if self.points.dtype != np.float32 or self.points.shape != (count, 3):
            raise ValueError(f"points: expected float32 (N, 3), got {self.points.dtype} {self.points.shape}")
        if self.intensity.dtype != np.float32 or self.intensity.shape != (count,):
            raise ValueError(
                f"intensity: expected float32 ({count},), got {self.intensity.dtype} {self.intensity.shape}"
            )
        times = self.time_offset_ns
        if times is not None and (times.dtype != np.int32 or times.shape != (count,)):
            raise ValueError(f"time_offset_ns: expected int32 ({count},), got {times.dtype} {times.shape}")
        self._check_misses()
        if "/" not in self.stream_id:
            raise ValueError(f"stream_id: expected robot/sensor, got {self.stream_id!r}")
        if not 0 <= self.part < self.parts:
            raise ValueError(f"part: expected 0 <= part < parts, got {self.part} of {self.parts}")

    def _check_misses(self) -> None:
        misses = self.misses
        if self.hits_only and len(misses):
            raise ValueError(f"misses: a sweep of hits only has no rays, got {len(misses)} without return")
        if misses.dtype != np.float32 or misses.shape != (len(misses), 3):
            raise ValueError(f"misses: expected float32 (M, 3), got {misses.dtype} {misses.shape}")
        off = np.abs(np.einsum("ij,ij->i", misses, misses) - 1)
        if not (off < 2 * UNIT_TOLERANCE).all():
            raise ValueError(
                f"misses: expected unit directions, got one {off.max():.2g} off in squared length"
            )

    @property
    def robot_id(self) -> str:
        """The part of the stream id before the first slash."""
        return self.stream_id.split("/", 1)[0]

    @property
    def prediction_id(self) -> str:
        """``stream_id/stamp_ns``: names the sweep and the prediction made from it."""
        return f"{self.stream_id}/{self.stamp_ns}"


def cut(sweep: Sweep, most: int) -> list[Sweep]:
    """The sweep in parts of at most so many points and rays without return; parts keep the stamp.

    A sweep that is small enough, or a part already, stays as it is
    """
    parts = -(-(len(sweep.points) + len(sweep.misses)) // most)
    if parts <= 1 or sweep.parts > 1:
        return [sweep]

    def share(values: Any, part: int) -> Any:
        if values is None:
            return None
        return values[len(values) * part // parts : len(values) * (part + 1) // parts]

    columns = ("points", "intensity", "misses", "time_offset_ns")
    return [
        dataclasses.replace(
            sweep, part=part, parts=parts, **{name: share(getattr(sweep, name), part) for name in columns}
        )
        for part in range(parts)
    ]
