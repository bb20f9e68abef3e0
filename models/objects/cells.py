"""The cells of one sweep as detectors of objects read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native.binning import FIXED_ONE
from native.index64 import decode
from native.neighbors import neighbor_table
from native.window import CellFeatures
from stream.cell_rows import locate
from stream.records import Binned

Floats = NDArray[np.float64]

MOMENTS = ((3, 0, 0), (4, 1, 1), (5, 2, 2), (6, 0, 1), (7, 0, 2), (8, 1, 2))
"""Column of a second moment in the sums, and its axes."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SweepCells:
    """The cells that one sweep hit, and the window that they lie in.

    pose : float64 (3, 4), sensor to map; half_edge_m : of the cells
    cell_id : uint64 (N,), ascending, cells with a return; hits : float64 (N,), returns
    centroid : float64 (N, 3), of the returns, map frame, metres; covariance : float64 (N, 3, 3), of them
    height : float64 (N,), metres above the lowest window cell nearby
    free : float32 (N,), share of the sweeps before that saw through the cell, 0 where it is new
    window : features of every window cell; row : int64 (N,), of these cells in it
    """

    robot_id: str
    stamp_ns: int
    pose: Floats
    half_edge_m: float
    cell_id: NDArray[np.uint64]
    hits: Floats
    centroid: Floats
    covariance: Floats
    height: Floats
    free: NDArray[np.float32]
    window: CellFeatures
    row: NDArray[np.int64]

    def neighbors(self, chosen: NDArray[np.int64]) -> NDArray[np.int32]:
        """Rows of the 14 neighbours among chosen cells, int32 (M, 14), M where there is none."""
        return neighbor_table(self.cell_id[chosen])

    @property
    def sensor(self) -> Floats:
        """Where the sensor is, float64 (3,)."""
        return self.pose[:, 3]


def hit_rows(parts: Sequence[Binned]) -> tuple[NDArray[np.uint64], Floats, Floats]:
    """Cells that a sweep hit: ids uint64 (N,), ascending, hits float64 (N,), sums float64 (N, 11)."""
    ids = np.concatenate([part.cell_id[part.hits > 0] for part in parts])
    hits = np.concatenate([part.hits[part.hits > 0] for part in parts]).astype(np.float64)
    sums = np.concatenate([part.sums for part in parts]).astype(np.float64)
    if len(parts) == 1:
        return ids, hits, sums
    cells, group = np.unique(ids, return_inverse=True)
    total, count = np.zeros((len(cells), sums.shape[1])), np.zeros(len(cells))
    np.add.at(total, group, sums)
    np.add.at(count, group, hits)
    return cells, count, total


def sweep_cells(
    parts: Sequence[Binned],
    window: CellFeatures,
    free: NDArray[np.float32],
    half_edge_m: float,
    height_column: int,
) -> SweepCells:
    """The cells of a whole sweep.

    parts : its records, all of them; window : features made after the last one was folded
    free : float32 (N,), of the cells that ``hit_rows`` names; height_column : ``height_in_block`` in them
    """
    cell_id, hits, sums = hit_rows(parts)
    row, known = locate(window.cell_id, cell_id)
    if not known.all():  # the window's caps evicted them
        cell_id, hits, sums, free, row = cell_id[known], hits[known], sums[known], free[known], row[known]
    mean = sums[:, :3] / FIXED_ONE / hits[:, None]  # half edges
    covariance = np.empty((len(hits), 3, 3))
    for column, i, j in MOMENTS:
        second = sums[:, column] / FIXED_ONE / hits - mean[:, i] * mean[:, j]
        covariance[:, i, j] = covariance[:, j, i] = second * half_edge_m**2
    last = parts[-1]
    return SweepCells(
        robot_id=last.robot_id, stamp_ns=last.stamp_ns, pose=last.pose.reshape(3, 4), half_edge_m=half_edge_m,
        cell_id=cell_id, hits=hits, centroid=(decode(cell_id).sites + mean) * half_edge_m,
        covariance=covariance, height=window.x[row, height_column].astype(np.float64) * half_edge_m,
        free=free, window=window, row=row.astype(np.int64),
    )  # fmt: skip


def cell_inputs(cells: SweepCells) -> NDArray[np.float32]:
    """What a learned detector reads of the cells that a sweep hit, float32 (N, F + 2).

    Their features, the share of earlier sweeps that saw through them, and log(1 + returns) of this sweep
    """
    more = np.stack([cells.free, np.log1p(cells.hits).astype(np.float32)], 1)
    return np.concatenate([cells.window.x[cells.row], more], 1)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CellExample:
    """The cells that one sweep hit, and what they lie on.

    x : float16 (N, F), ``cell_inputs``; neighbor_index : int32 (N, 14)
    kind : int8 (N,), class of the object that a cell lies on, -1 for none
    box : float32 (N, 8), of that object: centre less the cell's centroid, logarithms of its size, sine and
        cosine of twice its yaw, since front and back look alike; 0 elsewhere
    """

    x: NDArray[np.float16]
    neighbor_index: NDArray[np.int32]
    kind: NDArray[np.int8]
    box: NDArray[np.float32]
