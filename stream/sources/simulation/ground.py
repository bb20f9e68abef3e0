"""The ground: gentle hills, with kerbs, paint, lawns or banks as the world has them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stream.sources.simulation.shapes import Material

Values = NDArray[Any]
Codes = NDArray[np.int64]


class Ground(Protocol):
    """A height and a material everywhere."""

    def hill(self, x: Values, y: Values) -> Values:
        """Height of the road surface without kerbs and banks, metres."""
        ...

    def height(self, x: Values, y: Values) -> Values:
        """Height of the ground, metres, in the type of ``x``."""
        ...

    def material(self, x: Values, y: Values) -> Codes:
        """``Material`` codes of the surface."""
        ...


class Hills:
    """Three crossing waves, at most 0.9 m high and 4 % steep; bare asphalt."""

    def __init__(self, seed: int) -> None:
        self._phase = [float(p) for p in np.random.default_rng([seed, 11]).uniform(0, 2 * np.pi, 3)]

    def hill(self, x: Values, y: Values) -> Values:
        """Height of the waves."""
        a, b, c = self._phase
        waves: Values = 0.4 * np.sin(x * 0.031 + a) + 0.3 * np.sin(y * 0.037 + b)
        return waves + 0.2 * np.sin((x - y) * 0.045 + c)

    def height(self, x: Values, y: Values) -> Values:
        """The hills alone."""
        return self.hill(x, y)

    def material(self, x: Values, y: Values) -> Codes:
        """Asphalt everywhere."""
        return np.full(np.shape(x), Material.ASPHALT, np.int64)


class Streets(Hills):
    """A grid of streets with kerbs, lane marks and crossings.

    pitch : metres between street centres; half_width : centre to kerb, metres
    """

    KERB = 0.14

    def __init__(self, seed: int, pitch: float, half_width: float) -> None:
        super().__init__(seed)
        self.pitch, self.half_width = pitch, half_width

    def _across(self, x: Values) -> Values:
        half = self.pitch / 2
        across: Values = np.abs(np.mod(x + half, self.pitch) - half)
        return across

    def height(self, x: Values, y: Values) -> Values:
        """Hills, and pavements one kerb above the road (the kerb's face leans 5 cm)."""
        kerb = (np.minimum(self._across(x), self._across(y)) - self.half_width) * (self.KERB / 0.05)
        return self.hill(x, y) + np.clip(kerb, 0, self.KERB)

    def material(self, x: Values, y: Values) -> Codes:
        """Pavement, asphalt, or paint on it."""
        u, v = self._across(x), self._across(y)
        code = np.where(np.minimum(u, v) > self.half_width, Material.PAVEMENT, Material.ASPHALT)
        for near, far, along in ((v, u, x), (u, v, y)):
            open_road = far > self.half_width + 5.5
            dash = (near < 0.09) & (np.mod(along, 6.0) < 3.0)
            edge = np.abs(near - (self.half_width - 2.3)) < 0.07
            zebra = (np.abs(far - self.half_width - 2.5) < 1.5) & (np.mod(near + 0.25, 1.0) < 0.5)
            code[(near < self.half_width) & ((open_road & (dash | edge)) | zebra)] = Material.PAINT
        return code


class Carriageway(Hills):
    """A motorway ring around the x axis, with banks beside it.

    half_length : of the straights, metres; radius : of the ends, at the median
    """

    EDGE = 14.0

    def __init__(self, seed: int, half_length: float, radius: float) -> None:
        super().__init__(seed)
        self.half_length, self.radius = half_length, radius

    def across(self, x: Values, y: Values) -> Values:
        """Metres from the median, positive inside the ring."""
        beyond = x - np.clip(x, -self.half_length, self.half_length)
        across: Values = self.radius - np.hypot(beyond, y)
        return across

    def height(self, x: Values, y: Values) -> Values:
        """Hills, and banks that rise beside the road."""
        return self.hill(x, y) + np.clip((np.abs(self.across(x, y)) - self.EDGE - 1.5) * 0.12, 0, 2.5)

    def material(self, x: Values, y: Values) -> Codes:
        """Grass, asphalt, or paint on it."""
        lane = np.abs(self.across(x, y))
        code = np.where(lane > self.EDGE, Material.GRASS, Material.ASPHALT)
        solid = (np.abs(lane - 1.0) < 0.08) | (np.abs(lane - 11.9) < 0.08)
        dashed = (np.abs(lane - 4.4) < 0.08) | (np.abs(lane - 8.15) < 0.08)
        code[solid | (dashed & (np.mod(x, 12.0) < 5.0))] = Material.PAINT
        return code


class Yard(Hills):
    """A paved yard that is almost flat: a third of the hills' height."""

    def hill(self, x: Values, y: Values) -> Values:
        """A third of the waves."""
        return super().hill(x, y) / 3

    def material(self, x: Values, y: Values) -> Codes:
        """Concrete slabs."""
        return np.full(np.shape(x), Material.CONCRETE, np.int64)
