"""From points' cells to cells' points, and labels from one to the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native._octa import lib
from native.arrays import output, readable
from native.errors import DomainError, check


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PointMap:
    """Which cell each point of a sweep is in, and which points each cell holds.

    rows : int32 (N,), row of each point's cell, -1 for points in no cell
    starts : uint32 (M + 1,), points : uint32 (P,): those of cell i are ``points[starts[i] : starts[i + 1]]``,
        ascending
    """

    rows: NDArray[np.int32]
    starts: NDArray[np.uint32]
    points: NDArray[np.uint32]

    def points_in(self, row: int) -> NDArray[np.uint32]:
        """Indices of the points in one cell."""
        return self.points[self.starts[row] : self.starts[row + 1]]

    def to_points(self, of_cells: NDArray[Any], nothing: Any) -> NDArray[Any]:
        """What cells have, for each point: (M, ...) to (N, ...); ``nothing`` for points in no cell.

        Raises ValueError for another number of cells
        """
        if len(of_cells) != len(self.starts) - 1:
            raise ValueError(f"of_cells: expected {len(self.starts) - 1} rows, got {len(of_cells)}")
        out = np.full((len(self.rows), *of_cells.shape[1:]), nothing, of_cells.dtype)
        held = self.rows >= 0
        out[held] = of_cells[self.rows[held]]
        return out

    def count_labels(self, label: NDArray[np.integer[Any]], labels: int) -> NDArray[np.int64]:
        """How many points of each cell have each label, int64 (M, labels).

        label : integers (N,), 0..labels - 1, -1 for points without one
        Raises ValueError for another number of points, DomainError for a label out of range
        """
        if label.shape != self.rows.shape:
            raise ValueError(f"label: expected {len(self.rows)} points, got shape {label.shape}")
        if len(label) and not -1 <= label.min() <= label.max() < labels:
            raise DomainError(f"label: must be -1..{labels - 1}, got {label.min()}..{label.max()}")
        cells = len(self.starts) - 1
        held = (self.rows >= 0) & (label >= 0)
        at = self.rows[held].astype(np.int64) * labels + label[held]
        return np.bincount(at, minlength=cells * labels).astype(np.int64).reshape(cells, labels)


def point_map(rows: NDArray[np.int32], cells: int) -> PointMap:
    """The points of each cell, from the cell of each point.

    rows : int32 (N,), from ``Binner.point_rows``; cells : number of cells, M
    Raises DomainError for a row that is neither -1 nor below ``cells``
    """
    if not 0 <= cells < 2**31:
        raise DomainError(f"cells: must be 0..2^31 - 1, got {cells}")
    rows_in = readable(rows, np.int32, (None,), "rows")
    starts, points = np.empty(cells + 1, np.uint32), np.empty(len(rows), np.uint32)
    code = lib.octa_point_lists(
        rows_in,
        len(rows),
        cells,
        output(starts),
        output(points),
    )
    check(code, "rows")
    return PointMap(rows=rows, starts=starts, points=points[: int(starts[-1])])
