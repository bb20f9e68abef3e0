"""Coarser levels against adding up points, or cells, one by one with Python's integers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from native import index64, lattice
from native.binning import FIXED_ONE, Binner
from native.coarse import Level, coarser, finest
from native.errors import DomainError, IdError, LodError, OrderError, ParityError
from native.grid import Grid
from native.window import Window, WindowOptions
from tests.native.oracle import F32, ids_of, matrix_of
from tests.native.recorded import sweep

GRID = Grid(half_edge_m=1.0, frame=5, tier=1, lod=7, range_min_m=0.0, range_max_m=1e4)
PAIRS = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]
SENSOR = np.array([-40, -42, -44], np.float32)
Totals = dict[int, list[int]]
"""Hits, then the eleven sums, by cell."""

coordinates = st.integers(-11 * 512, 11 * 512)
some_points = st.lists(st.tuples(coordinates, coordinates, coordinates), max_size=60)


def points_at(triples: Iterable[tuple[int, int, int]]) -> F32:
    """Multiples of 1/512 m, so that float32 holds offsets and their products exactly."""
    return np.array(list(triples), np.float32).reshape(-1, 3) / np.float32(512)


def binned(points: F32, grid: Grid = GRID) -> Level:
    """The finest level of points in the map frame, seen from afar; the intensity follows from the point."""
    share = np.abs(points[:, 0] * np.float32(37.3)) % np.float32(1)
    bins = Binner(grid).run(points - SENSOR, share.astype(np.float32), matrix_of((*SENSOR.tolist(),)))
    return finest(bins.cell_id, bins.hits, bins.sums)


def rebased(row: list[int], d: list[int]) -> list[int]:
    """Hits and sums about a site that lies at -d."""
    n, first, second = row[0] * FIXED_ONE, row[1:4], row[4:10]
    moved = [v + a * n for v, a in zip(first, d, strict=True)]
    moved += [
        v + d[i] * first[j] + d[j] * first[i] + d[i] * d[j] * n
        for v, (i, j) in zip(second, PAIRS, strict=True)
    ]
    return [row[0], *moved, *row[10:]]


def totals_of(level: Level) -> Totals:
    rows = [[hits, *sums] for hits, sums in zip(level.hits.tolist(), level.sums.tolist(), strict=True)]
    return dict(zip(level.cell_id.tolist(), rows, strict=True))


def added(parts: Iterable[Totals]) -> Totals:
    total: defaultdict[int, list[int]] = defaultdict(lambda: [0] * 12)
    for part in parts:
        for cell, row in part.items():
            total[cell] = [a + b for a, b in zip(total[cell], row, strict=True)]
    return dict(total)


def lifted(level: Level, levels: int) -> Totals:
    """Every cell on its own about its ancestor's site, then added up."""
    parts = index64.decode(level.cell_id)
    lod = int(parts.lod[0]) if len(parts.lod) else levels
    above = index64.ancestor(level.cell_id, lod - levels)
    scale = 2 ** (level.unit_lod - lod)
    offsets = (parts.sites - 2**levels * index64.decode(above).sites).astype(np.int64) * scale
    rows = totals_of(level).values()
    moved = zip(above.tolist(), rows, offsets.tolist(), strict=True)
    return added({cell: rebased(row, d)} for cell, row, d in moved)


def climbed(level: Level, levels: int) -> Level:
    for _ in range(levels):
        level, _ = coarser(level)
    return level


def recorded(half_edge_m: float = 0.4) -> Level:
    grid = Grid(half_edge_m=half_edge_m, lod=7)
    window, binner = Window(grid, WindowOptions()), Binner(grid)
    for i in range(3):
        s = sweep(i)
        bins = binner.run(s.points, s.intensity, s.pose)
        window.push(i * 10**8, bins.cell_id, bins.hits, np.zeros_like(bins.hits), bins.sums)
    cells = window.cells()
    return finest(cells.cell_id, cells.hits, cells.sums)


# ---- what a coarser level is


@settings(max_examples=60, deadline=None)
@given(some_points, st.integers(1, 4))
def test_a_level_is_every_point_added_up_about_its_ancestor(
    triples: list[tuple[int, int, int]], levels: int
) -> None:
    alone = [lifted(binned(points_at([triple])), levels) for triple in triples]
    assert totals_of(climbed(binned(points_at(triples)), levels)) == added(alone)


@pytest.mark.parametrize("levels", [1, 2, 3, 5])
def test_recorded_sweeps_add_up(levels: int) -> None:
    level = recorded()
    coarse = climbed(level, levels)
    assert totals_of(coarse) == lifted(level, levels)
    assert coarse.unit_lod == 7 and len(coarse.cell_id) < len(level.cell_id) / 2**levels
    assert (np.diff(coarse.cell_id.astype(object)) > 0).all()


@settings(max_examples=60, deadline=None)
@given(some_points, st.integers(1, 3))
def test_moments_are_those_of_the_points_to_their_own_rounding(
    triples: list[tuple[int, int, int]], levels: int
) -> None:
    """First moments are exact, for offsets are multiples of 1/512; products were rounded once a point."""
    points = points_at(triples).astype(np.float64)
    cells = ids_of(GRID, lattice.snap(points))
    above = index64.ancestor(cells, 7 - levels)
    about = index64.decode(above).sites * 2.0**levels
    for cell, row in totals_of(climbed(binned(points_at(triples)), levels)).items():
        mine = above == cell
        o = (points - about)[mine]
        assert row[0] == mine.sum()
        assert row[1:4] == (o.sum(axis=0) * FIXED_ONE).tolist()  # multiples of 1/512
        for moment, (i, j) in zip(row[4:10], PAIRS, strict=True):
            assert abs(moment - FIXED_ONE * (o[:, i] * o[:, j]).sum()) <= mine.sum() / 2


@pytest.mark.parametrize("levels", [1, 4])
def test_centroids_are_the_mean_of_the_points(levels: int) -> None:
    rng = np.random.default_rng(0)
    points = points_at(rng.integers(-20 * 512, 20 * 512, (3000, 3)).tolist())
    coarse = climbed(binned(points), levels)
    above = index64.ancestor(ids_of(GRID, lattice.snap(points.astype(np.float64))), 7 - levels)
    means = np.array([points[above == cell].mean(axis=0, dtype=np.float64) for cell in coarse.cell_id])
    assert np.allclose(coarse.centroids(), means, rtol=0, atol=1e-12)


def test_rows_name_the_parents() -> None:
    level = recorded()
    coarse, rows = coarser(level)
    assert np.array_equal(coarse.cell_id[rows], index64.parent(level.cell_id))
    assert np.array_equal(np.bincount(rows, level.hits).astype(np.uint64), coarse.hits)


# ---- invariants


@settings(max_examples=40, deadline=None)
@given(some_points, some_points, st.integers(1, 3))
def test_levels_of_parts_add_up_to_the_level_of_the_whole(a: Any, b: Any, levels: int) -> None:
    parts = [totals_of(climbed(binned(points_at(part)), levels)) for part in (a, b)]
    assert added(parts) == totals_of(climbed(binned(points_at([*b, *a])), levels))


def test_windows_take_levels_back_exactly() -> None:
    """What left the window leaves its coarser levels too."""
    grid = Grid(half_edge_m=0.4, lod=7)
    window, binner = Window(grid, WindowOptions(bins=2, keep_bins=0)), Binner(grid)
    levels = []
    for i in range(3):
        s = sweep(i)
        bins = binner.run(s.points, s.intensity, s.pose)
        window.push(i * 10**8, bins.cell_id, bins.hits, np.zeros_like(bins.hits), bins.sums)
        levels.append(totals_of(climbed(finest(bins.cell_id, bins.hits, bins.sums), 2)))
    cells = window.cells()
    assert totals_of(climbed(finest(cells.cell_id, cells.hits, cells.sums), 2)) == added(levels[1:])


def test_cells_without_points_count_for_nothing() -> None:
    level = binned(points_at([(0, 0, 0), (9000, 0, 0)]))
    far = ids_of(GRID, [[400, 400, 400]])
    zero = Level(
        cell_id=np.append(level.cell_id, far),
        hits=np.append(level.hits, np.uint64(0)),
        sums=np.concatenate([level.sums, np.zeros((1, 11), np.int64)]),
        unit_lod=7,
    )
    coarse = climbed(zero, 2)
    want = totals_of(climbed(level, 2)) | {int(index64.ancestor(far, 5)[0]): [0] * 12}
    assert totals_of(coarse) == want
    assert np.isnan(coarse.centroids()).sum() == 3


@pytest.mark.parametrize("levels", [1, 7])
def test_the_ends_of_the_map_have_parents(levels: int) -> None:
    low, high = index64.COORDINATE_MIN, index64.COORDINATE_MAX
    sites = [[x, y, z] for x, y, z in combinations_with_replacement((low, high - 1), 3)]
    sites += [[x, y, z] for x, y, z in combinations_with_replacement((low + 1, high), 3)]
    ids = np.unique(ids_of(GRID, sites))
    level = finest(ids, np.arange(1, len(ids) + 1, dtype=np.uint32), np.arange(11 * len(ids)).reshape(-1, 11))
    assert totals_of(climbed(level, levels)) == lifted(level, levels)


def test_no_cells_have_no_parents() -> None:
    coarse, rows = coarser(
        finest(np.empty(0, np.uint64), np.empty(0, np.uint32), np.empty((0, 11), np.int32))
    )
    assert len(coarse.cell_id) == len(rows) == 0 and coarse.sums.shape == (0, 11)


# ---- totals that do not fit


def family(hits: list[int], sums: NDArray[np.int64], unit_lod: int) -> Level:
    """Some children of one cell."""
    (parent,) = ids_of(Grid(half_edge_m=1.0, lod=6), [[4, -6, 8]])
    ids = np.sort(index64.children(np.array([parent])).ravel())[: len(hits)]
    return Level(cell_id=ids, hits=np.array(hits, np.uint64), sums=sums, unit_lod=unit_lod)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_level_is_exact_or_refused(data: st.DataObject) -> None:
    """Whatever the size of hits and sums, also where a difference of large terms fits."""
    n, bits = data.draw(st.integers(1, 8)), data.draw(st.integers(20, 63))
    values = st.one_of(st.integers(-(2**bits), 2**bits - 1), st.sampled_from([-(2**bits), 2**bits - 1, 0]))
    sums = np.array(
        data.draw(st.lists(st.lists(values, min_size=11, max_size=11), min_size=n, max_size=n)), np.int64
    )
    top = 2 ** data.draw(st.integers(1, 64)) - 1
    hits = data.draw(st.lists(st.one_of(st.integers(0, top), st.just(top)), min_size=n, max_size=n))
    level = family(hits, sums, data.draw(st.sampled_from([7, 8, 14, 15])))
    want = lifted(level, 1)
    (row,) = want.values()
    if row[0] < 2**64 and all(-(2**63) <= v < 2**63 for v in row[1:]):
        assert totals_of(coarser(level)[0]) == want
    else:
        with pytest.raises(DomainError, match="level"):
            coarser(level)


def test_the_largest_totals_fit_and_one_more_does_not() -> None:
    sums = np.zeros((2, 11), np.int64)
    sums[:, 10] = 2**62, 2**62 - 1
    assert coarser(family([0, 0], sums, 7))[0].sums[0, 10] == 2**63 - 1
    sums[1, 10] += 1
    with pytest.raises(DomainError, match="level"):
        coarser(family([0, 0], sums, 7))
    sums[:, 10] = -(2**62)
    assert coarser(family([0, 0], sums, 7))[0].sums[0, 10] == -(2**63)


# ---- errors


LEVEL = binned(points_at([(0, 0, 0), (2000, 0, 300), (4000, 900, 0)]))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"cell_id": LEVEL.cell_id[::-1].copy()}, OrderError),
        ({"cell_id": LEVEL.cell_id[[0, 0, 1]]}, OrderError),
        ({"cell_id": LEVEL.cell_id ^ np.array([0, 0, 1], np.uint64)}, ParityError),
        ({"cell_id": LEVEL.cell_id | np.array([0, 0, 1 << 62], np.uint64)}, IdError),
        ({"cell_id": LEVEL.cell_id + np.array([0, 0, 1 << 48], np.uint64)}, DomainError),
        ({"cell_id": LEVEL.cell_id - np.uint64(7 << 48), "unit_lod": 7}, LodError),
        ({"unit_lod": 6}, DomainError),
        ({"unit_lod": 16}, DomainError),
        ({"hits": LEVEL.hits.astype(np.uint32)}, TypeError),
        ({"hits": LEVEL.hits[:2]}, ValueError),
        ({"sums": LEVEL.sums.astype(np.int32)}, TypeError),
        ({"sums": LEVEL.sums[:, :10].copy()}, ValueError),
    ],
)
def test_what_is_no_level_is_refused(change: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        coarser(replace(LEVEL, **change))
