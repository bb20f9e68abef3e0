"""What the tests of containers share: a grid, cells, columns, random records, comparisons with the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from native import index64
from native.container import Container, ContainerOptions, Counts, RecordKey
from native.grid import Grid
from native.schema import NEUTRAL, Column
from tests.native.container_oracle import ContainerModel, Said, none, shown
from tests.native.oracle import NO_SUMS, ids_of

GRID = Grid(half_edge_m=0.4, frame=5, tier=1, lod=7)
SITES = [[x, y, z] for x in range(-3, 5) for y in range(-3, 5) for z in range(-2, 3)]
CELLS: list[int] = np.sort(ids_of(GRID, [s for s in SITES if len({v % 2 for v in s}) == 1])).tolist()
COLUMNS = (
    Column(name="weight", width=2),
    Column(name="nearest", rule="least"),
    Column(name="class", categories=("car", "road", "tree")),
    Column(name="speed", rule="latest", width=2),
    Column(name="highest", rule="greatest"),
)


def free_ids(level: int) -> list[int]:
    """Cells of a level, near the origin."""
    return sorted(set(index64.ancestor(np.array(CELLS, np.uint64), GRID.lod - level).tolist()))


def random_value(rng: np.random.Generator, column: Column, stamp_ns: int) -> tuple[int, ...]:
    """Nothing, or small numbers."""
    if rng.random() < 0.4:
        return none(column)
    low = 0 if column.categories else -50
    values = rng.integers(low, 50, column.stored).tolist()
    if column.rule in {"least", "greatest"} and rng.random() < 0.2:
        values[0] = NEUTRAL[column.rule]
    return (stamp_ns, *values[1:]) if column.rule == "latest" else tuple(values)


def random_said(
    rng: np.random.Generator, options: ContainerOptions, stamp_ns: int, share: float = 0.3
) -> Said:
    """What a record says about some of the cells."""
    cells = {}
    for cell in CELLS:
        if rng.random() >= share:
            continue
        hits = int(rng.integers(0, 9)) * int(rng.random() < 0.6)
        sums = tuple(rng.integers(-4096 * hits, 4096 * hits + 1, 11).tolist()) if hits else NO_SUMS
        own = {column.name: random_value(rng, column, stamp_ns) for column in options.columns}
        cells[cell] = (hits, int(rng.integers(0, 3)), sums, own)
    free = {
        cell: (int(rng.integers(0, 3)), int(rng.integers(0, 3)))
        for cell in free_ids(options.free_level)
        if rng.random() < share
    }
    return Said(cells=cells, free=free)


def assert_same(container: Container, model: ContainerModel) -> None:
    """The container shows exactly what the model's records add up to, at every level."""
    container.validate()
    assert container.keys() == sorted(model.records)
    for level in range(container.options.levels):
        assert shown(container.cells(level)) == model.level(level)


def state(container: Container) -> tuple[Any, ...]:
    """Everything that can be seen of a container, as values."""
    levels = [container.cells(level) for level in range(container.options.levels)]
    return (container.keys(), *(tuple(shown(cells).items()) for cells in levels))


def counts(**changed: int) -> Counts:
    """Counts of which only these are not 0."""
    return Counts(**changed)


def add(container: Container, model: ContainerModel, key: RecordKey, said: Said) -> None:
    """Add to both; they count the same, up to what is outside the extent."""
    got = container.add(key, said.rows(container.options.columns))
    want = model.add(key, said)
    assert got == Counts(**want, outside=got.outside)
