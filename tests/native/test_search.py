"""Cells around positions against looking at all of them; steps against a walk from neighbour to neighbour."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import lattice
from native.errors import DomainError, IdError, OrderError, ParityError
from native.grid import Grid
from native.index64 import decode
from native.search import Neighborhoods, pool, within_radius, within_rings
from tests.native.oracle import ids_of

GRID = Grid(half_edge_m=0.4, frame=5, tier=1, lod=7)


def some_cells(rng: np.random.Generator, n: int, reach: int) -> Any:
    """Ids of different sites, ascending."""
    sites = 2 * rng.integers(-reach, reach, (n, 3)) + rng.integers(0, 2, (n, 1))
    return np.unique(ids_of(GRID, sites.astype(np.int32)))


def lists(found: Neighborhoods) -> list[list[int]]:
    return [found.around(i).tolist() for i in range(len(found.starts) - 1)]


def expected(cell_id: Any, queries: Any, radius: float) -> list[list[int]]:
    sites = decode(cell_id).sites.astype(np.float64)
    out = []
    for query in queries:
        d = sites - query
        square = (d[:, 0] * d[:, 0] + d[:, 1] * d[:, 1]) + d[:, 2] * d[:, 2]
        out.append(np.flatnonzero(square <= radius * radius).tolist())
    return out


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), n=st.integers(0, 300), reach=st.sampled_from([2, 8, 200]),
    radius=st.sampled_from([0.0, 1.0, 1.7320508075688772, 2.0, 3.3, 9.0, 500.0]), on_sites=st.booleans(),
)  # fmt: skip
def test_within_a_radius_is_what_is_near(
    seed: int, n: int, reach: int, radius: float, on_sites: bool
) -> None:
    rng = np.random.default_rng(seed)
    cells = some_cells(rng, n, reach)
    queries = rng.normal(scale=reach, size=(6, 3))
    if on_sites:
        queries = 2 * np.round(queries)
    found = within_radius(cells, queries, radius)
    assert lists(found) == expected(cells, queries, radius)
    x = rng.normal(size=(len(cells), 3)).astype(np.float32)
    pooled = pool(cells, x, queries, radius)
    assert pooled.vectors().shape == (6, 10)
    for i, rows in enumerate(lists(found)):
        assert pooled.count[i] == len(rows)
        if not rows:
            assert not pooled.vectors()[i].any()
            continue
        total = np.zeros(3)
        for row in rows:
            total += x[row]
        assert np.array_equal(pooled.mean[i], (total / len(rows)).astype(np.float32))
        assert np.array_equal(pooled.least[i], x[rows].min(axis=0))
        assert np.array_equal(pooled.greatest[i], x[rows].max(axis=0))


def test_steps_are_those_of_a_walk() -> None:
    """Breadth first over the whole lattice, from an even and an odd site."""
    box = np.array([[x, y, z] for x in range(-9, 10) for y in range(-9, 10) for z in range(-9, 10)], np.int32)
    sites = box[((box[:, 0] - box[:, 1]) % 2 == 0) & ((box[:, 0] - box[:, 2]) % 2 == 0)]
    cells = np.sort(ids_of(GRID, sites))
    place = {tuple(site): row for row, site in enumerate(decode(cells).sites.tolist())}
    for start in ((0, 0, 0), (1, 1, 1)):
        ring, seen = {start}, {start}
        around = ids_of(GRID, [list(start)])
        for rings in range(1, 5):
            steps = lattice.neighbors(np.array(sorted(ring), np.int32)).reshape(-1, 3)
            ring = {tuple(site) for site in steps.tolist()} - seen
            seen |= ring
            assert within_rings(cells, around, rings).around(0).tolist() == sorted(
                place[site] for site in seen
            )
    assert len(within_rings(cells, ids_of(GRID, [[0, 0, 0]]), 1).rows) == 15


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 200), rings=st.sampled_from([1, 2, 3, 10, 65536]))
def test_within_rings_is_what_few_steps_reach(seed: int, n: int, rings: int) -> None:
    cells = some_cells(np.random.default_rng(seed), n, 8)
    found = within_rings(cells, cells[::-1].copy(), rings)
    sites = decode(cells).sites.astype(np.int64)
    for i, rows in enumerate(lists(found)):
        legs = np.sort(np.abs(sites - sites[len(cells) - 1 - i]), axis=1)
        assert rows == np.flatnonzero(legs[:, 1] + legs[:, 2] <= 2 * rings).tolist()
    pairs = found.pairs()
    assert pairs.shape == (2, len(found.rows)) and np.array_equal(pairs[1], found.rows)
    assert len(np.unique(pairs[0])) == len(cells)


def test_nothing_among_nothing() -> None:
    none, nowhere = np.empty(0, np.uint64), np.empty((0, 3))
    assert lists(within_radius(none, np.zeros((2, 3)), 5.0)) == [[], []]
    assert lists(within_radius(none, nowhere, 5.0)) == []
    assert lists(within_rings(none, ids_of(GRID, [[0, 0, 0]]), 1)) == [[]]
    empty = pool(none, np.empty((0, 4), np.float32), nowhere, 1.0)
    assert empty.vectors().shape == (0, 13)
    assert pool(ids_of(GRID, [[0, 0, 0]]), np.empty((1, 0), np.float32), np.zeros((1, 3)), 1.0).count[0] == 1


TWO = np.sort(ids_of(GRID, [[0, 0, 0], [2, 0, 0]]))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"cell_id": TWO[::-1].copy()}, OrderError, "cell_id"),
        ({"cell_id": TWO & np.uint64(2**60)}, IdError, "cell_id"),
        ({"cell_id": TWO ^ np.uint64(1)}, ParityError, "cell_id"),
        ({"cell_id": TWO.astype(np.int64)}, TypeError, "cell_id"),
        ({"cell_id": np.stack([TWO, TWO])}, ValueError, "cell_id"),
        ({"cell_id": np.repeat(TWO, 2)[::2]}, ValueError, "cell_id"),
        ({"queries": np.array([[np.nan, 0, 0]])}, DomainError, "queries"),
        ({"queries": np.array([[np.inf, 0, 0]])}, DomainError, "queries"),
        ({"queries": np.array([[1e30, 0, 0]])}, DomainError, "queries"),
        ({"queries": np.zeros((1, 3), np.float32)}, TypeError, "queries"),
        ({"queries": np.zeros(3)}, ValueError, "queries"),
        ({"queries": np.zeros((3, 1)).T}, None, ""),
        ({"queries": np.zeros((3, 2)).T}, ValueError, "queries"),
        ({"radius": -1.0}, DomainError, "radius"),
        ({"radius": np.nan}, DomainError, "radius"),
        ({"radius": np.inf}, DomainError, "radius"),
        ({"radius": 1e-310}, None, ""),
    ],
    ids=str,
)
def test_bad_arguments_are_named(change: dict[str, Any], error: type[Exception] | None, text: str) -> None:
    good: dict[str, Any] = {"cell_id": TWO, "queries": np.zeros((1, 3)), "radius": 1.0}
    x = np.zeros((2, 1), np.float32)
    if error is None:
        assert within_radius(**{**good, **change}).starts[-1] == 1
        return
    with pytest.raises(error, match=text):
        within_radius(**{**good, **change})
    with pytest.raises(error, match=text):
        pool(x=x, **{**good, **change})


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (np.zeros((2, 1)), TypeError),
        (np.zeros((3, 1), np.float32), ValueError),
        (np.zeros(2, np.float32), ValueError),
        (np.full((2, 1), np.nan, np.float32), DomainError),
        (np.full((2, 1), np.inf, np.float32), DomainError),
        (np.zeros((2, 4), np.float32)[:, ::2], ValueError),
    ],
)
def test_bad_values_are_named(x: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="x"):
        pool(TWO, x, np.zeros((1, 3)), 1.0)


@pytest.mark.parametrize(
    ("around", "rings", "error", "text"),
    [
        (TWO, 0, DomainError, "rings = 0"),
        (TWO, -1, DomainError, "rings = -1"),
        (TWO, 65537, DomainError, "rings = 65537"),
        (TWO ^ np.uint64(1 << 52), 1, DomainError, "around"),
        (TWO ^ np.uint64(1 << 48), 1, DomainError, "around"),
        (TWO ^ np.uint64(1), 1, ParityError, "ids"),
        (TWO.astype(np.int64), 1, TypeError, "around"),
    ],
)
def test_bad_rings_are_named(around: Any, rings: int, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        within_rings(TWO, around, rings)
