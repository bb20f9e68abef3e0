"""A fenced yard with a few containers, pallets and posts, forklifts and people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream.sources.simulation.ground import Ground
from stream.sources.simulation.ground import Yard as YardGround
from stream.sources.simulation.motion import Mover, Pace, route_through
from stream.sources.simulation.shapes import Material, cuboid, cylinder
from stream.sources.simulation.world import Builder, Chunk, Key, generator

HALF_X, HALF_Y, CELL = 90.0, 60.0, 30.0
CLEARANCE = 8.5
"""Nothing stands nearer to the route than this, metres; people and forklifts use the strip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Expected number of things in a cell."""

    containers: float
    small: float


STYLES = (Style(containers=0.7, small=1.5), Style(containers=2.0, small=5.0))


class Yard:
    """The world ``yard``; chunks are cells of 30 m, and the fence."""

    speed = 4.0

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.ground: Ground = YardGround(seed)
        angle = np.linspace(0, 2 * np.pi, 2001)
        wave = float(generator(seed, 41).uniform(6, 11))
        x, y = 58 * np.sin(angle), -30 * np.cos(angle) + wave * np.sin(3 * angle)
        self.route = route_through(x, y, closed=True)
        self._movers = self._make_movers()

    def chunks_near(self, x: float, y: float, reach: float) -> list[Key]:
        """Cells inside the fence near a place."""
        columns = range(int(-HALF_X // CELL), int(HALF_X // CELL))
        rows = range(int(-HALF_Y // CELL), int(HALF_Y // CELL))
        far = reach + CELL
        keys = [(i, j) for i in columns for j in rows]
        return [key for key in keys if np.hypot(self.centre(key)[0] - x, self.centre(key)[1] - y) < far]

    def centre(self, key: Key) -> tuple[float, float]:
        """Middle of a cell."""
        return (key[0] + 0.5) * CELL, (key[1] + 0.5) * CELL

    def chunk(self, key: Key, style: int) -> Chunk:
        """What stands in a cell, and its part of the fence."""
        builder = Builder(self.ground, generator(self.seed, 42, *key), f"cell{key[0]},{key[1]}")
        rng, kind = builder.rng, STYLES[style]
        self._fence(builder, key)
        for _ in range(int(rng.poisson(kind.containers))):
            self._container(builder, key)
        for _ in range(int(rng.poisson(kind.small))):
            self._small(builder, key)
        return builder.chunk()

    def traffic(self, t: float, x: float, y: float, reach: float) -> list[Mover]:
        """Everybody in the yard; they are few."""
        return self._movers

    def _spot(self, builder: Builder, key: Key, radius: float) -> tuple[float, float] | None:
        for _ in range(8):
            x = float((key[0] + builder.rng.random()) * CELL)
            y = float((key[1] + builder.rng.random()) * CELL)
            clear = float(np.hypot(self.route.x - x, self.route.y - y).min())
            if clear > CLEARANCE + radius and abs(x) < HALF_X - 3 and abs(y) < HALF_Y - 3:
                return x, y
        return None

    def _container(self, builder: Builder, key: Key) -> None:
        spot = self._spot(builder, key, 3.3)
        if spot is None:
            return
        x, y = spot
        yaw = float(builder.rng.choice([0.0, np.pi / 2])) + float(builder.rng.normal(0, 0.03))
        z = builder.height(x, y)
        tall = 2.6 * int(builder.rng.integers(1, 3))
        builder.rows.append(cuboid(x, y, (z - 0.3, z + tall), (6.1, 2.44), yaw, Material.METAL))

    def _small(self, builder: Builder, key: Key) -> None:
        spot = self._spot(builder, key, 0.8)
        if spot is None:
            return
        x, y = spot
        kind, yaw = builder.rng.uniform((0, 0), (1, np.pi))
        z = builder.height(x, y)
        if kind < 0.5:
            tall = float(builder.rng.uniform(0.3, 1.6))
            builder.rows.append(cuboid(x, y, (z, z + tall), (1.2, 0.8), yaw, Material.BARK))
        elif kind < 0.75:
            builder.rows.append(cylinder(x, y, (z, z + 0.95), 0.3, Material.PAINT))
        else:
            builder.rows.append(cylinder(x, y, (z, z + 9.0), 0.15, Material.METAL))

    def _fence(self, builder: Builder, key: Key) -> None:
        x, y = self.centre(key)
        z = builder.height(x, y)
        for at, edge, along in ((y, HALF_Y, 0.0), (x, HALF_X, np.pi / 2)):
            if abs(abs(at) - edge) > CELL / 2 + 1:
                continue
            line = float(np.copysign(edge, at))
            px, py = (x, line) if along == 0.0 else (line, y)
            builder.rows.append(cuboid(px, py, (z - 0.8, z + 2.2), (CELL, 0.2), along, Material.CONCRETE))
            if along == 0.0 and at > 0:
                hall = (z - 0.8, z + 9.0)
                builder.rows.append(cuboid(px, py + 10.0, hall, (CELL, 14.0), along, Material.FACADE))

    def _make_movers(self) -> list[Mover]:
        rng = generator(self.seed, 43)
        movers = []
        for number in range(12):
            start, speed, phase, height = rng.uniform((0, 0.7, 0, 1.6), (300, 1.6, 6, 1.95))
            side = float(rng.choice([-1, 1]) * rng.uniform(2.9, 4.2))
            movers.append(
                Mover(
                    id=f"pedestrian/yard/{number}", label="pedestrian", size=(0.55, 0.55, height),
                    path=self.route, pace=Pace(speed=speed, swing=0.4 * speed, period=8.0, phase=phase),
                    start=start, offset=side, gain=float(rng.choice([-1, 1])),
                )
            )  # fmt: skip
        for number in range(4):
            start, phase = rng.uniform((0, 0), (300, 6))
            movers.append(
                Mover(
                    id=f"truck/forklift/{number}", label="truck", size=(3.4, 1.3, 2.2), path=self.route,
                    pace=Pace(speed=3.2, swing=1.0, period=14.0, phase=float(phase)), start=float(start),
                    offset=6.5 if number % 2 else -6.5, gain=1.0 if number % 2 else -1.0,
                )
            )  # fmt: skip
        return movers
