"""Containers on recorded sweeps and at their edges: levels, order, removal, extents, memory, refusals."""

from __future__ import annotations

import gc
import itertools
from typing import Any

import numpy as np
import pytest

from native import index64
from native.binning import Binner
from native.cells import FREE, OCCUPIED, UNKNOWN, Cells, Rows
from native.coarse import coarser, finest
from native.container import Container, ContainerOptions, Counts, Extent, RecordKey
from native.errors import (
    CapacityError,
    DomainError,
    IdError,
    OctaError,
    OrderError,
    ParityError,
    RangeError,
)
from native.freecells import FreeCellFinder
from native.grid import Grid
from native.schema import Column, MismatchError
from tests.native.container_checks import (
    CELLS,
    COLUMNS,
    GRID,
    add,
    assert_same,
    random_said,
    state,
)
from tests.native.container_oracle import ContainerModel, Said, shown
from tests.native.oracle import NO_SUMS
from tests.native.recorded import sweep

KITTI = Grid(half_edge_m=0.4, frame=2, lod=7)
BOX = Extent(origin=(-4, -4, -4), shape=(4, 4, 4))


@pytest.fixture(scope="module")
def recorded() -> list[Rows]:
    """Rows of six recorded sweeps, with free cells one level up."""
    binner, finder = Binner(KITTI), FreeCellFinder(KITTI, 1, 40.0)
    out = []
    for number in range(6):
        s = sweep(number)
        bins = binner.run(s.points, s.intensity, s.pose)
        free = finder.run(s.points, s.pose)
        out.append(Rows.of(bins.cell_id, bins.hits, bins.sums, free=free))
    return out


def filled(options: ContainerOptions, rows: list[Rows], order: Any = None, grid: Grid = KITTI) -> Container:
    container = Container(grid, options)
    for i in range(len(rows)) if order is None else order:
        container.add(RecordKey(100 * i, i % 2), rows[i])
    return container


def assert_equal(a: Container, b: Container) -> None:
    """To the bit, at every level."""
    assert a.keys() == b.keys()
    for level in range(a.options.levels):
        one, two = a.cells(level), b.cells(level)
        for name in ("cell_id", "hits", "passes", "free_passes", "free_misses", "sums"):
            assert np.array_equal(getattr(one, name), getattr(two, name)), (level, name)
        for name, values in one.stored.items():
            assert np.array_equal(values, two.stored[name]), (level, name)


# ---- recorded sweeps


@pytest.mark.data
@pytest.mark.parametrize("keep", [True, False])
def test_order_and_grouping_do_not_matter_on_recorded_sweeps(recorded: list[Rows], keep: bool) -> None:
    options = ContainerOptions(levels=4, free_level=1, keep=keep)
    expected = filled(options, recorded)
    assert len(expected) > 5_000
    for order in ([5, 4, 3, 2, 1, 0], [2, 5, 0, 3, 1, 4]):
        assert_equal(filled(options, recorded, order), expected)
        one, two = filled(options, recorded, order[:2]), filled(options, recorded, order[2:])
        merged = Container(KITTI, options)
        merged.merge(two)
        merged.merge(one)
        assert_equal(merged, expected)
        merged.unmerge(two)
        assert_equal(merged, one)


@pytest.mark.data
@pytest.mark.parametrize("keep", [True, False])
def test_removal_is_exact_on_recorded_sweeps(recorded: list[Rows], keep: bool) -> None:
    options = ContainerOptions(levels=3, free_level=1, keep=keep)
    container = filled(options, recorded)
    for gone in ([2], [2, 5], [2, 5, 0]):
        container.remove(RecordKey(100 * gone[-1], gone[-1] % 2), recorded[gone[-1]])
        container.validate()
        assert_equal(container, filled(options, recorded, [i for i in range(6) if i not in gone]))


@pytest.mark.data
def test_levels_are_what_coarsening_gives(recorded: list[Rows]) -> None:
    container = filled(ContainerOptions(levels=5, free_level=1), recorded)
    cells = container.cells(0)
    level = finest(cells.cell_id, cells.hits, cells.sums)
    for above in range(1, 5):
        level, _ = coarser(level)
        got = container.cells(above)
        hit = got.hits > 0
        assert np.array_equal(got.cell_id[hit], level.cell_id)
        assert np.array_equal(got.hits[hit], level.hits) and np.array_equal(got.sums[hit], level.sums)
        assert got.lod == 7 - above


@pytest.mark.data
def test_dense_and_sparse_hold_the_same(recorded: list[Rows]) -> None:
    extent = Extent.around((0.0, 0.0, 0.0), 30.0, 0.4)
    sparse = filled(ContainerOptions(levels=3, free_level=1, extent=extent), recorded)
    dense = filled(ContainerOptions(levels=3, free_level=1, extent=extent, dense=True), recorded)
    assert_equal(sparse, dense)
    views, cells = dense.array(), dense.cells(0)
    assert views["hits"].sum() == cells.hits.sum() and views["hits"].shape == (2, 76, 76, 76)
    site = index64.decode(cells.cell_id).sites
    place = (site - np.array(extent.origin)) // 2
    at = (site[:, 0] & 1, place[:, 2], place[:, 1], place[:, 0])
    assert np.array_equal(views["hits"][at], cells.hits.astype(np.int64))
    assert np.array_equal(views["sums"][at], cells.sums)


@pytest.mark.data
def test_a_grid_that_follows_the_robot_shows_what_a_fresh_one_shows(recorded: list[Rows]) -> None:
    options = ContainerOptions(levels=3, free_level=1, extent=Extent.around((0, 0, 0), 15.0, 0.4))
    container = filled(options, recorded)
    whole = filled(ContainerOptions(levels=3, free_level=1), recorded)
    for position in ((5.0, 2.0, 0.0), (-20.0, 7.0, 1.0), (0.0, 0.0, 0.0)):
        container.center(position)
        container.validate()
        place = Extent.around(position, 15.0, 0.4)
        fresh = filled(ContainerOptions(levels=3, free_level=1, extent=place), recorded)
        assert_equal(container, fresh)
        site = index64.decode(whole.cells(0).cell_id).sites - np.array(place.origin)
        inside = ((site >= 0) & (site < 2 * np.array(place.shape))).all(axis=1)
        assert np.array_equal(container.cells(0).cell_id, whole.cells(0).cell_id[inside])


@pytest.mark.data
def test_states_of_recorded_cells(recorded: list[Rows]) -> None:
    cells = filled(ContainerOptions(levels=2, free_level=1), recorded).cells(1)
    found = cells.state()
    assert (found == OCCUPIED).sum() == (cells.hits > 0).sum() > 2000
    assert (found == FREE).sum() > 2000 and (found == UNKNOWN).sum() == 0
    distance = np.abs(cells.centroids() - cells.positions())
    assert np.nanmax(distance) <= 3.2 and np.isnan(distance).any()


# ---- against the model


@pytest.mark.parametrize("seed", range(4))
def test_many_records_match_the_model(seed: int) -> None:
    rng = np.random.default_rng(seed)
    options = ContainerOptions(
        levels=4, free_level=2, span_ns=400, max_records=12, max_rows=900, columns=COLUMNS
    )
    container, model = Container(GRID, options), ContainerModel(GRID, options)
    for turn in range(60):
        key = RecordKey(int(max(0, 20 * turn + rng.integers(-150, 150))), int(rng.integers(0, 3)))
        if key not in model.records:
            add(container, model, key, random_said(rng, options, key.stamp_ns, float(rng.random())))
        if turn % 10 == 9:
            assert_same(container, model)
    assert container.records < 13


def test_a_latest_value_is_that_of_the_newest_record_left() -> None:
    column = Column(name="speed", rule="latest", width=2, unit=0.5)
    options = ContainerOptions(levels=2, columns=(column,))
    container, model = Container(GRID, options), ContainerModel(GRID, options)
    for stamp, speed in ((10, [1.0, 2.0]), (30, [5.0, 6.5]), (20, [3.0, 4.0]), (40, [np.nan, np.nan])):
        stored = tuple(column.encode(np.array([speed]), stamp)[0].tolist())
        said = Said(cells={CELLS[0]: (1, 0, NO_SUMS, {"speed": stored})})
        add(container, model, RecordKey(stamp, 0), said)
    assert container.cells(0).values("speed").tolist() == [[5.0, 6.5]]
    container.remove(RecordKey(30, 0))
    model.remove(RecordKey(30, 0))
    assert container.cells(1).values("speed").tolist() == [[3.0, 4.0]]
    assert_same(container, model)


def test_of_equally_new_values_the_greatest_counts() -> None:
    column = Column(name="class_id", rule="latest")
    options = ContainerOptions(columns=(column,))
    for order in itertools.permutations([3, 9, 5]):
        container = Container(GRID, options)
        for source, value in enumerate(order):
            stored = tuple(column.encode(np.array([value]), 7)[0].tolist())
            rows = Said(cells={CELLS[0]: (1, 0, NO_SUMS, {"class_id": stored})}).rows((column,))
            container.add(RecordKey(7, source), rows)
        assert container.cells().values("class_id").tolist() == [9.0]


def test_values_that_cancel_out_leave_nothing_and_come_back() -> None:
    column = Column(name="balance")
    options = ContainerOptions(levels=2, columns=(column, Column(name="least", rule="least")))
    container, model = Container(GRID, options), ContainerModel(GRID, options)
    for stamp, value in ((1, 5), (2, -5)):
        said = Said(cells={CELLS[0]: (0, 0, NO_SUMS, {"balance": (value,), "least": (2**63 - 1,)})})
        add(container, model, RecordKey(stamp, 0), said)
    assert (len(container), container.size(1), container.records) == (0, 0, 2)
    assert_same(container, model)
    container.remove(RecordKey(2, 0))
    assert container.cells().values("balance").tolist() == [5.0]
    container.validate()


def test_a_record_that_says_nothing_is_a_record() -> None:
    container = Container(GRID)
    said = Said(cells={CELLS[0]: (0, 0, NO_SUMS, {})})
    assert container.add(RecordKey(5, 1), said.rows(())) == Counts(added=1)
    assert container.add(RecordKey(5, 1), Said(cells={}).rows(())) == Counts(known=1)
    assert (len(container), container.records) == (0, 1)


# ---- memory


def test_cells_are_the_same_arrays_until_something_changes() -> None:
    container = Container(GRID, ContainerOptions(columns=COLUMNS))
    rows = random_said(np.random.default_rng(0), container.options, 10).rows(COLUMNS)
    container.add(RecordKey(10, 0), rows)
    cells = container.cells()
    assert container.cells() is cells
    with pytest.raises(ValueError, match="read-only"):
        cells.hits[0] = 5
    before = cells.hits.copy()
    container.add(RecordKey(11, 0), rows)
    assert container.cells() is not cells and np.array_equal(cells.hits, before)
    assert container.cells().hits.sum() == 2 * before.sum()


def test_views_of_an_array_live_as_long_as_they_are_held() -> None:
    options = ContainerOptions(levels=2, extent=BOX, dense=True, columns=COLUMNS)
    container = Container(GRID, options)
    views = container.array()
    assert not views["hits"].any() and (views["nearest"] == 2**63 - 1).all()
    rows = random_said(np.random.default_rng(0), options, 10, 0.9).rows(COLUMNS)
    container.add(RecordKey(10, 0), rows)
    assert views["hits"].sum() == container.cells().hits.sum() > 0
    container.move((-2, -2, -2))
    assert views["hits"].sum() == container.cells().hits.sum() > 0
    with pytest.raises(ValueError, match="read-only"):
        views["hits"][0, 0, 0, 0] = 1
    shown_last = views["sums"].copy()
    del container
    gc.collect()
    assert np.array_equal(views["sums"], shown_last) and views["class"].shape == (2, 4, 4, 4, 3)


# ---- refusals


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"levels": 0}, DomainError),
        ({"levels": 8}, DomainError),
        ({"levels": 300}, DomainError),
        ({"levels": -1}, DomainError),
        ({"free_level": 1}, DomainError),
        ({"span_ns": -1}, DomainError),
        ({"span_ns": 2**63}, DomainError),
        ({"keep": False, "span_ns": 5}, DomainError),
        ({"max_records": 0}, DomainError),
        ({"max_records": 2**40}, DomainError),
        ({"max_rows": 0}, DomainError),
        ({"max_rows": 2**31}, DomainError),
        ({"dense": True}, DomainError),
        ({"extent": Extent(origin=(1, 0, 0), shape=(2, 2, 2))}, ParityError),
        ({"extent": Extent(origin=(0, 0, 32766), shape=(2, 2, 2))}, RangeError),
        ({"extent": Extent(origin=(0, 0, -(2**40)), shape=(2, 2, 2))}, RangeError),
        ({"extent": Extent(origin=(0, 0, 0), shape=(2, 0, 2))}, DomainError),
        ({"extent": Extent(origin=(0, 0, 0), shape=(2, -5, 2))}, DomainError),
        ({"extent": Extent(origin=(-600,) * 3, shape=(600,) * 3), "dense": True}, MemoryError),
        ({"columns": tuple(Column(name=f"c{i}", width=100) for i in range(3))}, DomainError),
    ],
    ids=str,
)
def test_options_out_of_domain_are_refused(change: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Container(GRID, ContainerOptions(**change))


def bad_rows(rows: Rows) -> list[tuple[str, Any, type[Exception], str]]:
    """A field to spoil, with what, what is raised, and what it says."""
    ids, hits, sums = rows.cell_id, rows.hits, rows.sums
    return [
        ("cell_id", ids[::-1].copy(), OrderError, "rows"),
        ("cell_id", np.repeat(ids[:1], len(ids)), OrderError, "rows"),
        ("cell_id", ids & np.uint64(2**62 - 1), IdError, "rows"),
        ("cell_id", ids ^ np.uint64(1), ParityError, "rows"),
        ("cell_id", ids ^ np.uint64(1 << 52), DomainError, "rows"),
        ("cell_id", ids[:-1], ValueError, "hits"),
        ("cell_id", ids.astype(np.int64), TypeError, "cell_id"),
        ("cell_id", ids.tolist(), TypeError, "cell_id"),
        ("cell_id", np.repeat(ids, 2)[::2], ValueError, "cell_id"),
        ("hits", hits + np.uint64(2**36), DomainError, "rows"),
        ("hits", hits.astype(np.float64), TypeError, "hits"),
        ("hits", hits[:, None], ValueError, "hits"),
        ("passes", rows.passes[1:], ValueError, "passes"),
        ("sums", sums + 2**40, DomainError, "rows"),
        ("sums", sums[:, :10].copy(), ValueError, "sums"),
        ("sums", np.asfortranarray(sums), ValueError, "sums"),
        ("free_id", rows.free_id[::-1].copy(), OrderError, "rows"),
        ("free_id", ids[: len(rows.free_id)], DomainError, "rows"),
        ("free_passes", rows.free_passes + np.uint64(2**36), DomainError, "rows"),
        ("free_misses", rows.free_misses[1:], ValueError, "free_misses"),
        ("values", {"weight": np.zeros((len(ids), 3), np.int64)}, ValueError, "values.weight"),
        ("values", {"weight": np.zeros((len(ids), 2))}, TypeError, "values.weight"),
        ("values", {"weight": np.full((len(ids), 2), 2**41)}, DomainError, "rows"),
        ("values", {"wight": np.zeros((len(ids), 2), np.int64)}, ValueError, "no column wight"),
    ]


@pytest.mark.parametrize("at", range(24))
@pytest.mark.parametrize("keep", [True, False])
def test_bad_rows_are_named_and_change_nothing(at: int, keep: bool) -> None:
    options = ContainerOptions(levels=2, free_level=1, keep=keep, columns=COLUMNS[:1])
    rng = np.random.default_rng(0)
    good, other = (random_said(rng, options, 10, 0.5).rows(options.columns) for _ in range(2))
    container = Container(GRID, options)
    container.add(RecordKey(10, 0), good)
    before = state(container)
    field, value, error, text = bad_rows(other)[at]
    spoilt = Rows(**{**{name: getattr(other, name) for name in Rows.__slots__}, field: value})
    with pytest.raises(error, match=text):
        container.add(RecordKey(20, 0), spoilt)
    if not keep:
        with pytest.raises(error, match=text):
            container.remove(RecordKey(10, 0), spoilt)
    container.validate()
    assert state(container) == before


@pytest.mark.parametrize(
    "key",
    [RecordKey(-1, 0), RecordKey(2**61, 0), RecordKey(1, -1), RecordKey(1, 2**64), RecordKey(1, 0, 2**32)],
)
def test_bad_keys_are_refused(key: RecordKey) -> None:
    container = Container(GRID)
    with pytest.raises(DomainError, match=r"key|stamp_ns"):
        container.add(key, Said(cells={}).rows(()))
    with pytest.raises(DomainError):
        container.advance(-1)
    assert container.records == 0


def test_another_record_of_a_key_is_refused() -> None:
    container = Container(GRID)
    one, two = (Said(cells={CELLS[0]: (hits, 0, NO_SUMS, {})}) for hits in (1, 2))
    container.add(RecordKey(5, 1), one.rows(()))
    other = Container(GRID)
    other.add(RecordKey(5, 1), two.rows(()))
    before = state(container)
    with pytest.raises(DomainError, match="rows"):
        container.add(RecordKey(5, 1), two.rows(()))
    with pytest.raises(DomainError, match="other"):
        container.merge(other)
    assert state(container) == before


def test_a_full_sum_and_a_record_too_large_are_refused() -> None:
    rows = random_said(np.random.default_rng(0), ContainerOptions(), 10, 0.9).rows(())
    for keep in (True, False):
        container = Container(GRID, ContainerOptions(keep=keep, max_rows=5))
        with pytest.raises(CapacityError, match="rows"):
            container.add(RecordKey(1, 0), rows)
        container.validate()
        assert (len(container), container.records) == (0, 0)


@pytest.mark.parametrize(
    ("grid", "options", "field"),
    [
        (Grid(half_edge_m=0.8, frame=5, tier=1, lod=7), {}, "half_edge_m: expected 0.4, got 0.8"),
        (Grid(half_edge_m=0.4, frame=6, tier=1, lod=7), {}, "frame: expected 5, got 6"),
        (Grid(half_edge_m=0.4, frame=5, tier=1, lod=6), {}, "lod"),
        (Grid(half_edge_m=0.4, frame=5, tier=1, lod=7, intensity_max=255.0), {}, "intensity_max"),
        (GRID, {"levels": 3}, "levels"),
        (GRID, {"free_level": 1}, "free_level"),
        (GRID, {"columns": COLUMNS[:1]}, "columns"),
    ],
    ids=str,
)
def test_containers_of_another_kind_do_not_merge(grid: Grid, options: dict[str, Any], field: str) -> None:
    container = Container(GRID, ContainerOptions(levels=2))
    other = Container(grid, ContainerOptions(**{"levels": 2, **options}))
    for call in (container.merge, container.unmerge):
        with pytest.raises(MismatchError, match=field):
            call(other)


def test_what_a_kind_cannot_do_is_refused() -> None:
    records, total = Container(GRID), Container(GRID, ContainerOptions(keep=False))
    with pytest.raises(DomainError, match="other"):
        records.merge(total)
    with pytest.raises(DomainError, match="rows"):
        total.remove(RecordKey(1, 0))
    for call in (lambda: records.move((0, 0, 0)), lambda: records.center((0, 0, 0)), records.array):
        with pytest.raises(DomainError):
            call()
    for level in (-1, 1, 300):
        with pytest.raises(DomainError, match="level"):
            records.cells(level)
    boxed = Container(GRID, ContainerOptions(extent=BOX))
    with pytest.raises(ParityError, match="origin"):
        boxed.move((1, 0, 0))
    with pytest.raises(RangeError, match="origin"):
        boxed.move((0, 32764, 0))
    for position in ((np.nan, 0, 0), (np.inf, 0, 0), (0, 0)):
        with pytest.raises(ValueError, match="position_m"):
            boxed.center(position)
    for far in ((1e30, 0, 0), (0, -1e7, 0)):
        with pytest.raises((OctaError, OverflowError)):
            boxed.center(far)
    assert boxed.array is not None and boxed.records == 0


def test_a_sum_takes_what_another_container_held() -> None:
    options = ContainerOptions(levels=2, free_level=1, columns=COLUMNS[:1])
    rng = np.random.default_rng(3)
    records = Container(GRID, options)
    total = Container(GRID, ContainerOptions(levels=2, free_level=1, keep=False, columns=COLUMNS[:1]))
    for stamp in range(3):
        records.add(RecordKey(stamp, 0), random_said(rng, options, stamp).rows(options.columns))
    assert total.merge(records) == Counts(added=1)
    for level in range(2):
        assert shown(total.cells(level)) == shown(records.cells(level))
    copy = Container(GRID, total.options)
    copy.add(RecordKey(0, 0), Rows.of_cells(records.cells(0), records.cells(1)))
    assert state(copy) == state(total)
    assert total.unmerge(records) == Counts(removed=1)
    assert len(total) == 0 and isinstance(total.cells(), Cells)
