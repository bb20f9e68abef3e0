"""Everything at one moment: the robots, and the solids and boxes around them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stream.sources.simulation.city import City
from stream.sources.simulation.highway import Highway
from stream.sources.simulation.lidar import MAX_RANGE_M
from stream.sources.simulation.motion import Drive, Mover
from stream.sources.simulation.shapes import EMPTY, Box, Shapes, body, table
from stream.sources.simulation.world import Chunk, Key, World
from stream.sources.simulation.yard import Yard

WORLDS = ("city", "highway", "yard")
HEADWAY_S = 4.0
"""Robots follow each other at this interval."""
ROBOT_SIZE = (4.4, 1.8, 1.4)
SENSOR_HEIGHT_M = 1.8
POPUP_SIZE = (2.4, 1.6, 1.8)
POPUPS = ((10.0, 3.4), (14.0, -3.6), (20.0, 3.8), (26.0, -3.4))
"""Metres along the route and to its left at which the boxes of a popup stand."""
_LEAD_S = 1.0

Matrix = NDArray[np.float64]


def make_world(name: str, seed: int, seconds: float) -> World:
    """A world whose route is long enough for ``seconds`` of driving."""
    if name == "city":
        return City(seed, 300.0 + seconds * City.speed * 1.25)
    return Highway(seed) if name == "highway" else Yard(seed)


class Fleet:
    """The robots: all drive the world's route, one behind the other."""

    def __init__(self, world: World, robots: tuple[str, ...], seconds: float) -> None:
        self.world, self.robots = world, robots
        self._drive = Drive(world.route, world.speed)
        times = np.arange(-0.2, seconds + 0.4, 0.2)
        tracks = [(times, *self.at(number, times)) for number in range(len(robots))]
        self._times, self._x, self._y, self._yaw = np.concatenate(tracks, axis=1)

    def at(self, number: int, t: float | Matrix) -> tuple[Matrix, Matrix, Matrix]:
        """x, y and heading of a robot at ``t`` seconds; the last one leads."""
        return self._drive.at(np.asarray(t) + _LEAD_S + HEADWAY_S * number)

    def pose(self, number: int, t: float) -> tuple[Matrix, Matrix]:
        """Origin (3,) and rotation (3, 3) of ``base_link`` in the map frame.

        It stands on the slope of the road and sways by a fraction of a degree.
        """
        x, y, yaw = (float(value) for value in self.at(number, t))
        cos, sin = np.cos(yaw), np.sin(yaw)
        ahead, left = np.array([x + cos, x - cos, x - sin, x + sin, x]), np.zeros(5)
        left += [y + sin, y - sin, y + cos, y - cos, y]
        z = self.world.ground.hill(ahead, left)
        pitch = -np.arctan((z[0] - z[1]) / 2) + 0.004 * np.sin(2 * np.pi * 0.9 * t + number)
        roll = np.arctan((z[2] - z[3]) / 2) + 0.005 * np.sin(2 * np.pi * 0.6 * t + 2 * number)
        return np.array([x, y, z[4]]), rotation_zyx(yaw, pitch, roll)

    def towards(self, t: float) -> tuple[Matrix, Matrix]:
        """Where the first robot is at ``t`` and the direction in which it goes on, by and large."""
        here = np.array(self.at(0, t)[:2])
        ahead = np.array(self._drive.route.at(self._drive.along(t + _LEAD_S) + 250.0)[:2]) - here
        return here, ahead / max(float(np.hypot(*ahead)), 1e-6)

    def strew(self, t: float) -> list[Box]:
        """Boxes beside the way that the first robot goes on from ``t`` seconds, as a popup leaves them."""
        along = float(self._drive.along(t + _LEAD_S))
        boxes = []
        for number, (ahead, aside) in enumerate(POPUPS):
            x, y, yaw = (float(value) for value in self._drive.route.at(np.array(along + ahead)))
            x, y = x - aside * np.sin(yaw), y + aside * np.cos(yaw)
            z = float(self.world.ground.height(np.array([x]), np.array([y]))[0])
            centre = (float(x), float(y), z + POPUP_SIZE[2] / 2)
            boxes.append(
                Box(id=f"popup/{t:g}/{number}", label="popup", centre=centre, size=POPUP_SIZE, yaw=yaw)
            )
        return boxes

    def meets(self, mover: Mover) -> bool:
        """Whether a mover would ever be within about a metre of a robot."""
        x, y, yaw = mover.at(self._times)
        cos, sin = np.cos(self._yaw), np.sin(self._yaw)
        ahead = np.abs(cos * (x - self._x) + sin * (y - self._y))
        aside = np.abs(cos * (y - self._y) - sin * (x - self._x))
        length, width = mover.size[0] / 2, mover.size[1] / 2
        turn = yaw - self._yaw
        along, across = np.abs(np.cos(turn)), np.abs(np.sin(turn))
        near = (ahead < ROBOT_SIZE[0] / 2 + 1.5 + along * length + across * width) & (
            aside < ROBOT_SIZE[1] / 2 + 0.4 + across * length + along * width
        )
        return bool(near.any())


def rotation_zyx(yaw: float, pitch: float, roll: float) -> Matrix:
    """Rotation matrix, float64 (3, 3), of yaw about z, then pitch about y, then roll about x."""
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    return np.array([
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ])  # fmt: skip


class Scene:
    """A world with its fleet; from ``district_s`` seconds on the robots enter another district.

    popups : when things appear out of nothing, and when they are gone, seconds
    """

    def __init__(
        self,
        world: World,
        fleet: Fleet,
        district_s: float | None,
        popups: tuple[tuple[float, float], ...] = (),
    ) -> None:
        self.world, self.fleet = world, fleet
        self._popups = [(begin, end, fleet.strew(begin)) for begin, end in popups]
        self._border = None if district_s is None else fleet.towards(district_s)
        self._chunk = lru_cache(maxsize=256)(self._make_chunk)
        self._meets = lru_cache(maxsize=8192)(fleet.meets)

    def shapes(self, t: float, number: int) -> Shapes:
        """All solids within the sensor's range of a robot, without the robot itself."""
        x, y, _ = (float(value) for value in self.fleet.at(number, t))
        chunks = self._chunks(x, y)
        others = [box for box in self._robots(t) if box.id != self.fleet.robots[number]]
        moving = [_box(self.world, mover, t) for mover in self._movers(t, x, y, chunks)]
        rows = table([row for box in moving + others + self._strewn(t) for row in body(box)])
        return np.concatenate([EMPTY, *(chunk.shapes for chunk in chunks), rows])

    def boxes(self, t: float) -> list[Box]:
        """Everything that can drive or walk and is within range of any robot, sorted by id."""
        found = {box.id: box for box in self._robots(t) + self._strewn(t)}
        for number in range(len(self.fleet.robots)):
            x, y, _ = (float(value) for value in self.fleet.at(number, t))
            chunks = self._chunks(x, y)
            moving = [_box(self.world, mover, t) for mover in self._movers(t, x, y, chunks)]
            parked = [box for chunk in chunks for box in chunk.parked]
            near = [b for b in parked if np.hypot(b.centre[0] - x, b.centre[1] - y) < MAX_RANGE_M]
            found |= {box.id: box for box in near + moving}
        return [found[name] for name in sorted(found)]

    def _strewn(self, t: float) -> list[Box]:
        return [box for begin, end, boxes in self._popups if begin <= t < end for box in boxes]

    def _chunks(self, x: float, y: float) -> list[Chunk]:
        return [self._chunk(key) for key in self.world.chunks_near(x, y, MAX_RANGE_M)]

    def _make_chunk(self, key: Key) -> Chunk:
        if self._border is None:
            return self.world.chunk(key, 0)
        here, ahead = self._border
        return self.world.chunk(key, int((np.array(self.world.centre(key)) - here) @ ahead > 0))

    def _movers(self, t: float, x: float, y: float, chunks: list[Chunk]) -> list[Mover]:
        movers = [mover for chunk in chunks for mover in chunk.movers]
        movers += self.world.traffic(t, x, y, MAX_RANGE_M)
        return [mover for mover in movers if not self._meets(mover) and _near(mover, t, x, y)]

    def _robots(self, t: float) -> list[Box]:
        boxes = []
        for number, name in enumerate(self.fleet.robots):
            centres = []
            for moment in (t - 0.05, t, t + 0.05):
                px, py, yaw = (float(value) for value in self.fleet.at(number, moment))
                z = float(self.world.ground.hill(np.array([px]), np.array([py]))[0])
                centres.append((px, py, z + ROBOT_SIZE[2] / 2, yaw))
            boxes.append(_moving_box(name, "robot", ROBOT_SIZE, centres))
        return boxes


def _near(mover: Mover, t: float, x: float, y: float) -> bool:
    px, py, _ = mover.at(t)
    return bool(np.hypot(px - x, py - y) < MAX_RANGE_M + mover.size[0])


def _box(world: World, mover: Mover, t: float) -> Box:
    x, y, yaw = mover.at(np.array([t - 0.05, t, t + 0.05]))
    z = world.ground.height(x, y) + mover.size[2] / 2
    centres = [(float(x[i]), float(y[i]), float(z[i]), float(yaw[i])) for i in range(3)]
    return _moving_box(mover.id, mover.label, mover.size, centres)


def _moving_box(
    name: str, label: str, size: tuple[float, float, float], centres: list[tuple[float, float, float, float]]
) -> Box:
    """The box at the middle of three moments 0.05 s apart, with its velocity from the outer two."""
    before, now, after = centres
    velocity = ((after[0] - before[0]) / 0.1, (after[1] - before[1]) / 0.1, (after[2] - before[2]) / 0.1)
    return Box(id=name, label=label, centre=now[:3], size=size, yaw=now[3], velocity=velocity)
