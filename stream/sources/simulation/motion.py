"""Paths, paces and the things that move along them; every position is a function of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Path(Protocol):
    """A curve in the plane."""

    def at(self, s: Array) -> tuple[Array, Array, Array]:
        """x, y (metres) and heading (radians) after ``s`` metres."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line without end, from (x, y) at ``s`` = 0."""

    x: float
    y: float
    heading: float

    def at(self, s: Array) -> tuple[Array, Array, Array]:
        """x, y and heading after ``s`` metres."""
        ahead = np.asarray(s)
        x = self.x + ahead * np.cos(self.heading)
        return x, self.y + ahead * np.sin(self.heading), np.full_like(ahead, self.heading)


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A curve through points given at ascending ``s``; a closed one repeats, an open one ends.

    s, x, y, heading : float64 (N,); the heading is unwrapped
    """

    s: Array
    x: Array
    y: Array
    heading: Array
    closed: bool = False

    @property
    def length(self) -> float:
        """Metres from the first point to the last."""
        return float(self.s[-1])

    def at(self, s: Array) -> tuple[Array, Array, Array]:
        """x, y and heading after ``s`` metres."""
        along = np.mod(s, self.length) if self.closed else np.asarray(s)
        return (
            np.interp(along, self.s, self.x),
            np.interp(along, self.s, self.y),
            np.interp(along, self.s, self.heading),
        )


def route_through(x: Array, y: Array, *, closed: bool) -> Route:
    """The route along a dense line of points; a closed one ends on its first point."""
    step = np.hypot(np.diff(x), np.diff(y))
    s = np.concatenate([[0.0], np.cumsum(step)])
    dx, dy = np.gradient(x, s), np.gradient(y, s)
    if closed:
        ends = (x[1] - x[-2], y[1] - y[-2])
        dx[[0, -1]], dy[[0, -1]] = ends
    return Route(s, x, y, np.unwrap(np.arctan2(dy, dx)), closed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """A speed that swings around its mean: ``speed`` +- ``swing`` m/s, once every ``period`` seconds."""

    speed: float
    swing: float = 0.0
    period: float = 20.0
    phase: float = 0.0

    def distance(self, t: Array) -> Array:
        """Metres driven since t = 0."""
        turn = 2 * np.pi / self.period
        swing = self.swing / turn * (np.cos(self.phase) - np.cos(turn * np.asarray(t) + self.phase))
        moved: Array = self.speed * np.asarray(t) + swing
        return moved


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mover:
    """An object that follows a path.

    offset : metres to the left of the path
    start : position along the path at t = 0; gain : share of the pace it keeps
    wobble : metres it falls back and catches up, once every ``rhythm`` seconds
    """

    id: str
    label: str
    size: tuple[float, float, float]
    path: Path
    pace: Pace
    start: float
    offset: float = 0.0
    gain: float = 1.0
    wobble: float = 0.0
    rhythm: float = 15.0
    phase: float = 0.0

    def at(self, t: Any) -> tuple[Array, Array, Array]:
        """x, y and heading at time ``t`` (seconds, scalar or array)."""
        t = np.asarray(t, np.float64)
        s = self.start + self.gain * self.pace.distance(t)
        s = s + self.wobble * np.sin(2 * np.pi * t / self.rhythm + self.phase)
        x, y, heading = self.path.at(s)
        return x - self.offset * np.sin(heading), y + self.offset * np.cos(heading), heading


class Drive:
    """How the robot follows its route: slower in bends, speed swinging on straights.

    speed : mean speed on straights, m/s; bends are taken with at most 1.6 m/s2 across
    """

    def __init__(self, route: Route, speed: float) -> None:
        self.route = route
        count = max(int(route.length / 0.2), 8)
        self._s = np.linspace(0.0, route.length, count + 1)
        step = self._s[1]
        bend = np.abs(np.gradient(route.at(np.minimum(self._s, route.length - 1e-9))[2], step))
        waves = max(round(route.length / (22.0 * speed)), 1)  # whole ones, so that a lap closes smoothly
        pace = speed * (1 + 0.2 * np.sin(2 * np.pi * waves * self._s / route.length))
        pace = np.minimum(pace, np.sqrt(1.6 / np.maximum(bend, 1e-6)))
        width = max(int(2.0 * speed / step), 1)
        # a bend is slowed down for before it begins: lowest speed nearby first, then smooth
        padded = np.pad(pace, width, mode="wrap" if route.closed else "edge")
        lowest = np.lib.stride_tricks.sliding_window_view(padded, width + 1).min(axis=1)
        smooth = np.convolve(lowest, np.ones(width + 1) / (width + 1), mode="valid")[: len(pace)]
        wait = 2 * step / (smooth[1:] + smooth[:-1])
        self._t = np.concatenate([[0.0], np.cumsum(wait)])

    @property
    def duration(self) -> float:
        """Seconds from the start of the route to its end."""
        return float(self._t[-1])

    def along(self, t: Any) -> Array:
        """Metres along the route at time ``t``."""
        t = np.asarray(t, np.float64)
        if not self.route.closed:
            return np.asarray(np.interp(t, self._t, self._s))
        lap = np.floor(t / self.duration)
        along: Array = lap * self.route.length + np.interp(t - lap * self.duration, self._t, self._s)
        return along

    def at(self, t: Any) -> tuple[Array, Array, Array]:
        """x, y and heading at time ``t``."""
        return self.route.at(self.along(t))
