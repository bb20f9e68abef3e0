"""What a world offers to the scene: chunks of things that stand, and traffic that passes through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from stream.sources.simulation.ground import Ground
from stream.sources.simulation.motion import Mover, Route
from stream.sources.simulation.shapes import EMPTY, Box, Shapes, body, table

Key = tuple[int, int]

CAR, VAN, TRUCK = (4.4, 1.8, 1.5), (5.2, 2.0, 2.3), (9.0, 2.5, 3.3)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """A piece of the world: what stands there (parked cars included), and what walks there."""

    shapes: Shapes = field(default_factory=lambda: EMPTY)
    parked: tuple[Box, ...] = ()
    movers: tuple[Mover, ...] = ()


class World(Protocol):
    """A world without end or edge, made chunk by chunk from a seed."""

    ground: Ground
    route: Route
    speed: float

    def chunks_near(self, x: float, y: float, reach: float) -> list[Key]:
        """Keys of all chunks that may hold something within ``reach`` metres."""
        ...

    def centre(self, key: Key) -> tuple[float, float]:
        """Middle of a chunk."""
        ...

    def chunk(self, key: Key, style: int) -> Chunk:
        """Make a chunk; ``style`` 0 is the usual district, 1 the other one."""
        ...

    def traffic(self, t: float, x: float, y: float, reach: float) -> list[Mover]:
        """Movers that belong to no chunk and are within ``reach`` metres at time ``t``."""
        ...


def generator(seed: int, *key: int) -> np.random.Generator:
    """A generator for one chunk, lane or sweep; negative numbers are fine."""
    return np.random.default_rng([seed, *(2 * k if k >= 0 else -2 * k - 1 for k in key)])


class Builder:
    """Collects what stands in a chunk, each thing on the ground beneath it."""

    def __init__(self, ground: Ground, rng: np.random.Generator, name: str) -> None:
        self.ground, self.rng, self.name = ground, rng, name
        self.rows: list[list[float]] = []
        self.parked: list[Box] = []
        self.movers: list[Mover] = []

    def height(self, x: float, y: float) -> float:
        """Height of the ground at one place."""
        return float(self.ground.height(np.array([x]), np.array([y]))[0])

    def park(self, x: float, y: float, yaw: float) -> None:
        """Leave a car, or now and then a van."""
        length, width, height = VAN if self.rng.random() < 0.12 else CAR
        grow = 1 + 0.08 * self.rng.uniform(-1, 1, 3)
        size = (length * float(grow[0]), width * float(grow[1]), height * float(grow[2]))
        centre = (x, y, self.height(x, y) + size[2] / 2)
        box = Box(id=f"{self.name}/parked-{len(self.parked)}", label="car", centre=centre, size=size, yaw=yaw)
        self.parked.append(box)
        self.rows += body(box)

    def chunk(self) -> Chunk:
        """Everything collected."""
        return Chunk(shapes=table(self.rows), parked=tuple(self.parked), movers=tuple(self.movers))
