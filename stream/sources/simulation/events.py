"""What may go wrong in a simulated drive: weather, damage to the sensor, faults of the log."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.sources.base import SourceError
from stream.sources.simulation.shapes import DROP

DRIFTS = ("rain", "tilt", "dropped-beams", "thinning", "district")
"""Last from their sweep on, or to the one before their end."""

FAULTS = ("nan", "duplicate", "late", "pose-gap", "clock-jump", "jump")
"""Befall one sweep; ``pose-gap`` lasts a second, ``clock-jump`` and ``jump``, of the poses, stay."""

OBJECTS = ("popup",)
"""Stand there from their sweep on, or to the one before their end, as if they had fallen from the sky."""

NAMES = DRIFTS + FAULTS + OBJECTS
LATE_NS = 300_000_000
GAP_NS = 1_000_000_000
JUMP_NS = 10_000_000_000
POSE_JUMP_M, POSE_JUMP_RAD = (3.0, -2.0, 0.0), np.radians(5.0)
"""A loop closure moves the map's poses so far and turns them about the vertical where the robot is."""
TILT = (np.radians(3.0), np.radians(1.0))
"""Pitch and roll of a sensor that was knocked, radians."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that begins at sweep ``start`` and, for a drift, may end before sweep ``end``."""

    name: str
    start: int
    end: int | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise SourceError(f"events: {self.name!r} is not known; use one of {', '.join(NAMES)}")
        if self.start < 0:
            raise SourceError(f"events: {self} must start at sweep 0 or later")
        may_end = DRIFTS[:-1] + OBJECTS
        if self.end is not None and (self.name not in may_end or self.end <= self.start):
            ending = ", ".join(may_end)
            raise SourceError(f"events: {self}: only {ending} may end, and after their start")

    def __str__(self) -> str:
        return f"{self.name}@{self.start}" + ("" if self.end is None else f"-{self.end}")

    def covers(self, index: int) -> bool:
        """Whether sweep ``index`` is affected."""
        if self.name in FAULTS:
            return index == self.start
        return index >= self.start and (self.end is None or index < self.end)


def parse_events(text: str) -> tuple[Event, ...]:
    """Events from ``rain@60,tilt@90-120``; raises SourceError for anything else."""
    events = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"([^@]+)@(\d{1,9})(?:-(\d{1,9}))?", part, re.ASCII)
        if match is None:
            raise SourceError(f"events: {part!r}: expected name@sweep, for example rain@60 or rain@60-90")
        name, start, end = match.groups()
        events.append(Event(name=name, start=int(start), end=None if end is None else int(end)))
    return tuple(events)


@dataclass(slots=True, kw_only=True, eq=False)
class Echoes:
    """What the sensor measured along each ray, before it is made a sweep.

    distance, intensity : float32 (N,); kept : bool (N,), rays that yield a point
    fired : bool (N,), rays of whose lack of a return the sensor would know
    row : int64 (N,), beam of each ray; beams : number of beams
    material : int64 (N,), of the surface that the ray met, or DROP, or GROUND, of ``shapes``
    """

    distance: NDArray[np.float32]
    intensity: NDArray[np.float32]
    kept: NDArray[np.bool_]
    fired: NDArray[np.bool_]
    row: NDArray[np.int64]
    beams: int
    material: NDArray[np.int64]


def disturb(name: str, echoes: Echoes, rng: np.random.Generator) -> None:
    """Apply a drift to one turn, in place; names that do not change echoes are left alone."""
    if name == "rain":
        _rain(echoes, rng)
    elif name == "dropped-beams":
        band = max(echoes.beams // 8, 1)
        _silence(echoes, echoes.row // band % 2 == 0)
    elif name == "thinning":
        _silence(echoes, rng.random(len(echoes.kept)) < 0.5)


def _silence(echoes: Echoes, working: NDArray[np.bool_]) -> None:
    echoes.kept &= working
    echoes.fired &= working


def _rain(echoes: Echoes, rng: np.random.Generator) -> None:
    """Drops near the sensor answer first, far returns are lost, all are weaker."""
    count = len(echoes.kept)
    chance, lost, light = rng.random((3, count), dtype=np.float32)
    drop = (1.0 + rng.gamma(2.0, 3.5, count)).astype(np.float32)
    blocked = np.where(echoes.kept, drop < echoes.distance, drop < 30.0) & (chance < 0.06)
    echoes.kept &= lost > 0.05 + 0.5 * (1 - np.exp(-echoes.distance / 60.0))
    echoes.intensity *= np.float32(0.6)
    echoes.distance[blocked] = drop[blocked]
    echoes.material[blocked] = DROP
    echoes.intensity[blocked] = 0.02 + 0.08 * light[blocked]
    echoes.kept |= blocked


def spoil(points: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Make 2 % of the points, and at least one, not finite, in place."""
    if len(points):
        some = rng.choice(len(points), max(len(points) // 50, 1), replace=False)
        points[some] = np.nan
        points[some[::4], 0] = np.inf
