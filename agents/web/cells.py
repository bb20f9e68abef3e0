"""What is known of the cells of one robot at one moment, at one level of detail."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from native.index64 import ancestor

S = TypeVar("S", bound=np.generic)

UNKNOWN, FREE, OCCUPIED = -1, 0, 1
"""Outcome of a cell: not observed, seen through, hit."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CellTable:
    """Cells, ascending by id, as of one sweep. Arrays are read-only.

    lod : of the cells; horizons_ns : H columns of forecasts and outcomes
    cell_id : uint64 (N,); centre : float32 (N, 3), metres, map frame; of a coarse cell the mean
        of its returns
    hits : int64 (N,), returns within the window; passes : int64 (N,), rays that went through, -1 at coarser
        levels, where they are no sums
    probability : float32 (N, H), NaN where nothing was forecast; of a coarse cell that of its likeliest cell
    outcome : int8 (N, H), newest that is known: OCCUPIED, FREE, UNKNOWN; forecast : float32 (N, H), what had
        been forecast then, NaN where the outcome is unknown
    age_ns : int64 (N,), since the last return in the cell, -1 for none in the time that cells are kept
    """

    robot_id: str
    stamp_ns: int
    lod: int
    horizons_ns: tuple[int, ...]
    cell_id: NDArray[np.uint64]
    centre: NDArray[np.float32]
    hits: NDArray[np.int64]
    passes: NDArray[np.int64]
    probability: NDArray[np.float32]
    outcome: NDArray[np.int8]
    forecast: NDArray[np.float32]
    age_ns: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ROWS:
            getattr(self, name).flags.writeable = False

    def __len__(self) -> int:
        return len(self.cell_id)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> CellTable:
        """Some of its cells, by ascending rows or a mask."""
        return replace(self, **{name: getattr(self, name)[rows] for name in ROWS})


ROWS = tuple(item.name for item in fields(CellTable) if item.name not in
             ("robot_id", "stamp_ns", "lod", "horizons_ns"))  # fmt: skip
"""Columns with a row a cell."""


def at_lod(table: CellTable, lod: int, centre: NDArray[np.float32]) -> CellTable:
    """The same at a coarser level, whose cells are unions of the table's.

    centre : float32 (M, 3), mean of the returns of each coarse cell in order of ids, NaN where it has none:
    there, the mean of its cells' centres is taken
    """
    parents = ancestor(table.cell_id, lod)
    ids, row = np.unique(parents, return_inverse=True)
    groups = _Groups(row, len(ids))
    middle = groups.add(table.centre.astype(np.float64)) / groups.counts[:, None]
    return CellTable(
        robot_id=table.robot_id,
        stamp_ns=table.stamp_ns,
        lod=lod,
        horizons_ns=table.horizons_ns,
        cell_id=ids,
        centre=np.where(np.isnan(centre), middle, centre).astype(np.float32),
        hits=groups.add(table.hits),
        passes=np.full(len(ids), -1, np.int64),
        probability=groups.largest(table.probability),
        outcome=groups.largest(table.outcome),
        forecast=groups.largest(table.forecast),
        age_ns=_youngest(groups, table.age_ns),
    )


def _youngest(groups: _Groups, age_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    never = np.int64(2**62)
    negative: NDArray[np.int64] = np.where(age_ns < 0, -never, -age_ns)
    youngest = -groups.largest(negative)
    return np.where(youngest == never, np.int64(-1), youngest)


class _Groups:
    """Rows by group: row int (N,), the group of each row, each of ``count`` groups with one row at least."""

    def __init__(self, row: NDArray[np.intp], count: int) -> None:
        self._order = np.argsort(row, kind="stable")
        self._starts = np.searchsorted(row[self._order], np.arange(count))
        self.counts = np.diff([*self._starts, len(row)])

    def add(self, values: NDArray[S]) -> NDArray[S]:
        """Sums by group."""
        return self._reduce(np.add, values)

    def largest(self, values: NDArray[S]) -> NDArray[S]:
        """Maxima by group; NaN only where all are."""
        return self._reduce(np.fmax, values)

    def _reduce(self, function: np.ufunc, values: NDArray[S]) -> NDArray[S]:
        if not len(values):
            return values
        reduced: NDArray[S] = function.reduceat(values[self._order], self._starts, axis=0)
        return reduced
