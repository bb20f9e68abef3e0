"""Cells that the rays of a sweep went through, also where nothing was ever hit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native._octa import ffi, lib
from native.arrays import output, readable
from native.errors import check
from native.grid import Grid

NO_MISSES = np.empty((0, 3), np.float32)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FreeCells:
    """Cells that rays passed, ascending by id.

    cell_id : uint64 (M,); passes, misses : uint32 (M,), rays with and without a return that passed each
    """

    cell_id: NDArray[np.uint64]
    passes: NDArray[np.uint32]
    misses: NDArray[np.uint32]


class FreeCellFinder:
    """Walks along rays, cell by cell. One owner at a time: calls release the GIL.

    grid : the finest cells; levels : 0..6, so many LODs coarser are the cells that are found
    reach_m : above 0, at most 10 km; no ray is followed farther
    Raises DomainError, LodError (coarser than LOD 0, or more than 6 levels)
    """

    def __init__(self, grid: Grid, levels: int, reach_m: float) -> None:
        handle = ffi.new("octa_free_cells **")
        check(
            lib.octa_free_cells_new(grid.to_c(), levels if 0 <= levels < 256 else 255, handle), "grid, levels"
        )
        self._handle = ffi.gc(handle[0], lib.octa_free_cells_free)
        self._reach_m = reach_m

    def run(
        self,
        points: NDArray[np.float32],
        pose: NDArray[np.float64],
        misses: NDArray[np.float32] = NO_MISSES,
    ) -> FreeCells:
        """Cells that the rays of one sweep or part passed.

        points : float32 (N, 3), metres, sensor frame: rays that came back, in range or not; those not finite
            or at the origin count for nothing
        misses : float32 (M, 3), directions of any length, sensor frame: rays that came back with nothing
        pose : float64 (12,), sensor frame to map frame
        A ray passes a cell, once, if it crosses one of its finest cells and leaves that before its end, and
        its return lies in none of them.
        Raises DomainError, PoseError, RangeError (the sensor is off the map); equal on every machine
        """
        count = ffi.new("size_t *")
        code = lib.octa_free_cells_run(
            self._handle,
            readable(points, np.float32, (None, 3), "points"),
            len(points),
            readable(misses, np.float32, (None, 3), "misses"),
            len(misses),
            readable(pose, np.float64, (12,), "pose"),
            self._reach_m,
            count,
        )
        check(code, "points, misses, reach_m" if code == lib.OCTA_E_DOMAIN else "pose")
        size = int(count[0])
        found = FreeCells(
            cell_id=np.empty(size, np.uint64),
            passes=np.empty(size, np.uint32),
            misses=np.empty(size, np.uint32),
        )
        check(
            lib.octa_free_cells_copy(
                self._handle,
                size,
                output(found.cell_id),
                output(found.passes),
                output(found.misses),
            )
        )
        return found
