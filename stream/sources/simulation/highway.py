"""A motorway: two carriageways of three lanes around a long ring, rails, noise walls, gantries, woods."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from stream.sources.simulation.ground import Carriageway, Ground
from stream.sources.simulation.motion import Array, Mover, Pace, Route
from stream.sources.simulation.shapes import Material, crown, cuboid, cylinder, tree
from stream.sources.simulation.world import CAR, TRUCK, VAN, Builder, Chunk, Key, generator

HALF_LENGTH, RADIUS = 1500.0, 500.0
LANES = (2.7, 6.3, 10.0)
"""Lane centres from the median, metres."""
SPEEDS = (33.0, 27.0, 22.5)
SPACING, SECTION = 50.0, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a stretch looks: woods, noise walls, and the share of rail that is there."""

    trees: int
    walls: float
    rails: float


STYLES = (Style(trees=9, walls=0.3, rails=1.0), Style(trees=2, walls=0.9, rails=0.3))


def ring(offset: float, *, reverse: bool = False) -> Route:
    """The ring ``offset`` metres outside its median, counter-clockwise or the other way round."""
    radius = RADIUS + offset
    straight = np.linspace(-HALF_LENGTH, HALF_LENGTH, 61)[:-1]
    angle = np.linspace(-np.pi / 2, np.pi / 2, 629)[:-1]
    x = [straight, HALF_LENGTH + radius * np.cos(angle), -straight, -HALF_LENGTH - radius * np.cos(angle)]
    y = [np.full(60, -radius), radius * np.sin(angle), np.full(60, radius), -radius * np.sin(angle)]
    heading = [np.zeros(60), angle + np.pi / 2, np.full(60, np.pi), angle + 1.5 * np.pi]
    px, py = np.append(np.concatenate(x), -HALF_LENGTH), np.append(np.concatenate(y), -radius)
    turned: Array = np.append(np.concatenate(heading), 2 * np.pi)
    if reverse:
        px, py, turned = px[::-1].copy(), py[::-1].copy(), turned[::-1] + np.pi
    s = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(px), np.diff(py)))])
    return Route(s, px, py, turned, closed=True)


class Highway:
    """The world ``highway``; chunks are stretches of the ring, 60 m long."""

    speed = 25.0

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.ground: Ground = Carriageway(seed, HALF_LENGTH, RADIUS)
        self.route = ring(LANES[1])
        self._median = ring(0.0)
        self._lanes = [(ring(lane * way, reverse=way < 0), way) for way in (1, -1) for lane in LANES]
        phases = generator(seed, 31).uniform(0, 2 * np.pi, len(self._lanes))
        self._paces = [
            Pace(speed=SPEEDS[number % 3], swing=2.0, period=40.0, phase=float(phase))
            for number, phase in enumerate(phases)
        ]
        self._sections = int(self._median.length // SECTION)
        middles = (np.arange(self._sections) + 0.5) * self._median.length / self._sections
        self._x, self._y, self._heading = self._median.at(middles)
        self._vehicle = lru_cache(maxsize=4096)(self._make_vehicle)

    def chunks_near(self, x: float, y: float, reach: float) -> list[Key]:
        """Stretches whose middle is within ``reach`` and 70 metres."""
        near = np.flatnonzero(np.hypot(self._x - x, self._y - y) < reach + 70.0)
        return [(int(number), 0) for number in near]

    def centre(self, key: Key) -> tuple[float, float]:
        """Middle of a stretch."""
        return float(self._x[key[0]]), float(self._y[key[0]])

    def chunk(self, key: Key, style: int) -> Chunk:
        """One stretch with both verges."""
        builder = Builder(self.ground, generator(self.seed, 32, *key), f"stretch{key[0]}")
        _Stretch(builder, self._median, key[0] * self._median.length / self._sections).build(STYLES[style])
        return builder.chunk()

    def traffic(self, t: float, x: float, y: float, reach: float) -> list[Mover]:
        """Vehicles on all six lanes nearby."""
        found: list[Mover] = []
        for lane, (path, _) in enumerate(self._lanes):
            moved = float(self._paces[lane].distance(np.array(t)))
            count = int(path.length // SPACING)
            places = np.arange(count, dtype=np.float64) * (path.length / count) + moved
            px, py, _ = path.at(places)
            near = np.flatnonzero(np.hypot(px - x, py - y) < reach + 40.0)
            for number in near:
                found += self._vehicle(lane, int(number))
        return found

    def _make_vehicle(self, lane: int, number: int) -> tuple[Mover, ...]:
        rng = generator(self.seed, 33, lane, number)
        share, kind = rng.random(2)
        shift, wobble, rhythm, phase, size = rng.uniform((-5, 1, 15, 0, 0.93), (5, 6, 40, 2 * np.pi, 1.07))
        if share > 0.55:
            return ()
        trucks = (0.0, 0.1, 0.45)[lane % 3]
        label, base = ("truck", TRUCK) if kind < trucks else ("car", VAN if kind > 0.85 else CAR)
        if label == "truck":
            base = (15.0, 2.5, 3.9)
        path = self._lanes[lane][0]
        spacing = path.length / int(path.length // SPACING)
        return (
            Mover(
                id=f"{label}/lane{lane}/{number}", label=label,
                size=(base[0] * size, base[1] * size, base[2] * size), path=path, pace=self._paces[lane],
                start=number * spacing + shift, wobble=wobble, rhythm=rhythm, phase=phase,
            ),
        )  # fmt: skip


class _Stretch:
    """Builds one stretch from ``start`` metres along the median."""

    def __init__(self, builder: Builder, median: Route, start: float) -> None:
        self.builder, self.rng = builder, builder.rng
        self.median, self.start = median, start

    def build(self, style: Style) -> None:
        """Median first, then the two verges, now and then a gantry."""
        for piece in np.arange(10.0, SECTION, 20.0):
            self.wall(piece, 0.0, (0.0, 0.9), 0.6, Material.CONCRETE)
        for side in (1, -1):
            self._verge(side, style)
        if self.rng.random() < 0.25:
            self._gantry()
        x, y, _ = self.place(30.0, 0.0)
        self._post(x, y, 10.0)

    def place(self, along: float, across: float) -> tuple[float, float, float]:
        """x, y and direction of the road; ``across`` is positive inside the ring."""
        x, y, heading = (float(v) for v in self.median.at(np.array(self.start + along)))
        return x - across * np.sin(heading), y + across * np.cos(heading), heading

    def wall(
        self, along: float, across: float, z: tuple[float, float], width: float, material: Material
    ) -> None:
        """Twenty metres of something that runs along the road."""
        x, y, yaw = self.place(along, across)
        ground = self.builder.height(x, y)
        length = 20.0 * (RADIUS + abs(across)) / RADIUS
        low = ground + z[0] - (0.5 if z[0] == 0 else 0)
        self.builder.rows.append(cuboid(x, y, (low, ground + z[1]), (length, width), yaw, material))

    def _post(self, x: float, y: float, tall: float) -> None:
        z = self.builder.height(x, y)
        self.builder.rows.append(cylinder(x, y, (z, z + tall), 0.1, Material.METAL))

    def _verge(self, side: int, style: Style) -> None:
        rng = self.rng
        if rng.random() < style.rails:
            for piece in np.arange(10.0, SECTION, 20.0):
                self.wall(piece, 14.2 * side, (0.45, 0.78), 0.12, Material.METAL)
            for along in np.arange(2.0, SECTION, 4.0):
                x, y, _ = self.place(along, 14.3 * side)
                self._post(x, y, 0.7)
        if rng.random() < style.walls:
            for piece in np.arange(10.0, SECTION, 20.0):
                self.wall(piece, 20.0 * side, (0.0, 3.6), 0.3, Material.CONCRETE)
        for along, beyond in zip(
            rng.uniform(0, SECTION, style.trees), rng.uniform(23, 45, style.trees), strict=True
        ):
            x, y, _ = self.place(float(along), float(beyond) * side)
            z, height = self.builder.height(x, y), float(rng.uniform(4, 12))
            if rng.random() < 0.35:
                self.builder.rows.append(crown(x, y, (z - 0.3, z + 0.25 * height), 0.2 * height))
            else:
                self.builder.rows += tree(x, y, z, height, float(rng.uniform(0.2, 0.35)) * height)

    def _gantry(self) -> None:
        side = int(self.rng.choice([-1, 1]))
        for across in (0.3 * side, 14.8 * side):
            x, y, _ = self.place(30.0, across)
            z = self.builder.height(x, y)
            self.builder.rows.append(cylinder(x, y, (z, z + 7.0), 0.25, Material.METAL))
        x, y, yaw = self.place(30.0, 7.5 * side)
        z = self.builder.height(x, y)
        self.builder.rows.append(cuboid(x, y, (z + 5.6, z + 7.0), (0.4, 14.5), yaw, Material.PAINT))
