"""Which cells the rays of one sweep saw through."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from native._octa import ffi, lib
from native.arrays import output, readable
from native.errors import check
from native.grid import Grid


class Rays:
    """The rays of one sweep, indexed by direction. One owner at a time: calls release the GIL."""

    def __init__(self, grid: Grid) -> None:
        handle = ffi.new("octa_rays **")
        check(lib.octa_rays_new(grid.to_c(), handle), "grid")
        self._handle = ffi.gc(handle[0], lib.octa_rays_free)

    def load(self, points: NDArray[np.float32], pose: NDArray[np.float64]) -> None:
        """Index the rays from the sensor to every finite return.

        points : float32 (N, 3), metres, sensor frame, N <= 524287; in range or not
        pose : float64 (12,), sensor frame to map frame
        Raises DomainError, PoseError, RangeError
        """
        code = lib.octa_rays_load(
            self._handle,
            readable(points, np.float32, (None, 3), "points"),
            len(points),
            readable(pose, np.float64, (12,), "pose"),
        )
        check(code, "points" if code == lib.OCTA_E_DOMAIN else "pose")

    def passes(self, cell_id: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """Loaded rays that cross each cell and leave it before their return, uint32 (M,).

        cell_id : uint64 (M,), cells of the grid
        A cell is its truncated octahedron: |x|, |y|, |z| <= 1 and |x| + |y| + |z| <= 3/2 in half edges.
        Raises IdError, ParityError, DomainError; exact in float32, equal on every machine
        """
        return self._count(lib.octa_rays_passes, cell_id)

    def coarse_passes(self, cell_id: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """Loaded rays that pass each coarse cell, uint32 (M,); no sum of its children's passes.

        cell_id : uint64 (M,), of the grid's frame and tier, of its LOD or up to 6 coarser
        A coarse cell is the union of its finest cells. A ray passes it, once, if it passes any of those and
        its return lies in none of them.
        Raises IdError, ParityError, DomainError, LodError; equal on every machine
        """
        return self._count(lib.octa_rays_coarse_passes, cell_id)

    def _count(self, function: Callable[..., int], cell_id: NDArray[np.uint64]) -> NDArray[np.uint32]:
        cells = readable(cell_id, np.uint64, (None,), "cell_id")
        passes = np.empty(len(cell_id), np.uint32)
        code = function(
            self._handle,
            cells,
            len(cell_id),
            output(passes),
        )
        check(code, "cell_id")
        return passes
