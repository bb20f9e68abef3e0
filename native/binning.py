"""Points of one sweep to cells with integer sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native._octa import ffi, lib
from native.arrays import output, readable
from native.errors import check
from native.grid import Grid

SUMS = 11
FIXED_ONE = 4096
MAX_POINTS: int = lib.OCTA_MAX_POINTS


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Bins:
    """The cells that one sweep hit, ascending by id, and where its points went.

    cell_id : uint64 (M,); hits : uint32 (M,)
    sums : int32 (M, 11), units of 1/4096: offset x y z in half edges, its second moments xx yy zz xy xz yz,
        intensity share and its square
    points, rays, not_finite, out_of_range, off_map, binned : counts of points; rays are finite returns
    intensity_clamped : binned points whose intensity was NaN or outside [0, intensity_max]
    """

    cell_id: NDArray[np.uint64]
    hits: NDArray[np.uint32]
    sums: NDArray[np.int32]
    points: int
    rays: int
    binned: int
    not_finite: int
    out_of_range: int
    off_map: int
    intensity_clamped: int


class Binner:
    """Bins sweeps on one grid. One owner at a time: calls release the GIL."""

    def __init__(self, grid: Grid) -> None:
        handle = ffi.new("octa_binner **")
        check(lib.octa_binner_new(grid.to_c(), handle), "grid")
        self._handle = ffi.gc(handle[0], lib.octa_binner_free)
        self._points = 0

    def run(
        self, points: NDArray[np.float32], intensity: NDArray[np.float32], pose: NDArray[np.float64]
    ) -> Bins:
        """Transform, snap, aggregate, and put the cells in order.

        points : float32 (N, 3), metres, sensor frame, N <= 524287; values that are not finite are counted
        intensity : float32 (N,)
        pose : float64 (12,), sensor frame to map frame
        Raises DomainError, PoseError, RangeError (the sensor is off the map); equal on every machine
        """
        counts, size = self.aggregate(points, intensity, pose)
        ids, hits = np.empty(size, np.uint64), np.empty(size, np.uint32)
        sums = np.empty((size, SUMS), np.int32)
        check(
            lib.octa_binner_copy(
                self._handle,
                size,
                output(ids),
                output(hits),
                output(sums),
            )
        )
        return Bins(
            cell_id=ids, hits=hits, sums=sums, points=len(points), rays=int(counts.rays),
            binned=int(counts.binned), not_finite=int(counts.not_finite),
            out_of_range=int(counts.out_of_range), off_map=int(counts.off_map),
            intensity_clamped=int(counts.intensity_clamped),
        )  # fmt: skip

    def aggregate(
        self, points: NDArray[np.float32], intensity: NDArray[np.float32], pose: NDArray[np.float64]
    ) -> tuple[Any, int]:
        """The part of ``run`` that touches every point: C counts, and how many cells were hit."""
        counts, cells = ffi.new("octa_bin_counts *"), ffi.new("size_t *")
        code = lib.octa_binner_run(
            self._handle,
            readable(points, np.float32, (None, 3), "points"),
            readable(intensity, np.float32, (len(points),), "intensity"),
            len(points),
            readable(pose, np.float64, (12,), "pose"),
            counts,
            cells,
        )
        check(code, "points" if code == lib.OCTA_E_DOMAIN else "pose")
        self._points = len(points)
        return counts, int(cells[0])

    def point_rows(self) -> NDArray[np.int32]:
        """Row in the last ``Bins`` of every point of that sweep, int32 (N,), -1 for points in no cell."""
        rows = np.empty(self._points, np.int32)
        check(lib.octa_binner_point_rows(self._handle, self._points, output(rows)))
        return rows
