"""Which row of a graph of several levels is the parent of each cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.index64 import decode, parent
from stream.cell_rows import locate


def parent_rows(cell_id: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Row of each cell's lattice parent.

    cell_id : uint64 (N,), of any levels, in any order, each once
    Returns int64 (N,), N where the parent is not among the cells, or the cell is of LOD 0
    Raises IdError, ParityError
    """
    rows = np.full(len(cell_id), len(cell_id), np.int64)
    fine = np.flatnonzero(decode(cell_id).lod > 0)
    order = np.argsort(cell_id)
    place, known = locate(cell_id[order], parent(cell_id[fine]))
    rows[fine[known]] = order[place[known]]
    return rows
