"""Edges between cells: neighbours within rings or a radius, and ancestors across a band of LODs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native import index64
from native.lattice import NEIGHBORS, neighbors
from native.neighbors import neighbor_table
from native.search import within_radius, within_rings
from stream.cell_rows import locate

Ids = NDArray[np.uint64]
Pairs = NDArray[np.int64]
"""Rows, int64 (2, E): of the cell that a message comes from, then of the one that it goes to."""

NO_DIRECTION = NEIGHBORS
"""Direction of an edge that leads to none of the 14 neighbours."""

STEPS = neighbors(np.zeros((1, 3), np.int32))[0]  # (14, 3), half edges


def within(cell_id: Ids, rings: int, radius: float | None) -> Pairs:
    """Every pair of different cells of one LOD that are near each other, both ways round.

    cell_id : uint64 (N,), strictly ascending, one frame, tier and LOD
    rings : 1..65536, most steps between two cells, which may lead over cells that are not there
    radius : half edges, instead of rings, where it is not None
    Edges are in no order.
    """
    if radius is not None:
        sites = index64.decode(cell_id).sites.astype(np.float64)
        pairs = within_radius(cell_id, sites, radius).pairs()[::-1]
    elif rings == 1:
        pairs, _ = from_table(neighbor_table(cell_id))  # a tenth of the time of a search
        return pairs
    else:
        pairs = within_rings(cell_id, cell_id, rings).pairs()[::-1]
    return pairs[:, pairs[0] != pairs[1]]


def from_table(neighbor_index: NDArray[np.integer]) -> tuple[Pairs, NDArray[np.int64]]:
    """Edges of a table of neighbours, and the direction of each.

    neighbor_index : integers (N, 14), rows of the neighbours, N where there is none
    Returns rows, int64 (2, E): the neighbour, then the cell that it is one of; and int64 (E,), 0..13
    """
    to, direction = np.nonzero(neighbor_index < len(neighbor_index))
    return np.stack([neighbor_index[to, direction].astype(np.int64), to.astype(np.int64)]), direction


def across(fine: Ids, coarse: Ids) -> Pairs:
    """Each cell with its ancestor among coarser ones, where that is there: rows of the fine, of the coarse.

    fine, coarse : uint64, ascending, each of one LOD
    """
    if not len(fine) or not len(coarse):
        return np.empty((2, 0), np.int64)
    lod = int(index64.decode(coarse[:1]).lod[0])
    row, known = locate(coarse, index64.ancestor(fine, lod))
    return np.stack([np.flatnonzero(known), row[known].astype(np.int64)])


def directions(offset: NDArray[np.int32]) -> NDArray[np.int64]:
    """Which of the 14 neighbours lies at each offset, in the order of ``native.lattice.neighbors``.

    offset : int32 (E, 3), half edges
    Returns int64 (E,), 0..13, NO_DIRECTION where it is none of them
    """
    small = np.abs(offset).max(axis=1, initial=0) <= 2
    code = (np.where(small[:, None], offset, 0) + 2) @ np.array([25, 5, 1])
    found: NDArray[np.int64] = _DIRECTION_OF[code]
    return found


def _direction_table() -> NDArray[np.int64]:
    table = np.full(125, NO_DIRECTION, np.int64)
    table[(STEPS + 2) @ np.array([25, 5, 1])] = np.arange(NEIGHBORS)
    return table


_DIRECTION_OF = _direction_table()
