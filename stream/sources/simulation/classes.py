"""What the points of a simulated sweep lie on: the classes that a person would give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from native.lattice import snap
from stream.sources.simulation.shapes import DROP, GROUND, Box, Material

if TYPE_CHECKING:
    from stream.sources.simulator import Simulator

CLASSES = ("building", "ground", "person", "popup", "rain", "structure", "vegetation", "vehicle")

_OF_MATERIAL = {
    DROP: "rain", GROUND: "ground", Material.PAINT: "structure", Material.FACADE: "building",
    Material.GLASS: "building", Material.CONCRETE: "structure", Material.METAL: "structure",
    Material.CAR: "vehicle", Material.DARK_CAR: "vehicle",
    Material.BARK: "vegetation", Material.LEAVES: "vegetation", Material.CLOTHES: "person",
}  # fmt: skip

_OF_BOX = {
    "car": "vehicle", "truck": "vehicle", "robot": "vehicle", "cyclist": "person", "pedestrian": "person",
    "popup": "popup",
}  # fmt: skip
_SHARED = (Material.GLASS, Material.METAL)
"""Windows are of houses and cars, metal is of posts, bicycles and popups: the box around them decides."""

MARGIN_M = 0.12
"""Noise of the range carries points out of their box."""


def point_classes(
    simulator: Simulator, robot: int, index: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points of one sweep in the map, float64 (N, 3), and what they lie on, int64 (N,), of CLASSES.

    The points are where the robot believes them. Points that are not finite are left out.
    """
    shot = simulator.shot(robot, index)
    finite = np.isfinite(shot.sweep.points).all(1)
    points, material = shot.sweep.points[finite].astype(np.float64), shot.material[finite]
    code = np.full(len(points), CLASSES.index("structure"))
    for kind, name in _OF_MATERIAL.items():
        code[material == kind] = CLASSES.index(name)
    origin, rotation = simulator.pose(robot, index, believed=False)
    shared = np.flatnonzero(np.isin(material, _SHARED))
    code[shared] = _by_box(
        points[shared] @ rotation.T + origin, simulator.boxes(shot.sweep.stamp_ns), code[shared]
    )
    origin, rotation = simulator.pose(robot, index, believed=True)
    return points @ rotation.T + origin, code


def _by_box(points: NDArray[np.float64], boxes: list[Box], code: NDArray[np.int64]) -> NDArray[np.int64]:
    """Codes of points in the map, those within a box by its label."""
    found = code.copy()
    for box in boxes:
        offset = points - np.array(box.centre)
        cos, sin = np.cos(box.yaw), np.sin(box.yaw)
        ahead, aside = offset[:, 0] * cos + offset[:, 1] * sin, offset[:, 1] * cos - offset[:, 0] * sin
        half = np.array(box.size) / 2 + MARGIN_M
        inside = (np.abs(ahead) < half[0]) & (np.abs(aside) < half[1]) & (np.abs(offset[:, 2]) < half[2])
        found[inside] = CLASSES.index(_OF_BOX[box.label])
    return found


def cell_classes(
    points: NDArray[np.float64], code: NDArray[np.int64], half_edge_m: float
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Sites of the cells that points lie in, int32 (M, 3), and the class of most of their points, int64 (M,).

    Of two classes with as many points the first by name counts.
    """
    sites, cell = np.unique(snap(points / half_edge_m), axis=0, return_inverse=True)
    votes = np.bincount(cell.reshape(-1) * len(CLASSES) + code, minlength=len(sites) * len(CLASSES))
    return sites, votes.reshape(len(sites), len(CLASSES)).argmax(1)
