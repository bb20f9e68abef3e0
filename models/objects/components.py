"""Objects without learning: moving cells that touch are one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from models.objects.boxes import Boxes, fit_box
from models.objects.cells import SweepCells


@dataclass(frozen=True, slots=True, kw_only=True)
class MovingOptions:
    """Which cells move, and which of their components are objects.

    share_free : of the earlier sweeps that saw a cell, so many must have seen through it
    above_m : so high above the lowest cell nearby; below is ground, which rays graze
    cells, returns : the least of a component; length_m, height_m : the most
    """

    share_free: float = 0.6
    above_m: float = 0.5
    cells: int = 2
    returns: int = 5
    length_m: float = 20.0
    height_m: float = 5.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Found:
    """Objects of one sweep.

    boxes : N of them; instance : int32 (M,), object of each cell that the sweep hit, -1 for none
    """

    boxes: Boxes
    instance: NDArray[np.int32]


def components(neighbor_index: NDArray[np.int32]) -> NDArray[np.int32]:
    """Connected component of each cell on the graph of its neighbours, int32 (N,), numbered from 0.

    neighbor_index : int32 (N, 14), N where there is no neighbour
    Components are numbered in the order of their first cells.
    """
    n = len(neighbor_index)
    cell, place = np.nonzero(neighbor_index < n)
    edges = (cell, neighbor_index[cell, place])
    graph = coo_array((np.ones(len(cell), np.int8), edges), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    _, first, group = np.unique(label, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    numbered: NDArray[np.int32] = rank[group.reshape(-1)]
    return numbered


def find_moving(cells: SweepCells, options: MovingOptions = MovingOptions()) -> Found:
    """Components of the cells that are hit where rays went through before.

    Boxes have no class and no velocity; their score is log(1 + returns). Deterministic
    """
    moving = np.flatnonzero((cells.free >= options.share_free) & (cells.height >= options.above_m))
    instance = np.full(len(cells.cell_id), -1, np.int32)
    if not len(moving):
        return Found(boxes=Boxes.none(), instance=instance)
    label = components(cells.neighbors(moving))
    order = np.argsort(label, kind="stable")
    groups = np.split(moving[order], np.cumsum(np.bincount(label))[:-1])
    rows: list[Any] = []
    for group in groups:
        returns = cells.hits[group].sum()
        if len(group) < options.cells or returns < options.returns:
            continue
        floor = float((cells.centroid[group, 2] - cells.height[group]).min())
        centre, size, yaw = fit_box(cells.centroid[group], cells.covariance[group], floor)
        if size[0] > options.length_m or size[2] > options.height_m:
            continue
        instance[group] = len(rows)
        rows.append((*centre, *size, yaw, np.log1p(returns)))
    table = np.array(rows).reshape(-1, 8)
    boxes = Boxes.of(table[:, :3], table[:, 3:6], table[:, 6], score=table[:, 7])
    return Found(boxes=boxes, instance=instance)
