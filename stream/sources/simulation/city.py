"""A city: a grid of streets with houses, parks, parked cars, trees, people and traffic.

Vehicles keep to slots that pass the crossings in turn, east and west in one half of the cycle, north and
south in the other, so that no two of them meet; bicycles ride at half the pace and use every second turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from stream.sources.simulation.city_route import HALF_WIDTH, LANE, PITCH, plan_route
from stream.sources.simulation.ground import Ground, Streets
from stream.sources.simulation.motion import Array, Line, Mover, Pace, Route, route_through
from stream.sources.simulation.shapes import Material, crown, cuboid, cylinder, tree
from stream.sources.simulation.world import CAR, TRUCK, VAN, Builder, Chunk, Key, generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a district looks; shares are probabilities by plot."""

    houses: float
    storeys: tuple[int, int]
    setback: float
    gaps: float
    parked: float
    trees: float
    people: int
    parks: float


STYLES = (
    Style(houses=0.9, storeys=(2, 7), setback=1.0, gaps=0.3, parked=0.5, trees=0.5, people=8, parks=0.12),
    Style(houses=0.45, storeys=(1, 3), setback=6.0, gaps=0.9, parked=0.15, trees=0.9, people=2, parks=0.35),
)


class City:
    """The world ``city``; chunks are its blocks."""

    speed = 8.0

    def __init__(self, seed: int, length: float) -> None:
        self.seed = seed
        self.ground: Ground = Streets(seed, PITCH, HALF_WIDTH)
        self.route = plan_route(seed, length)
        phase = float(generator(seed, 22).uniform(0, 2 * np.pi))
        self._pace = Pace(speed=8.0, swing=3.0, period=26.0, phase=phase)
        self._slot = lru_cache(maxsize=4096)(self._make_slot)

    def chunks_near(self, x: float, y: float, reach: float) -> list[Key]:
        """Blocks that a circle of ``reach`` metres touches."""
        columns = range(int((x - reach) // PITCH), int((x + reach) // PITCH) + 1)
        rows = range(int((y - reach) // PITCH), int((y + reach) // PITCH) + 1)
        return [(i, j) for i in columns for j in rows]

    def centre(self, key: Key) -> tuple[float, float]:
        """Middle of a block."""
        return (key[0] + 0.5) * PITCH, (key[1] + 0.5) * PITCH

    def chunk(self, key: Key, style: int) -> Chunk:
        """One block with the near halves of the four streets around it."""
        rng = generator(self.seed, 23, *key)
        return _Block(self.ground, rng, key, STYLES[style]).build()

    def traffic(self, t: float, x: float, y: float, reach: float) -> list[Mover]:
        """Cars, trucks and bicycles on the lanes nearby."""
        found: list[Mover] = []
        driven = float(self._pace.distance(np.array(t)))
        for axis in (0, 1):
            along, across = (x, y) if axis == 0 else (y, x)
            for line in range(int(np.ceil((across - reach) / PITCH)), int((across + reach) // PITCH) + 1):
                for way in (1, -1):
                    for gain in (1.0, 0.5):
                        base = way * gain * (driven - axis * PITCH / 2)
                        first = int(np.floor((along - reach - base) / PITCH))
                        last = int(np.ceil((along + reach - base) / PITCH))
                        for slot in range(first, last + 1):
                            found += self._slot(axis, line, way, gain, slot)
        return found

    def _make_slot(self, axis: int, line: int, way: int, gain: float, slot: int) -> tuple[Mover, ...]:
        rng = generator(self.seed, 24, axis, line, way, int(2 * gain), slot)
        heading = (0.0 if way > 0 else np.pi) + axis * np.pi / 2
        lane = Line(0.0, line * PITCH, heading) if axis == 0 else Line(line * PITCH, 0.0, heading)
        start = way * slot * PITCH - gain * axis * PITCH / 2
        name = f"{'ew' if axis == 0 else 'ns'}{line}{'+' if way > 0 else '-'}/{slot}"
        movers = []
        for place, shift in enumerate((-8.0, 6.0) if gain == 1.0 else (0.0,)):
            share, kind = rng.random(2)
            wobble, rhythm, phase, size = rng.uniform((0.4, 9, 0, -0.07), (1.6, 20, 2 * np.pi, 0.07))
            if share > (0.5 if gain == 1.0 else 0.4):
                continue
            label, base = _vehicle(gain, kind)
            movers.append(
                Mover(
                    id=f"{label}/{name}/{place}", label=label, size=_scaled(base, 1 + size), path=lane,
                    pace=self._pace, start=start + shift, offset=-LANE if gain == 1.0 else -4.1, gain=gain,
                    wobble=wobble, rhythm=rhythm, phase=phase,
                )
            )  # fmt: skip
        return tuple(movers)


def _vehicle(gain: float, kind: float) -> tuple[str, tuple[float, float, float]]:
    if gain < 1.0:
        return "cyclist", (1.75, 0.6, 1.75)
    if kind < 0.08:
        return "truck", TRUCK
    return "car", VAN if kind < 0.2 else CAR


def _scaled(size: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    return size[0] * factor, size[1] * factor, size[2] * factor


class _Block(Builder):
    """Builds one block side by side; a side's coordinates are u along its street and v away from it."""

    def __init__(self, ground: Ground, rng: np.random.Generator, key: Key, style: Style) -> None:
        super().__init__(ground, rng, f"block{key[0]},{key[1]}")
        self.key, self.style = key, style
        self.level = self.height((key[0] + 0.5) * PITCH, (key[1] + 0.5) * PITCH)

    def build(self) -> Chunk:
        """Kerb side first, then houses or a park, then people."""
        park = self.rng.random() < self.style.parks
        for side in range(4):
            self._kerb(side)
            self._pavement(side)
            if not park:
                self._houses(side)
        if park:
            self._park()
        self._people()
        return self.chunk()

    def place(self, side: int, u: float, v: float) -> tuple[float, float, float]:
        """World x, y and the direction of the street."""
        half = PITCH / 2
        angle = side * np.pi / 2
        dx, dy = u - half, v - half
        x = (self.key[0] + 0.5) * PITCH + dx * np.cos(angle) - dy * np.sin(angle)
        y = (self.key[1] + 0.5) * PITCH + dx * np.sin(angle) + dy * np.cos(angle)
        return float(x), float(y), float(angle)

    def _kerb(self, side: int) -> None:
        for u in np.arange(17.0, PITCH - 16.0, 6.2):
            if self.rng.random() < self.style.parked:
                jitter = self.rng.uniform((-0.5, -0.15, -0.03), (0.5, 0.15, 0.03))
                x, y, yaw = self.place(side, u + jitter[0], 5.85 + jitter[1])
                self.park(x, y, yaw + float(jitter[2]))

    def _pavement(self, side: int) -> None:
        rng = self.rng
        for u in np.arange(16.0, PITCH - 15.0, 9.5):
            if rng.random() < self.style.trees:
                x, y, _ = self.place(side, u + rng.uniform(-1.5, 1.5), 7.9)
                height = rng.uniform(5, 9)
                self.rows += tree(x, y, self.height(x, y), height, rng.uniform(0.22, 0.32) * height)
        for u, v in ((12.0, 7.6), (40.0, 7.6), (9.0, 8.6)):
            x, y, _ = self.place(side, u + rng.uniform(-0.5, 0.5), v)
            tall = rng.uniform(6.5, 8) if v < 8 else 3.2
            self.stand(x, y, tall, 0.09)
        for u in rng.uniform(14, PITCH - 14, 2):
            kind = rng.random()
            x, y, yaw = self.place(side, u, 9.9 if kind < 0.3 else 7.7)
            z = self.height(x, y)
            if kind < 0.3:
                self.rows.append(cuboid(x, y, (z, z + 0.9), (1.8, 0.7), yaw, Material.METAL))
            elif kind < 0.7:
                self.rows.append(cylinder(x, y, (z, z + 1.1), 0.3, Material.CONCRETE))
            elif kind < 0.85:
                self.rows.append(cuboid(x, y, (z, z + 2.4), (3.6, 0.1), yaw, Material.GLASS))

    def stand(self, x: float, y: float, tall: float, radius: float) -> None:
        """A lamp or signal post; a low one carries a head."""
        z = self.height(x, y)
        self.rows.append(cylinder(x, y, (z, z + tall), radius, Material.METAL))
        if tall < 4:
            self.rows.append(cuboid(x, y, (z + tall - 0.9, z + tall), (0.3, 0.3), 0.0, Material.METAL))

    def _houses(self, side: int) -> None:
        rng, style = self.rng, self.style
        u, end = (11.3, PITCH - 11.3) if side % 2 == 0 else (26.0, PITCH - 26.0)
        while u < end - 7:
            width = min(float(rng.uniform(11, 24)), end - u)
            if rng.random() < style.houses:
                self._house(side, u + width / 2, width)
            else:
                self._fence(side, u + width / 2, width)
            u += width + (float(rng.uniform(1.5, 5)) if rng.random() < style.gaps else 0.02)

    def _house(self, side: int, u: float, width: float) -> None:
        rng, style = self.rng, self.style
        front = 11.2 + float(rng.uniform(0, style.setback))
        depth = float(rng.uniform(9, 13))
        storeys = int(rng.integers(style.storeys[0], style.storeys[1] + 1))
        x, y, yaw = self.place(side, u, front + depth / 2)
        z, top = self.level - 1.5, self.level + 3.1 * storeys + 0.8
        self.rows.append(cuboid(x, y, (z, top), (width, depth), yaw, Material.FACADE))
        x, y, yaw = self.place(side, u + float(rng.uniform(-0.3, 0.3)) * width, front - 0.4)
        step = self.height(x, y)
        self.rows.append(cuboid(x, y, (step, step + 0.45), (2.2, 0.9), yaw, Material.CONCRETE))
        if storeys > 1 and rng.random() < 0.6:
            x, y, yaw = self.place(side, u, front - 0.35)
            floor = self.level + 3.3
            for _ in range(min(storeys - 1, 2)):
                size = (width * 0.5, 0.9)
                self.rows.append(cuboid(x, y, (floor, floor + 1.1), size, yaw, Material.CONCRETE))
                floor += 3.1

    def _fence(self, side: int, u: float, width: float) -> None:
        rng = self.rng
        x, y, yaw = self.place(side, u, 11.4)
        tall = float(rng.uniform(0.9, 2.1))
        z = self.height(x, y)
        self.rows.append(cuboid(x, y, (z - 0.4, z + tall), (width * 0.8, 0.25), yaw, Material.CONCRETE))
        for shift in (-0.25, 0.2):
            x, y, _ = self.place(side, u + shift * width, float(rng.uniform(14, 20)))
            self.rows += tree(
                x, y, self.height(x, y), float(rng.uniform(5, 10)), float(rng.uniform(1.5, 2.8))
            )

    def _park(self) -> None:
        rng = self.rng
        for u, v in rng.uniform(14, PITCH - 14, (26, 2)):
            x, y, _ = self.place(0, float(u), float(v))
            z, height = self.height(x, y), float(rng.uniform(4, 11))
            if rng.random() < 0.25:
                self.rows.append(crown(x, y, (z - 0.4, z + 1.4), 1.0))
            else:
                self.rows += tree(x, y, z, height, float(rng.uniform(0.24, 0.36)) * height)
        for side in range(4):
            for u in (24.0, 56.0):
                x, y, yaw = self.place(side, u, 11.6)
                z = self.height(x, y)
                self.rows.append(cuboid(x, y, (z, z + 0.9), (22.0, 0.6), yaw, Material.LEAVES))

    def _people(self) -> None:
        rng = self.rng
        for number in range(int(rng.poisson(self.style.people))):
            inset, start, speed, phase, height = rng.uniform((8.7, 0, 0.8, 0, 1.55), (10.6, 250, 1.7, 6, 1.9))
            path = _around(self.place(0, inset, inset)[:2], PITCH - 2 * inset, bool(rng.random() < 0.5))
            self.movers.append(
                Mover(
                    id=f"pedestrian/{self.name}/{number}", label="pedestrian",
                    size=(0.55, 0.55, height), path=path, start=start,
                    pace=Pace(speed=speed, swing=0.3 * speed, period=9.0, phase=phase),
                )
            )  # fmt: skip


def _around(corner: tuple[float, float], side: float, clockwise: bool) -> Route:
    """A walk around a block whose corners are cut a little."""
    cut = np.array([1.0, side - 1.0])
    x = np.concatenate([cut, [side, side], cut[::-1], [0, 0], cut[:1]])
    y = np.concatenate([[0, 0], cut, [side, side], cut[::-1], [0]])
    if clockwise:
        x, y = x[::-1], y[::-1]
    return _polyline(corner[0] + x, corner[1] + y)


def _polyline(x: Array, y: Array) -> Route:
    """A closed route along straight edges, dense enough that the heading turns within 0.5 m."""
    lengths = np.hypot(np.diff(x), np.diff(y))
    s = np.concatenate([[0.0], np.cumsum(lengths)])
    dense = np.linspace(0, s[-1], int(s[-1] / 0.5) + 1)
    return route_through(np.interp(dense, s, x), np.interp(dense, s, y), closed=True)
