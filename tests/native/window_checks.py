"""What the tests of the window share: cells, records, and comparisons with the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from native.errors import DomainError, IdError, OctaError, OrderError, ParityError
from native.grid import Grid
from native.window import Window
from tests.native.oracle import NO_SUMS, Record, WindowModel, ids_of

GRID = Grid(half_edge_m=0.4, frame=5, tier=1, lod=7)
SITES = [[x, y, z] for x in range(-3, 4) for y in range(-3, 4) for z in (-1, 0, 1)]
CELLS = np.sort(ids_of(GRID, [s for s in SITES if len({v % 2 for v in s}) == 1])).tolist()
TOP_STAMP = (2**63 - 1) // 4
INT32 = 2**31 - 1


def push(window: Window, record: Record) -> int:
    return window.push(record.stamp_ns, *record.arrays())


def assert_same(window: Window, model: WindowModel) -> None:
    """The window shows exactly what the model's records add up to."""
    window.validate()
    want = model.totals()
    assert window.records == len(model.records)
    assert len(window) == len(want) and window.active == len(model.active())
    assert window.cell_ids().tolist() == list(want)
    got = window.cells()
    rows = zip(got.hits.tolist(), got.passes.tolist(), map(tuple, got.sums.tolist()), strict=True)
    assert dict(zip(got.cell_id.tolist(), rows, strict=True)) == want


def state(window: Window) -> tuple[Any, ...]:
    """Everything that can be seen of a window, as values."""
    cells = window.cells()
    parts = (cells.cell_id, cells.hits, cells.passes, cells.sums)
    return window.records, window.active, len(window), *(part.tobytes() for part in parts)


def damaged(record: Record) -> list[tuple[type[OctaError], tuple[Any, ...]]]:
    """Ways to spoil a record of three hit cells, and what each must raise."""
    ids, hits, passes, sums = record.arrays()
    stamp, other = record.stamp_ns, ids_of(Grid(half_edge_m=0.4, frame=6, tier=1, lod=7), [[0, 0, 0]])
    parity = np.array([ids[0], ids[1] ^ np.uint64(1), ids[2]], np.uint64)
    return [
        (OrderError, (stamp, ids[::-1].copy(), hits, passes, sums)),
        (OrderError, (stamp, ids[[0, 1, 1]], hits, passes, sums)),
        (IdError, (stamp, ids & np.uint64(2**62 - 1), hits, passes, sums)),
        (ParityError, (stamp, parity, hits, passes, sums)),
        (DomainError, (stamp, np.append(ids[:2], other), hits, passes, sums)),
        (DomainError, (stamp, ids, hits, passes, sums[:2])),
        (DomainError, (stamp, ids, hits * np.array([1, 0, 1], np.uint32), passes, sums)),
        (DomainError, (stamp, ids, hits, passes, np.concatenate([sums, sums]))),
        (DomainError, (stamp, ids, hits, passes, sums + np.int32(4097))),
        (DomainError, (stamp, ids, hits, passes, sums - np.int32(4097))),
        (DomainError, (-1, ids, hits, passes, sums)),
        (DomainError, (TOP_STAMP + 1, ids, hits, passes, sums)),
    ]


def random_record(rng: np.random.Generator, stamp_ns: int, ids: list[int], share: float = 0.5) -> Record:
    """A record of some of the cells, about half of them hit."""
    cells = {}
    for cell in (cell for cell in ids if rng.random() < share):
        hits = int(rng.integers(0, 40)) * int(rng.random() < 0.5)
        sums = tuple(rng.integers(-4096 * hits, 4096 * hits + 1, 11).tolist()) if hits else NO_SUMS
        cells[cell] = (hits, int(rng.integers(0, 60)), sums)
    return Record(stamp_ns=stamp_ns, cells=cells)
