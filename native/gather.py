"""Rows of a large table, copied in any order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native._octa import lib
from native.arrays import output, readable
from native.errors import check


def gather(table: NDArray[np.float32], index: NDArray[np.int64]) -> NDArray[np.float32]:
    """The rows at ``index``, float32 (n, F): ``numpy.take`` of the first axis, for tables beyond any cache.

    table : float32 (N, F); index : int64 (n,), 0..N - 1
    Raises DomainError for a row that is not there
    """
    values = readable(table, np.float32, (None, None), "table")
    rows = readable(index, np.int64, (None,), "index")
    out = np.empty((len(index), table.shape[1]), np.float32)
    check(lib.octa_gather(values, len(table), table.shape[1], rows, len(index), output(out)), "index")
    return out
