"""Cells around positions, and what they hold as vectors of a fixed size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native._octa import ffi, lib
from native.arrays import output, readable
from native.errors import check
from native.index64 import decode

Ids = NDArray[np.uint64]
Positions = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Neighborhoods:
    """Rows of the cells around each of N queries, ascending.

    starts : uint64 (N + 1,); rows : int32 (P,): those of query i are ``rows[starts[i] : starts[i + 1]]``
    """

    starts: NDArray[np.uint64]
    rows: NDArray[np.int32]

    def around(self, query: int) -> NDArray[np.int32]:
        """Rows of the cells around one query."""
        return self.rows[int(self.starts[query]) : int(self.starts[query + 1])]

    def pairs(self) -> NDArray[np.int64]:
        """Every query with each cell around it, int64 (2, P): queries, then rows."""
        starts = self.starts.astype(np.int64)
        counts = starts[1:] - starts[:-1]
        return np.stack([np.repeat(np.arange(len(counts)), counts), self.rows.astype(np.int64)])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pooled:
    """What the cells around each of N queries hold, W values a cell.

    count : uint32 (N,), cells; mean, least, greatest : float32 (N, W), zeros where there is no cell
    """

    count: NDArray[np.uint32]
    mean: NDArray[np.float32]
    least: NDArray[np.float32]
    greatest: NDArray[np.float32]

    def vectors(self) -> NDArray[np.float32]:
        """One vector a query, float32 (N, 3 W + 1): count, means, least, greatest."""
        count = self.count.astype(np.float32)[:, None]
        return np.concatenate([count, self.mean, self.least, self.greatest], axis=1)


def within_radius(cell_id: Ids, queries: Positions, radius: float) -> Neighborhoods:
    """Cells whose site is at most so far from each query.

    cell_id : uint64 (M,), strictly ascending, one frame, tier and LOD
    queries : float64 (N, 3), half edges of the cells' LOD (metres / half edge); |v| <= 2**20
    radius : half edges, 0..2**17
    Raises OrderError, IdError, ParityError, DomainError; equal on every machine
    """
    return _search(cell_id, queries, radius, 0)


def within_rings(cell_id: Ids, around: Ids, rings: int) -> Neighborhoods:
    """Cells at most so many steps from each cell, itself among them; a step is one to any of 14 neighbours.

    cell_id : uint64 (M,), strictly ascending, one frame, tier and LOD
    around : uint64 (N,), cells of the same kind in any order, among ``cell_id`` or not
    rings : 1..2**16
    A step may lead over sites that are not among the cells.
    Raises OrderError, IdError, ParityError, DomainError (also for cells of another kind)
    """
    if not 1 <= rings <= 2**16:
        check(lib.OCTA_E_DOMAIN, f"rings = {rings} (1..65536)")
    readable(cell_id, np.uint64, (None,), "cell_id")
    readable(around, np.uint64, (None,), "around")
    if len(cell_id) and len(around) and np.any(around >> np.uint64(48) != cell_id[0] >> np.uint64(48)):
        check(lib.OCTA_E_DOMAIN, "around: cells of another frame, tier or LOD")
    return _search(cell_id, decode(around).sites.astype(np.float64), 0.0, rings)


def pool(cell_id: Ids, x: NDArray[np.float32], queries: Positions, radius: float) -> Pooled:
    """Mean, least and greatest of every value over the cells within a radius of each query.

    cell_id, queries, radius : as in ``within_radius``
    x : float32 (M, W), finite
    Sums are made in double, in the order of the ids, so the result is equal on every machine.
    Raises OrderError, IdError, ParityError, DomainError
    """
    search, alive = _request(cell_id, queries, radius, 0)
    values = readable(x, np.float32, (len(cell_id), None), "x")
    n, width = len(queries), x.shape[1]
    count, pooled = np.empty(n, np.uint32), np.empty((n, 3, width), np.float32)
    code = lib.octa_search_pool(
        search,
        values,
        width,
        output(count),
        output(pooled),
    )
    del alive
    check(code, "cell_id, x, queries, radius")
    return Pooled(count=count, mean=pooled[:, 0], least=pooled[:, 1], greatest=pooled[:, 2])


def _request(cell_id: Ids, queries: Positions, radius: float, rings: int) -> tuple[Any, Any]:
    """A C search, and what must outlive it."""
    search = ffi.new("octa_search *")
    buffers = (
        readable(cell_id, np.uint64, (None,), "cell_id"),
        readable(queries, np.float64, (None, 3), "queries"),
    )
    search.ids, search.queries = buffers
    search.cells, search.n, search.radius, search.rings = len(cell_id), len(queries), radius, rings
    return search, buffers


def _search(cell_id: Ids, queries: Positions, radius: float, rings: int) -> Neighborhoods:
    search, alive = _request(cell_id, queries, radius, rings)
    starts = np.empty(len(queries) + 1, np.uint64)
    name = "cell_id, around" if rings else "cell_id, queries, radius"
    check(lib.octa_search_count(search, output(starts)), name)
    rows = np.empty(int(starts[-1]), np.int32)
    check(lib.octa_search_rows(search, len(rows), output(rows)), name)
    del alive
    return Neighborhoods(starts=starts, rows=rows)
