"""Where cells lie among others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def locate(
    cell_id: NDArray[np.generic], wanted: NDArray[np.generic]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Where cells lie among ascending ones: row (M,), to be read where known (M,) says so.

    cell_id : uint64 (N,), ascending; wanted : uint64 (M,), in any order
    """
    row = np.searchsorted(cell_id, wanted)
    if not len(cell_id):
        return row, np.zeros(len(wanted), np.bool_)
    np.minimum(row, len(cell_id) - 1, out=row)
    return row, cell_id[row] == wanted
