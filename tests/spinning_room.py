"""A room, and a spinning sensor that drives and turns fast in it: every ray is cast from its own place."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stream.sweep import Sweep
from stream.transform import Transform

SPEED_MPS, TURN_RPS = 20.0, 1.5
PERIOD_NS = 100_000_000
TRANSFORM_NS = 20_000_000
FIRST_NS = 10_000_000_000
HALF_M = np.array([30.07, 12.07, 4.07])
"""The walls are so far from the middle of the room, and not on a border of cells."""

Array = NDArray[np.float64]


def pose_at(stamp_ns: int) -> tuple[Array, Array]:
    """Origin (3,) and rotation (3, 3), sensor to map, of a sensor with a constant pace and turn."""
    t = (stamp_ns - FIRST_NS) * 1e-9
    c, s = math.cos(TURN_RPS * t), math.sin(TURN_RPS * t)
    return np.array([SPEED_MPS * t - 5, 0.4 * t, 0.2]), np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def transform_at(stamp_ns: int) -> Transform:
    origin, _ = pose_at(stamp_ns)
    half = TURN_RPS * (stamp_ns - FIRST_NS) * 1e-9 / 2
    x, y, z = origin.tolist()
    return Transform(
        robot_id="robot", stamp_ns=stamp_ns, parent="map", child="lidar", translation=(x, y, z),
        rotation=(0.0, 0.0, math.sin(half), math.cos(half)),
    )  # fmt: skip


def transforms(first_ns: int, last_ns: int) -> list[Transform]:
    """At 50 Hz, none on a sweep's stamp, the first before ``first_ns`` and the last after ``last_ns``."""
    begin = (first_ns // TRANSFORM_NS - 1) * TRANSFORM_NS + 7_000_000
    return [transform_at(stamp) for stamp in range(begin, last_ns + 2 * TRANSFORM_NS, TRANSFORM_NS)]


def turn(index: int, *, begin_ns: int = 0, azimuths: int = 720) -> tuple[Sweep, Array]:
    """Sweep ``index``, whose first point is ``begin_ns`` from its stamp, and the true places of its points.

    Returns the sweep, and float64 (N, 3), map frame
    """
    stamp_ns = FIRST_NS + index * PERIOD_NS
    offsets, points, places = [], [], []
    for column in range(azimuths):
        offset = begin_ns + PERIOD_NS * column // azimuths
        origin, rotation = pose_at(stamp_ns + offset)
        angle = 2 * math.pi * column / azimuths
        for rise in (-0.1, -0.04, 0.02, 0.06):
            ray = np.array([math.cos(angle), math.sin(angle), rise])
            heading = rotation @ ray
            met = heading != 0
            reach = ((np.sign(heading) * HALF_M - origin)[met] / heading[met]).min()
            offsets.append(offset)
            points.append(reach * ray)
            places.append(origin + reach * heading)
    sweep = Sweep(
        stream_id="robot/lidar", stamp_ns=stamp_ns, frame="lidar", points=np.array(points, np.float32),
        intensity=np.full(len(points), 0.5, np.float32), time_offset_ns=np.array(offsets, np.int32),
    )  # fmt: skip
    return sweep, np.array(places)


def off_walls_m(places: Array) -> Array:
    """How far each place is from the nearest wall, floor or ceiling, float64 (N,)."""
    near: Array = np.abs(HALF_M - np.abs(places)).min(axis=1)
    return near
