"""Coarser levels of detail: every cell the exact sum of its children.

A coarse cell is the union of its finest cells, since those decide which points fall into it. That lies
off-centre of its site: its sums say where its points are, and ``Rays.coarse_passes`` counts its passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native._octa import ffi, lib
from native.arrays import output, readable
from native.binning import FIXED_ONE, SUMS
from native.errors import check
from native.index64 import decode


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Level:
    """Cells of one level, ascending by id, and the points in them.

    cell_id : uint64 (N,), one frame, tier and LOD; hits : uint64 (N,)
    sums : int64 (N, 11), columns as in ``Bins``, about each cell's own site, in units of 1/4096: lengths in
        half edges of ``unit_lod``, intensity as a share
    unit_lod : LOD at which the points were binned, that of the cells or finer
    """

    cell_id: NDArray[np.uint64]
    hits: NDArray[np.uint64]
    sums: NDArray[np.int64]
    unit_lod: int

    def centroids(self) -> NDArray[np.float64]:
        """Mean position of each cell's points, half edges of ``unit_lod``, float64 (N, 3); NaN for none."""
        parts = decode(self.cell_id)
        sites = parts.sites * 2.0 ** (self.unit_lod - parts.lod.astype(np.int64))[:, None]
        points = np.where(self.hits > 0, self.hits, np.nan)
        return np.asarray(sites + self.sums[:, :3] / (FIXED_ONE * points[:, None]))


def finest(
    cell_id: NDArray[np.uint64], hits: NDArray[np.unsignedinteger], sums: NDArray[np.signedinteger]
) -> Level:
    """The level at which points were binned, of ``Bins`` or ``WindowCells``.

    cell_id : uint64 (N,), ascending, one grid; hits : (N,); sums : (N, 11), as binned
    """
    lod = int(decode(cell_id[:1]).lod[0]) if len(cell_id) else 0
    return Level(cell_id=cell_id, hits=hits.astype(np.uint64), sums=sums.astype(np.int64), unit_lod=lod)


def coarser(level: Level) -> tuple[Level, NDArray[np.int32]]:
    """The next coarser level, and the row in it of each cell's parent, int32 (N,).

    Hits and sums are those of adding up every point, rounded as it was when binned, about its parent's site:
    integers throughout, so levels add, compose and do not depend on order. A second moment is off from that
    of unrounded points by at most (1 + |d_i| + |d_j|) / 2 units a point whose cell lies d from its parent.
    Raises OrderError, IdError, ParityError, LodError (LOD 0), DomainError (cells of two grids, ``unit_lod``
    coarser than theirs, a total beyond 64 bits)
    """
    fine, count = ffi.new("octa_cells *"), ffi.new("size_t *")
    cells = readable(level.cell_id, np.uint64, (None,), "cell_id")
    size = len(level.cell_id)
    buffers = (
        cells,
        readable(level.hits, np.uint64, (size,), "hits"),
        readable(level.sums, np.int64, (size, SUMS), "sums"),
    )  # named, so that they outlive the call
    fine.cells, fine.unit_lod = size, level.unit_lod
    fine.ids, fine.hits, fine.sums = buffers
    ids, hits = np.empty(size, np.uint64), np.empty(size, np.uint64)
    sums, rows = np.empty((size, SUMS), np.int64), np.empty(size, np.int32)
    code = lib.octa_coarsen(
        fine,
        output(ids),
        output(hits),
        output(sums),
        output(rows),
        count,
    )
    check(code, "level")
    n = int(count[0])
    return Level(cell_id=ids[:n], hits=hits[:n], sums=sums[:n], unit_lod=level.unit_lod), rows
