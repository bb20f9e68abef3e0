"""The cells of one level of a container, as arrays that NumPy and Arrow share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from native.binning import FIXED_ONE, SUMS
from native.freecells import FreeCells
from native.index64 import decode
from native.schema import Column, Schema

if TYPE_CHECKING:
    import pyarrow as pa

UNKNOWN, FREE, OCCUPIED = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cells:
    """Cells of which anything is known, ascending by id; arrays are read-only.

    level : LODs above the finest
    cell_id : uint64 (N,); hits : uint64 (N,)
    passes : uint64 (N,), rays that crossed a cell and left it before they ended; zeros above the finest level
    free_passes, free_misses : uint64 (N,), rays with and without a return that passed a cell of the free
        level; zeros at other levels
    sums : int64 (N, 11), columns as in ``Bins``, about each cell's own site, in units of 1/4096: lengths in
        half edges of the finest level, intensity as a share
    stored : int64 (N, stored) by name of the user's column; ``values`` has them as numbers again
    """

    schema: Schema
    level: int
    cell_id: NDArray[np.uint64]
    hits: NDArray[np.uint64]
    passes: NDArray[np.uint64]
    free_passes: NDArray[np.uint64]
    free_misses: NDArray[np.uint64]
    sums: NDArray[np.int64]
    stored: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.cell_id)

    @property
    def lod(self) -> int:
        """LOD of the cells."""
        return self.schema.lod - self.level

    def column(self, name: str) -> Column:
        """A column of the user's; raises KeyError with the names there are."""
        for column in self.schema.columns:
            if column.name == name:
                return column
        raise KeyError(f"no column {name!r}; there are {[column.name for column in self.schema.columns]}")

    def values(self, name: str) -> NDArray[Any]:
        """Values of a column of the user's, as ``Column.decode`` gives them."""
        return self.column(name).decode(self.stored[name])

    def state(self) -> NDArray[np.uint8]:
        """OCCUPIED where a return lies in it, else FREE where a ray passed it, else UNKNOWN; uint8 (N,)."""
        passed = (self.passes > 0) | (self.free_passes > 0) | (self.free_misses > 0)
        return np.where(self.hits > 0, OCCUPIED, np.where(passed, FREE, UNKNOWN)).astype(np.uint8)

    def positions(self) -> NDArray[np.float64]:
        """Sites of the cells, metres, float64 (N, 3)."""
        return decode(self.cell_id).sites.astype(np.float64) * (self.schema.half_edge_m * 2.0**self.level)

    def centroids(self) -> NDArray[np.float64]:
        """Mean position of each cell's points, metres, float64 (N, 3); NaN for none."""
        points = np.where(self.hits > 0, self.hits, np.nan)
        offsets = self.sums[:, :3] / (FIXED_ONE * points[:, None])
        return np.asarray(self.positions() + offsets * self.schema.half_edge_m, np.float64)

    def to_arrow(self) -> pa.RecordBatch:
        """A record batch over the same memory; its metadata says what the cells are."""
        from native.arrow import to_batch

        return to_batch(self)

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        """Arrow PyCapsule interface."""
        exported: tuple[object, object] = self.to_arrow().__arrow_c_array__(requested_schema)
        return exported

    def __arrow_c_schema__(self) -> object:
        """Arrow PyCapsule interface."""
        exported: object = self.to_arrow().schema.__arrow_c_schema__()
        return exported


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rows:
    """What one record says about cells, in the form in which containers add it.

    cell_id : uint64 (N,), ascending, of the finest level; hits, passes : uint64 (N,); sums : int64 (N, 11)
    values : int64 (N, stored) by name, as ``Column.encode`` gives them; columns left out say nothing
    free_id : uint64 (M,), ascending, of the free level; free_passes, free_misses : uint64 (M,)
    """

    cell_id: NDArray[np.uint64]
    hits: NDArray[np.uint64]
    passes: NDArray[np.uint64]
    sums: NDArray[np.int64]
    values: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    free_id: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    free_passes: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    free_misses: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    @classmethod
    def of(
        cls,
        cell_id: NDArray[np.uint64],
        hits: NDArray[np.unsignedinteger[Any]],
        sums: NDArray[np.signedinteger[Any]],
        *,
        passes: NDArray[np.unsignedinteger[Any]] | None = None,
        free: FreeCells | None = None,
        values: Mapping[str, NDArray[np.int64]] | None = None,
    ) -> Rows:
        """Of what ``Binner`` gives, or of a binned record.

        cell_id : uint64 (N,); hits, passes : unsigned integers (N,), passes 0 without any
        sums : integers (N, 11), or (M, 11) for the M rows with hits > 0
        Raises ValueError for another number of rows
        """
        n, hit = len(cell_id), hits > 0
        wide = sums.astype(np.int64, copy=False)
        if len(sums) != n:
            most = np.count_nonzero(hit)
            if len(sums) != most:
                raise ValueError(f"sums: expected {n} rows, or {most} for hit cells, got {len(sums)}")
            wide = np.zeros((n, SUMS), np.int64)
            wide[hit] = sums
        more = {} if free is None else {
            "free_id": free.cell_id,
            "free_passes": free.passes.astype(np.uint64),
            "free_misses": free.misses.astype(np.uint64),
        }  # fmt: skip
        return cls(
            cell_id=cell_id,
            hits=hits.astype(np.uint64, copy=False),
            passes=np.zeros(n, np.uint64) if passes is None else passes.astype(np.uint64, copy=False),
            sums=wide,
            values=values or {},
            **more,
        )

    @classmethod
    def of_cells(cls, finest: Cells, free: Cells | None = None) -> Rows:
        """Of a container's finest level and, where it is another one, the level that holds its free cells."""
        free = finest if free is None else free
        passed = (free.free_passes > 0) | (free.free_misses > 0)
        return cls(
            cell_id=finest.cell_id,
            hits=finest.hits,
            passes=finest.passes,
            sums=finest.sums,
            values=finest.stored,
            free_id=free.cell_id[passed],
            free_passes=free.free_passes[passed],
            free_misses=free.free_misses[passed],
        )
