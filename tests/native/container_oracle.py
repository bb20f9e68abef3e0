"""A readable, slow oracle of containers: every level added up from records, in Python's integers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from native import index64
from native.cells import Cells, Rows
from native.container import ContainerOptions, RecordKey
from native.grid import Grid
from native.schema import NEUTRAL, Column

MOMENTS = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]
Values = dict[str, tuple[int, ...]]
Site = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one record says: by cell hits, passes, sums and values; by free cell passes and misses."""

    cells: dict[int, tuple[int, int, tuple[int, ...], Values]]
    free: dict[int, tuple[int, int]] = field(default_factory=dict)

    def rows(self, columns: tuple[Column, ...]) -> Rows:
        """As the container takes it."""
        ids, free = sorted(self.cells), sorted(self.free)
        said = [self.cells[cell] for cell in ids]
        return Rows(
            cell_id=np.array(ids, np.uint64),
            hits=np.array([row[0] for row in said], np.uint64),
            passes=np.array([row[1] for row in said], np.uint64),
            sums=np.array([row[2] for row in said], np.int64).reshape(-1, 11),
            values={
                column.name: np.array([row[3][column.name] for row in said], np.int64).reshape(
                    -1, column.stored
                )
                for column in columns
            },
            free_id=np.array(free, np.uint64),
            free_passes=np.array([self.free[cell][0] for cell in free], np.uint64),
            free_misses=np.array([self.free[cell][1] for cell in free], np.uint64),
        )

    def count(self, columns: tuple[Column, ...]) -> int:
        """Rows that say something."""
        cells = sum(
            any(row[:2]) or any(row[3][c.name] != none(c) for c in columns) for row in self.cells.values()
        )
        return cells + sum(any(row) for row in self.free.values())


def none(column: Column) -> tuple[int, ...]:
    """What a cell without a value holds."""
    return (NEUTRAL[column.rule],) * column.stored


def joined(column: Column, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The values of two records of one cell as one."""
    if column.rule == "latest":
        return max(a, b)
    by = {"sum": lambda x, y: x + y, "least": min, "greatest": max}[column.rule]
    return tuple(by(x, y) for x, y in zip(a, b, strict=True))


def sites_of(ids: list[int]) -> dict[int, Site]:
    """Site of each id."""
    sites = index64.decode(np.array(ids, np.uint64)).sites.tolist()
    return {cell: (site[0], site[1], site[2]) for cell, site in zip(ids, sites, strict=True)}


def rebased(sums: tuple[int, ...], hits: int, d: list[int]) -> list[int]:
    """Sums about a site that the cell's own lies d half edges from."""
    first, one = sums[:3], 4096 * hits
    out = [first[i] + d[i] * one for i in range(3)]
    out += [
        sums[3 + k] + d[i] * first[j] + d[j] * first[i] + d[i] * d[j] * one
        for k, (i, j) in enumerate(MOMENTS)
    ]
    return [*out, *sums[9:]]


class ContainerModel:
    """What a container must hold and count."""

    def __init__(self, grid: Grid, options: ContainerOptions) -> None:
        self.grid, self.options = grid, options
        self.records: dict[RecordKey, Said] = {}
        self.sum: list[tuple[int, Said]] = []  # with the sign
        self.now = 0
        self.limit: RecordKey | None = None
        self.extent = options.extent

    # ---- what is kept

    def expired(self, key: RecordKey) -> bool:
        return self.options.span_ns > 0 and self.now - key.stamp_ns >= self.options.span_ns

    def late(self, key: RecordKey) -> bool:
        return self.expired(key) or (self.limit is not None and key <= self.limit)

    def add(self, key: RecordKey, said: Said) -> dict[str, int]:
        """Counts that are not 0."""
        if not self.options.keep:
            self.sum.append((1, said))
            return {"added": 1}
        if key in self.records:
            return {"known": 1}
        if self.late(key):
            return {"late": 1}
        self.records[key] = said
        self.now = max(self.now, key.stamp_ns)
        return {"added": 1, **self.shed()}

    def shed(self) -> dict[str, int]:
        """Drop what is too old, then what is too much."""
        old = [key for key in self.records if self.expired(key)]
        for key in old:
            del self.records[key]
        evicted = rows = 0
        for key in sorted(self.records):
            total = sum(said.count(self.options.columns) for said in self.records.values())
            if len(self.records) <= self.options.max_records and total <= self.options.max_rows:
                break
            rows += self.records.pop(key).count(self.options.columns)
            evicted += 1
            self.limit = key if self.limit is None else max(self.limit, key)
        counts = {"expired": len(old), "evicted": evicted, "rows": rows}
        return {name: count for name, count in counts.items() if count}

    def remove(self, key: RecordKey) -> dict[str, int]:
        return {"removed": 1} if self.records.pop(key, None) is not None else {}

    def advance(self, stamp_ns: int) -> dict[str, int]:
        self.now = max(self.now, stamp_ns)
        return self.shed()

    def merge(self, other: ContainerModel) -> None:
        self.now = max(self.now, other.now)
        limits = [limit for limit in (self.limit, other.limit) if limit is not None]
        self.limit = max(limits, default=None)
        self.records = {
            key: said for key, said in (self.records | other.records).items() if not self.late(key)
        }
        self.shed()

    # ---- what is shown

    def inside(self, site: Site, scale: int = 1) -> bool:
        if self.extent is None:
            return True
        return all(
            low <= scale * at < low + 2 * size
            for at, low, size in zip(site, self.extent.origin, self.extent.shape, strict=True)
        )

    def counted(self) -> list[tuple[int, Said]]:
        """Records with their signs."""
        return [(1, said) for said in self.records.values()] if self.options.keep else self.sum

    def level(self, level: int) -> dict[int, tuple[int, ...]]:
        """By cell: hits, passes, free passes and misses, sums, then the values of all columns."""
        lod, columns = self.grid.lod - level, self.options.columns
        cells: dict[int, list[int]] = {}
        values: dict[int, Values] = {}
        for sign, said in self.counted():
            sites = sites_of(list(said.cells))
            up = dict(
                zip(
                    said.cells,
                    index64.ancestor(np.array(list(said.cells), np.uint64), lod).tolist(),
                    strict=True,
                )
            )
            tops = sites_of(list(up.values()))
            for cell, (hits, passes, sums, own) in said.cells.items():
                if not self.inside(sites[cell]):
                    continue
                top = up[cell]
                d = [a - 2**level * b for a, b in zip(sites[cell], tops[top], strict=True)]
                row = [hits, 0 if level else passes, 0, 0, *rebased(sums, hits, d)]
                old = cells.setdefault(top, [0] * 15)
                cells[top] = [a + sign * b for a, b in zip(old, row, strict=True)]
                held = values.setdefault(top, {column.name: none(column) for column in columns})
                for column in columns:
                    given = own[column.name]
                    if column.rule == "sum":
                        given = tuple(sign * value for value in given)
                    held[column.name] = joined(column, held[column.name], given)
            if level == self.options.free_level:
                free = sites_of(list(said.free))
                for cell, (passed, missed) in said.free.items():
                    if self.inside(free[cell], 2**level):
                        row = cells.setdefault(cell, [0] * 15)
                        row[2] += sign * passed
                        row[3] += sign * missed
        out = {}
        for cell, row in sorted(cells.items()):
            own = values.get(cell, {column.name: none(column) for column in columns})
            if any(row) or any(own[column.name] != none(column) for column in columns):
                out[cell] = (*row, *(value for column in columns for value in own[column.name]))
        return out


def shown(cells: Cells) -> dict[int, tuple[int, ...]]:
    """What a container shows, in the form of the model."""
    columns: list[NDArray[np.int64] | NDArray[np.uint64]] = [
        cells.hits[:, None],
        cells.passes[:, None],
        cells.free_passes[:, None],
        cells.free_misses[:, None],
        cells.sums,
        *(cells.stored[column.name] for column in cells.schema.columns),
    ]
    rows = [tuple(value for column in columns for value in column[i].tolist()) for i in range(len(cells))]
    return dict(zip(cells.cell_id.tolist(), rows, strict=True))
