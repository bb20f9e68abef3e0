"""Volumes within balls and cylinders in closed form, against sums of slices; also of balls a map across."""

from __future__ import annotations

import ctypes
import itertools
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad

from native.build_ffi import FLAGS
from tests.data import ROOT
from tests.native.oracle import F64
from tests.native.region_oracle import CELL_VOLUME, CORNERS

ROOM = 65536
"""Bytes that hold an ``octa_solid``."""

LONG = np.longdouble


class Solid:
    """A cell, and what planes leave of it."""

    def __init__(self, core: Any) -> None:
        self._core, self._memory = core, ctypes.create_string_buffer(ROOM)
        core.octa_solid_cell(self._memory)

    def cut(self, normal: F64, offset: float) -> Solid:
        """Keep normal . x <= offset."""
        self._core.octa_solid_cut(self._memory, vector(normal), ctypes.c_double(offset))
        return self

    def volume(self) -> float:
        """Of all."""
        return float(self._core.octa_solid_volume(self._memory))

    def in_ball(self, center: F64, radius: float) -> float:
        """Within a ball."""
        return float(self._core.octa_solid_in_ball(self._memory, vector(center), ctypes.c_double(radius)))

    def in_cylinder(self, on_axis: F64, axis: F64, radius: float) -> float:
        """Within a cylinder."""
        size = ctypes.c_double(radius)
        return float(self._core.octa_solid_in_cylinder(self._memory, vector(on_axis), vector(axis), size))


def vector(v: F64) -> Any:
    return (ctypes.c_double * 3)(*map(float, v))


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Any:
    source, library = ROOT / "native" / "src", tmp_path_factory.mktemp("solid") / "solid.so"
    files = [str(source / name) for name in ("solid.c", "solid_round.c", "cellshape.c")]
    flags = [flag for flag in FLAGS if "visibility" not in flag]
    command = [os.environ.get("CC", "gcc"), *flags, "-fPIC", "-shared", *files, "-lm", "-o", str(library)]
    subprocess.run(command, check=True, cwd=Path(source))
    found = ctypes.CDLL(str(library))
    for name in ("octa_solid_volume", "octa_solid_in_ball", "octa_solid_in_cylinder"):
        getattr(found, name).restype = ctypes.c_double
    return found


# ---- the oracle: slices at right angles to z, each a polygon and a disc


EDGES = np.array(
    [
        (a, b)
        for a, b in itertools.combinations(CORNERS, 2)
        if abs(np.sum((a - b) ** 2) - 0.5) < 1e-9 and a[2] != b[2]
    ]
)
"""Edges of a cell that slices cross, (32, 2, 3)."""


def polygon_at(z: float) -> Any:
    """The corners of a slice of a cell, against the clock."""
    a, b = EDGES[((EDGES[:, :, 2] - z).prod(axis=1) <= 0)].transpose(1, 0, 2)
    points = (a[:, :2] + ((z - a[:, 2]) / (b[:, 2] - a[:, 2]))[:, None] * (b[:, :2] - a[:, :2])).astype(LONG)
    middle = points.mean(axis=0)
    return points[np.argsort(np.arctan2(*(points - middle).T[::-1]))]


def in_disc(polygon: Any, center: F64, radius: Any) -> float:
    """Area of a polygon within a disc: triangles and sectors about its middle, in long numbers."""
    total = LONG(0)
    moved = polygon - np.array(center[:2], LONG)
    for p, q in zip(moved, np.roll(moved, -1, axis=0), strict=True):
        along = q - p
        a, b, c = along @ along, p @ along, p @ p - radius * radius
        if a == 0:
            continue
        root = b * b - a * c
        times = [LONG(0), LONG(1)]
        if root > 0:
            times[1:1] = [t for t in ((-b - np.sqrt(root)) / a, (-b + np.sqrt(root)) / a) if 0 < t < 1]
        for s, t in itertools.pairwise(times):
            u, v, half = p + s * along, p + t * along, p + (s + t) / 2 * along
            cross = u[0] * v[1] - u[1] * v[0]
            inside = half @ half <= radius * radius
            total += cross / 2 if inside else radius * radius / 2 * np.arctan2(cross, u @ v)
    return float(total)


def sliced(center: F64, radius: float, ball: bool) -> float:
    """Volume of the cell within a ball, or within a cylinder along z."""

    def area(z: float) -> float:
        rim2 = LONG(radius) ** 2 - (LONG(z) - LONG(center[2])) ** 2 if ball else LONG(radius) ** 2
        return in_disc(polygon_at(z), center, np.sqrt(rim2)) if rim2 > 0 else 0.0

    ends = [-1, -0.5, 0, 0.5, 1]
    ends += [z for z in (center[2] - radius, center[2] + radius) if ball and -1 < z < 1]
    pieces = sorted(map(float, ends))
    small = 1e-9
    return sum(
        quad(area, a + small, b - small, epsabs=1e-7, limit=20)[0]
        for a, b in itertools.pairwise(pieces)
        if b - a > 2 * small
    )


def test_a_cell_is_whole(core: Any) -> None:
    assert Solid(core).volume() == pytest.approx(CELL_VOLUME, abs=1e-14)
    assert Solid(core).in_ball(np.array([0.3, 0.1, 0.2]), 5.0) == pytest.approx(CELL_VOLUME, abs=1e-12)
    axis = np.array([0.6, 0.0, 0.8])
    assert Solid(core).in_cylinder(np.array([0.3, 0.1, 0.2]), axis, 5.0) == pytest.approx(
        CELL_VOLUME, abs=1e-12
    )


@pytest.mark.parametrize("radius", [0.5, 0.9, 1.1, 2.0])
@pytest.mark.parametrize("center", [(0.0, 0.0, 0.0), (0.9, 0.4, 0.1), (1.3, 0.9, -0.7)])
def test_small_balls_are_the_sums_of_their_slices(
    core: Any, radius: float, center: tuple[float, ...]
) -> None:
    got = Solid(core).in_ball(np.array(center), radius)
    assert got == pytest.approx(sliced(np.array(center), radius, ball=True), abs=2e-6)


@pytest.mark.parametrize("radius", [10.0, 1e3, 1e4, 1e5])
@pytest.mark.parametrize("way", [(1, 0, 0), (1, 1, 1), (0.48, -0.6, 0.64), (0.001, 0.002, 1.0)])
@pytest.mark.parametrize("reach", [-0.6, 0.0, 0.5])
def test_large_balls_are_nearly_half_spaces(
    core: Any, radius: float, way: tuple[float, ...], reach: float
) -> None:
    """Their surface lies within reach**2 / 2 R of a plane; between two planes there is less than that."""
    normal = np.array(way) / np.linalg.norm(way)
    got = Solid(core).in_ball((reach - radius) * normal, radius)
    outer = Solid(core).cut(normal, reach).volume()
    inner = Solid(core).cut(normal, reach - 1.25 / 2 / radius).volume()
    slack = 1e-14 * radius**2 + 1e-12
    assert inner - slack <= got <= outer + slack


@pytest.mark.parametrize("radius", [30.0, 3000.0])
def test_large_balls_are_the_sums_of_their_slices(core: Any, radius: float) -> None:
    normal = np.array([0.48, -0.6, 0.64])
    center = (0.2 - radius) * normal
    got = Solid(core).in_ball(center, radius)
    assert got == pytest.approx(sliced(center, radius, ball=True), abs=1e-6)


@pytest.mark.parametrize("radius", [0.2, 0.9, 40.0])
@pytest.mark.parametrize("center", [(0.0, 0.0), (0.7, 0.3)])
def test_cylinders_along_an_axis_are_the_sums_of_their_slices(
    core: Any, radius: float, center: tuple[float, float]
) -> None:
    on_axis, axis = np.array([*center, 0.4]), np.array([0.0, 0.0, 1.0])
    if radius > 2:
        on_axis[0] -= radius
    got = Solid(core).in_cylinder(on_axis, axis, radius)
    assert got == pytest.approx(sliced(on_axis, radius, ball=False), abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_cylinders_in_any_direction_count_as_many_points(core: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    on_axis, radius = rng.uniform(-0.8, 0.8, 3), rng.uniform(0.3, 1.0)
    points = rng.uniform(-1, 1, (400_000, 3))
    points = points[np.abs(points).sum(axis=1) <= 1.5]
    away = points - on_axis
    away -= (away @ axis)[:, None] * axis
    counted = CELL_VOLUME * float((np.linalg.norm(away, axis=1) <= radius).mean())
    assert Solid(core).in_cylinder(on_axis, axis, radius) == pytest.approx(
        counted, abs=20 / math.sqrt(len(points))
    )


def test_parts_of_a_cell_add_up(core: Any) -> None:
    """However often a cell is cut, what lies in a ball is the sum over its parts."""
    rng = np.random.default_rng(7)
    for _ in range(200):
        normals, offsets = rng.normal(size=(3, 3)), rng.uniform(-0.6, 0.6, 3)
        center, radius = rng.uniform(-1, 1, 3), rng.uniform(0.3, 1.6)
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        whole, parts = np.zeros(3), np.zeros(3)
        for signs in np.ndindex(2, 2, 2):
            solid = Solid(core)
            for sign, normal, offset in zip(signs, normals, offsets, strict=True):
                solid.cut((1 - 2 * sign) * normal, (1 - 2 * sign) * offset)
            parts += [solid.volume(), solid.in_ball(center, radius), solid.in_cylinder(center, axis, radius)]
        solid = Solid(core)
        whole += [solid.volume(), solid.in_ball(center, radius), solid.in_cylinder(center, axis, radius)]
        assert parts == pytest.approx(whole, abs=1e-10)


def test_planes_along_faces_and_through_corners(core: Any) -> None:
    """Cuts that only touch, that take all but a face, and that follow the mirror planes."""
    for normal, reach in ([np.eye(3)[0], 1.0], [np.ones(3), 1.5]):
        assert Solid(core).cut(normal, reach).volume() == pytest.approx(CELL_VOLUME, abs=1e-14)
        assert Solid(core).cut(-normal, -reach).volume() == pytest.approx(0, abs=1e-14)
        assert Solid(core).cut(normal, 0.0).volume() == pytest.approx(CELL_VOLUME / 2, abs=1e-14)
    eighth = Solid(core)
    for axis in range(3):
        eighth.cut(np.eye(3)[axis], 0.0)
    assert eighth.volume() == pytest.approx(CELL_VOLUME / 8, abs=1e-14)
    assert eighth.in_ball(np.zeros(3), 0.8) == pytest.approx(math.pi * 0.8**3 / 6, abs=1e-14)
    corner = Solid(core).cut(-np.array([2.0, 1.0, 0.0]), -2.5)
    assert corner.volume() == pytest.approx(0, abs=1e-15)
    assert Solid(core).cut(np.eye(3)[2], -3.0).volume() == 0.0
