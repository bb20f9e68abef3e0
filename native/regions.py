"""Cells of regions: spheres, boxes, oriented boxes, capsules and frusta, whole batches at once.

A cell is the truncated octahedron that lies within 1 half edge of its site on each axis and within 3/2 on
their sum; regions are closed sets in the map frame. Metres become half edges by one division each; what
follows is decided in float64. So a cell is listed as exact arithmetic would have it, unless the region's
boundary is within 1e-10 half edges of deciding otherwise; of boxes along the axes that float64 holds exactly
in half edges, no cell is in doubt. Coverage is computed in closed form, not sampled: its error is below 1e-9
for regions up to 1,000 half edges across. Deterministic; coverage may differ in its last bits between
machines whose C libraries do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from native._octa import ffi, lib
from native.arrays import output, readable
from native.errors import CapacityError, DomainError, check
from native.grid import Grid

F64 = NDArray[np.float64]
Mode = Literal["center", "intersects"]
MODES: dict[str, int] = {"center": lib.OCTA_CENTER_IN, "intersects": lib.OCTA_INTERSECTS}
MAX_CELLS = 10_000_000
MAX_CELLS_LIMIT: int = lib.OCTA_COVER_MAX_CELLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """The cells of R regions, one row after the other.

    offsets : int64 (R + 1,), row i has the cells offsets[i] to offsets[i + 1]
    cell_id : uint64 (M,), ascending within a row
    coverage : float64 (M,), the share of each cell that lies in its region, 0..1; None unless asked for
    """

    offsets: NDArray[np.int64]
    cell_id: NDArray[np.uint64]
    coverage: F64 | None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, i: int) -> NDArray[np.uint64]:
        """Cells of region i.  Raises IndexError"""
        if not 0 <= i < len(self):
            raise IndexError(f"row {i} of {len(self)}")
        return self.cell_id[self.offsets[i] : self.offsets[i + 1]]


def spheres(
    grid: Grid,
    center: F64,
    radius: F64,
    *,
    mode: Mode = "intersects",
    coverage: bool = False,
    max_cells: int = MAX_CELLS,
) -> Covered:
    """Cells of spheres.

    grid : half edge, frame, tier and LOD of the cells
    center : float64 (R, 3), metres, map frame
    radius : float64 (R,), metres, >= 0
    mode : ``center``, cells whose site lies in the region; ``intersects``, all that it meets
    coverage : also the share of each cell that lies in the region
    max_cells : of all rows together, at most 2**28; more are an error
    Raises TypeError, ValueError (dtype, shape, order), DomainError (not finite, negative), RangeError (a
    region reaches beyond the map), CapacityError (too many cells), with the argument's name or the row
    """
    rows = _rows(center=(center, 3), radius=(radius, 0))
    _refuse(radius < 0, "radius", "negative", radius)
    return _cover(grid, "spheres", lib.OCTA_SPHERE, rows, mode, coverage, max_cells)


def boxes(
    grid: Grid,
    low: F64,
    high: F64,
    *,
    mode: Mode = "intersects",
    coverage: bool = False,
    max_cells: int = MAX_CELLS,
) -> Covered:
    """Cells of boxes along the axes of the map; the rest as ``spheres``.

    low, high : float64 (R, 3), metres, map frame; low <= high
    """
    rows = _rows(low=(low, 3), high=(high, 3))
    _refuse((low > high).any(axis=1), "low, high", "low above high", np.stack([low, high], 1))
    return _cover(grid, "boxes", lib.OCTA_BOX, rows, mode, coverage, max_cells)


def oriented_boxes(
    grid: Grid,
    pose: F64,
    half_size: F64,
    *,
    mode: Mode = "intersects",
    coverage: bool = False,
    max_cells: int = MAX_CELLS,
) -> Covered:
    """Cells of boxes in any attitude; the rest as ``spheres``.

    pose : float64 (R, 12), 3 x 4 row-major, from the middle of the box to the map, metres
    half_size : float64 (R, 3), metres, from the middle to the sides, >= 0
    Raises also PoseError (a pose is not a rigid transform)
    """
    rows = _rows(pose=(pose, 12), half_size=(half_size, 3))
    _refuse((half_size < 0).any(axis=1), "half_size", "negative", half_size)
    return _cover(grid, "oriented_boxes", lib.OCTA_ORIENTED_BOX, rows, mode, coverage, max_cells)


def capsules(
    grid: Grid,
    begin: F64,
    end: F64,
    radius: F64,
    *,
    mode: Mode = "intersects",
    coverage: bool = False,
    max_cells: int = MAX_CELLS,
) -> Covered:
    """Cells within a radius of a line from ``begin`` to ``end``; the rest as ``spheres``.

    begin, end : float64 (R, 3), metres, map frame; they may coincide
    radius : float64 (R,), metres, >= 0
    """
    rows = _rows(begin=(begin, 3), end=(end, 3), radius=(radius, 0))
    _refuse(radius < 0, "radius", "negative", radius)
    return _cover(grid, "capsules", lib.OCTA_CAPSULE, rows, mode, coverage, max_cells)


def frusta(
    grid: Grid,
    pose: F64,
    tangent: F64,
    near: F64,
    far: F64,
    *,
    mode: Mode = "intersects",
    coverage: bool = False,
    max_cells: int = MAX_CELLS,
) -> Covered:
    """Cells that a camera sees between two depths; the rest as ``spheres``.

    pose : float64 (R, 12), 3 x 4 row-major, camera to map, metres; it looks along z, x is to the right
    tangent : float64 (R, 2), of half the angles of view on x and y, > 0
    near, far : float64 (R,), metres along z, 0 <= near < far
    Raises also PoseError (a pose is not a rigid transform)
    """
    rows = _rows(pose=(pose, 12), tangent=(tangent, 2), near=(near, 0), far=(far, 0))
    _refuse((tangent <= 0).any(axis=1), "tangent", "not positive", tangent)
    _refuse(near < 0, "near", "negative", near)
    _refuse(near >= far, "near, far", "near not before far", np.stack([near, far], 1))
    return _cover(grid, "frusta", lib.OCTA_FRUSTUM, rows, mode, coverage, max_cells)


def _rows(**columns: tuple[Any, int]) -> F64:
    """Checked arguments side by side, (R, numbers); a width of 0 is one number without an axis of its own."""
    count: int | None = None
    for name, (array, width) in columns.items():
        readable(array, np.float64, (count, width) if width else (count,), name)
        count = len(array)
        finite = np.isfinite(array)
        _refuse(~(finite.all(axis=1) if width else finite), name, "not finite", array)
    return np.ascontiguousarray(np.column_stack([array for array, _ in columns.values()]))


def _refuse(bad: NDArray[np.bool_] | np.bool_, name: str, why: str, values: NDArray[Any]) -> None:
    """Raises DomainError with the first row that is bad."""
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DomainError(f"{name}: row {row} is {why}: {values[row].tolist()}")


def _cover(grid: Grid, name: str, kind: int, rows: F64, mode: str, coverage: bool, max_cells: int) -> Covered:
    if mode not in MODES:
        raise ValueError(f"mode: {mode!r} must be one of {', '.join(MODES)}")
    if not 0 <= max_cells <= MAX_CELLS_LIMIT:
        raise DomainError(f"max_cells: {max_cells} must be 0..{MAX_CELLS_LIMIT}")
    holder, cells, row = ffi.new("octa_cover **"), ffi.new("size_t *"), ffi.new("size_t *")
    check(lib.octa_cover_new(grid.to_c(), holder), "grid")
    handle = ffi.gc(holder[0], lib.octa_cover_free)
    values = readable(rows, np.float64, rows.shape, name)
    code = lib.octa_cover_run(handle, kind, values, len(rows), MODES[mode], coverage, max_cells, cells, row)
    if code == lib.OCTA_E_CAPACITY:
        raise CapacityError(f"{name}: row {row[0]}: more than max_cells = {max_cells} cells, or as much work")
    check(code, f"{name}: row {row[0]}")
    offsets, ids = np.empty(len(rows) + 1, np.uint64), np.empty(cells[0], np.uint64)
    shares = np.empty(len(ids), np.float64) if coverage else None
    to = [output(array) for array in (offsets, ids)]
    to.append(ffi.NULL if shares is None else output(shares))
    check(lib.octa_cover_copy(handle, len(ids), *to), name)
    return Covered(offsets=offsets.view(np.int64), cell_id=ids, coverage=shares)
