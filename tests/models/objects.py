"""Small scenes of moving objects, made without rays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.objects.boxes import Boxes
from models.objects.cells import SweepCells
from native.index64 import decode, encode
from native.lattice import snap
from native.neighbors import neighbor_table
from native.window import CellFeatures

HALF_EDGE_M = 0.4


def boxes_at(*places: tuple[float, float], kind: int = -1) -> Boxes:
    """Cars along x at places on the ground."""
    centre = np.array([(x, y, 0.75) for x, y in places]).reshape(-1, 3)
    size = np.tile([4.4, 1.8, 1.5], (len(places), 1))
    return Boxes.of(centre, size, np.zeros(len(places)), kind=np.full(len(places), kind, np.int32))


def cells_of(points: NDArray[np.float64], free: NDArray[np.float64], height: float = 1.0) -> SweepCells:
    """The cells that points lie in; ``free``, of a cell's first point, and a height for all of them."""
    ids = encode(snap(points / HALF_EDGE_M), frame=1, tier=0, lod=7)
    cells, first, group = np.unique(ids, return_index=True, return_inverse=True)
    count = np.bincount(group).astype(np.float64)
    centroid = np.stack([np.bincount(group, points[:, axis]) / count for axis in range(3)], 1)
    covariance = np.zeros((len(cells), 3, 3))
    for i in range(3):
        for j in range(3):
            product = points[:, i] * points[:, j]
            covariance[:, i, j] = np.bincount(group, product) / count - centroid[:, i] * centroid[:, j]
    assert len(decode(cells).sites) == len(cells)
    n = len(cells)
    window = CellFeatures(
        cell_id=cells, x=np.zeros((n, 74), np.float32), neighbor_index=neighbor_table(cells),
        before=np.full(n, 2, np.uint8),
    )  # fmt: skip
    return SweepCells(
        robot_id="robot", stamp_ns=10**9, pose=np.eye(3, 4), half_edge_m=HALF_EDGE_M, cell_id=cells,
        hits=count, centroid=centroid, covariance=covariance, height=np.full(n, height),
        free=free[first].astype(np.float32), window=window, row=np.arange(n),
    )  # fmt: skip


def cuboid(
    centre: tuple[float, float, float], size: tuple[float, float, float], yaw: float = 0.0
) -> NDArray[np.float64]:
    """Points evenly throughout a box, float64 (N, 3)."""
    axes = [np.arange(-s / 2 + 0.05, s / 2, 0.1) for s in size]
    x, y, z = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.stack([x * cos - y * sin, x * sin + y * cos, z], 1) + np.array(centre)
