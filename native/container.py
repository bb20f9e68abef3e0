"""Containers: what was seen of cells, at several LODs, as the exact sum of records."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native._octa import ffi, lib
from native.arrays import output, readable
from native.binning import SUMS
from native.cells import Cells, Rows
from native.container_options import ContainerOptions, Counts, Extent, RecordKey, centred, options_to_c
from native.errors import check
from native.grid import Grid
from native.schema import Column, Schema

__all__ = ["Container", "ContainerOptions", "Counts", "Extent", "RecordKey"]

OWN_LANES = ("hits", "passes", "free_passes", "free_misses")


class Container:
    """A container. What it holds does not depend on the order of adding and merging, to the bit.

    One owner at a time: calls release the GIL. A call that raises leaves it as it was.
    """

    def __init__(self, grid: Grid, options: ContainerOptions | None = None) -> None:
        """Raises DomainError, LodError, ParityError or RangeError (the extent), OutOfMemoryError."""
        self.options = options = options or ContainerOptions()
        self.schema = Schema.of(grid, options.levels, options.free_level, options.columns)
        handle = ffi.new("octa_container **")
        check(lib.octa_container_new(options_to_c(grid, options), handle), "options")
        self._handle = ffi.gc(handle[0], lib.octa_container_free)
        self._cells: dict[int, Cells] = {}

    # ---- changing

    def add(self, key: RecordKey, rows: Rows) -> Counts:
        """Add one record; one that is there already changes nothing.

        key : in a sum it does not matter
        Raises DomainError (a value out of bounds, another grid, another record of that key, a total beyond
        2^62), IdError, ParityError, OrderError, CapacityError (more rows than ``max_rows``)
        """
        return self._change(lib.octa_container_add, key, rows)

    def remove(self, key: RecordKey, rows: Rows | None = None) -> Counts:
        """Undo an add exactly: the record of the key goes, if it is kept; from a sum the rows are subtracted.

        Raises DomainError from a sum without rows, of less than the rows, or with a column that is no sum
        """
        return self._change(lib.octa_container_remove, key, rows)

    def merge(self, other: Container) -> Counts:
        """Add what another container holds: its records, or to a sum its total.

        Raises MismatchError (another schema), DomainError (a sum into records, two records of one key), and
        as ``add``
        """
        return self._unite(lib.octa_container_merge, other)

    def unmerge(self, other: Container) -> Counts:
        """Undo a merge exactly: remove the records that the other holds, or subtract its total."""
        return self._unite(lib.octa_container_unmerge, other)

    def advance(self, stamp_ns: int) -> Counts:
        """Move now forward and drop what has grown too old; an earlier stamp changes nothing."""
        counts = ffi.new("octa_container_counts *")
        check(lib.octa_container_advance(self._handle, _stamp(stamp_ns), counts), "stamp_ns")
        return self._changed(counts)

    def move(self, origin: tuple[int, int, int]) -> None:
        """Move the extent; what the records say about its cells counts, were they inside before or not.

        origin : three even coordinates, half edges
        Raises DomainError (a sum, or no extent), ParityError, RangeError (it would leave the map)
        """
        site = np.array(origin, np.int32)
        check(lib.octa_container_move(self._handle, readable(site, np.int32, (3,), "origin")), "origin")
        self._cells.clear()

    def center(self, position_m: tuple[float, float, float] | NDArray[np.float64]) -> None:
        """Move the extent so that its middle is the even site nearest to a position, metres; as ``move``."""
        if self.options.extent is None:
            check(lib.OCTA_E_DOMAIN, "position_m: the container has no extent")
        else:
            self.move(centred(position_m, self.options.extent.shape, self.schema.half_edge_m))

    # ---- reading

    def __len__(self) -> int:
        """Number of cells of the finest level of which anything is known."""
        return self.size(0)

    def size(self, level: int) -> int:
        """Number of cells so many LODs above the finest; raises DomainError for no such level."""
        self._check_level(level)
        return int(lib.octa_container_cells(self._handle, level))

    @property
    def records(self) -> int:
        """Number of records kept."""
        return int(lib.octa_container_records(self._handle))

    def keys(self) -> list[RecordKey]:
        """Keys of the records kept, ascending."""
        count = self.records
        keys = ffi.new("octa_record_key[]", count)
        check(lib.octa_container_keys(self._handle, count, keys))
        return [RecordKey(key.stamp_ns, key.source, key.part) for key in keys]

    def cells(self, level: int = 0) -> Cells:
        """The cells so many LODs above the finest; the same arrays until the container changes.

        Raises DomainError for a level that is not there
        """
        if level not in self._cells:
            self._cells[level] = self._copy(level)
        return self._cells[level]

    def array(self) -> dict[str, NDArray[np.int64]]:
        """The finest level of a dense container as views of its own memory, read-only, by name of the column.

        Shapes are (2, Z, Y, X) with a last axis for sums and for columns of the user's: the even sites
        ``origin + 2 (x, y, z)``, then the odd ones, one farther on each axis. They change with the container;
        copy them to keep what they show.
        Raises DomainError for a container that is not dense
        """
        values, rows, lanes = ffi.new("const int64_t **"), ffi.new("size_t *"), ffi.new("size_t *")
        check(lib.octa_container_array(self._handle, values, rows, lanes), "container")
        assert self.options.extent is not None
        # The views hold the handle: its memory outlives the last of them.
        memory = ffi.gc(values[0], partial(_let_go, self._handle))
        flat = np.frombuffer(ffi.buffer(memory, rows[0] * lanes[0] * 8), np.int64)
        x, y, z = self.options.extent.shape
        table = flat.reshape(2, z, y, x, lanes[0])
        table.flags.writeable = False
        views = {name: table[..., lane] for lane, name in enumerate(OWN_LANES)}
        views["sums"] = table[..., len(OWN_LANES) : len(OWN_LANES) + SUMS]
        at = len(OWN_LANES) + SUMS
        for column in self.options.columns:
            views[column.name] = table[..., at : at + column.stored]
            at += column.stored
        return views

    def validate(self) -> None:
        """Check every invariant; raises AssertionError with the reason."""
        reason = ffi.new("const char **")
        if not lib.octa_container_validate(self._handle, reason):
            raise AssertionError(ffi.string(reason[0]).decode())

    # ---- between

    def _check_level(self, level: int) -> None:
        if not 0 <= level < self.options.levels:
            check(lib.OCTA_E_DOMAIN, f"level = {level} (0..{self.options.levels - 1})")

    def _copy(self, level: int) -> Cells:
        size, width = self.size(level), self.schema.stored
        ids, hits, passes, free_passes, free_misses = (np.empty(size, np.uint64) for _ in range(5))
        sums, values = np.empty((size, SUMS), np.int64), np.empty(size * width, np.int64)
        plain = [output(array) for array in (ids, hits, passes, free_passes, free_misses)]
        code = lib.octa_container_copy(
            self._handle,
            level,
            size,
            *plain,
            output(sums),
            output(values),
        )
        check(code)
        for array in (ids, hits, passes, free_passes, free_misses, sums, values):
            array.flags.writeable = False
        stored, at = {}, 0
        for column in self.options.columns:
            stored[column.name] = values[at : at + size * column.stored].reshape(size, column.stored)
            at += size * column.stored
        return Cells(
            schema=self.schema, level=level, cell_id=ids, hits=hits, passes=passes, free_passes=free_passes,
            free_misses=free_misses, sums=sums, stored=stored,
        )  # fmt: skip

    def _change(self, function: Any, key: RecordKey, rows: Rows | None) -> Counts:
        c_key, counts = ffi.new("octa_record_key *"), ffi.new("octa_container_counts *")
        c_key.stamp_ns, c_key.source, c_key.part = (
            _stamp(key.stamp_ns),
            _bits(key.source, 64),
            _bits(key.part, 32),
        )
        if rows is None:
            check(function(self._handle, c_key, ffi.NULL, counts), "rows")
            return self._changed(counts)
        c_rows, buffers = _rows_to_c(rows, self.options.columns)
        code = function(self._handle, c_key, c_rows, counts)
        del buffers  # what they point to has to outlive the call
        check(code, "rows")
        return self._changed(counts)

    def _unite(self, function: Any, other: Container) -> Counts:
        self.schema.require_equal(other.schema)
        counts = ffi.new("octa_container_counts *")
        check(function(self._handle, other._handle, counts), "other")
        return self._changed(counts)

    def _changed(self, counts: Any) -> Counts:
        self._cells.clear()
        return Counts(**{name: int(getattr(counts, name)) for name in Counts.__slots__})


def _let_go(handle: object, memory: object) -> None:
    """Ends a view of a container's memory; holding the handle until then is all it is for."""


def _stamp(stamp_ns: int) -> int:
    if not 0 <= stamp_ns < 2**61:
        check(lib.OCTA_E_DOMAIN, f"stamp_ns = {stamp_ns} (0..2^61 - 1)")
    return stamp_ns


def _bits(value: int, bits: int) -> int:
    if not 0 <= value < 2**bits:
        check(lib.OCTA_E_DOMAIN, f"key: {value} has more than {bits} bits")
    return value


def _values_to_c(
    values: Mapping[str, NDArray[np.int64]], columns: tuple[Column, ...], n: int
) -> NDArray[np.int64]:
    """The user's columns one after the other; those that are not given say nothing."""
    unknown = values.keys() - {column.name for column in columns}
    if unknown:
        raise ValueError(f"values: no column {', '.join(sorted(unknown))}")
    parts = []
    for column in columns:
        part = values.get(column.name)
        part = column.empty(n) if part is None else part
        readable(part, np.int64, (n, column.stored), f"values.{column.name}")
        parts.append(part.reshape(-1))
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _rows_to_c(rows: Rows, columns: tuple[Column, ...]) -> tuple[Any, Any]:
    """C rows, and what must outlive them."""
    c = ffi.new("octa_rows *")
    ids = readable(rows.cell_id, np.uint64, (None,), "cell_id")
    free_ids = readable(rows.free_id, np.uint64, (None,), "free_id")
    n, m = len(rows.cell_id), len(rows.free_id)
    buffers = {
        "ids": ids,
        "hits": readable(rows.hits, np.uint64, (n,), "hits"),
        "passes": readable(rows.passes, np.uint64, (n,), "passes"),
        "sums": readable(rows.sums, np.int64, (n, SUMS), "sums"),
        "free_ids": free_ids,
        "free_passes": readable(rows.free_passes, np.uint64, (m,), "free_passes"),
        "free_misses": readable(rows.free_misses, np.uint64, (m,), "free_misses"),
    }
    values = _values_to_c(rows.values, columns, n)
    buffers["values"] = readable(values, np.int64, (None,), "values")
    for name, buffer in buffers.items():
        setattr(c, name, buffer)
    c.cells, c.free_cells = n, m
    return c, buffers
