"""Where the neighbours of cells are among those cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native._octa import lib
from native.arrays import output, readable
from native.errors import check
from native.lattice import NEIGHBORS


def neighbor_table(cell_id: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Row of each cell's 14 neighbours, in the order of ``native.lattice.neighbors``.

    cell_id : uint64 (N,), strictly ascending, one frame, tier and LOD
    Returns int32 (N, 14), N where the neighbour is not among the cells or beyond the map
    Raises OrderError, IdError, ParityError, DomainError (cells of two grids)
    """
    ids = readable(cell_id, np.uint64, (None,), "cell_id")
    rows = np.empty((len(cell_id), NEIGHBORS), np.int32)
    check(lib.octa_neighbor_table(ids, len(cell_id), output(rows)), "cell_id")
    return rows
