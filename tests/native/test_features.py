"""Features against their meaning, column by column, from the records alone; their invariants and errors."""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import beams, index64, lattice
from native.errors import DomainError, PoseError
from native.window import FEATURES_VERSION, Window, WindowOptions, feature_names
from tests.data import ROOT
from tests.native.feature_checks import (
    CELLS,
    GRID,
    NAMES,
    OPTIONS,
    VIEW,
    assert_matches,
    assert_rows_match,
    column,
    hit,
    model_of,
    random_records,
    window_of,
)
from tests.native.feature_oracle import AXES, NORMALS, View, features
from tests.native.oracle import NO_SUMS, Record, WindowModel, ids_of, matrix_of
from tests.native.recorded import records, sweep


def bytes_of(window: Window, view: View = VIEW) -> tuple[bytes, ...]:
    got = window.features(*view.arguments())
    return got.cell_id.tobytes(), got.x.tobytes(), got.neighbor_index.tobytes(), got.before.tobytes()


# ---- names


def test_names_are_unique_and_those_of_the_oracle() -> None:
    assert len(set(NAMES)) == len(NAMES) == 74
    assert NAMES[:6] == tuple(f"{kind}_{age}" for kind in ("hits", "passes") for age in range(3))
    (row,) = features(GRID, model_of([Record(stamp_ns=0, cells={CELLS[0]: hit()})]), VIEW).columns
    assert set(row) == set(feature_names(4))
    assert [len(feature_names(k)) for k in (1, 2, 64)] == [70, 72, 74]


@pytest.mark.parametrize("bins", [0, 65])
def test_names_of_impossible_windows_are_refused(bins: int) -> None:
    with pytest.raises(DomainError, match="bins"):
        feature_names(bins)


def test_the_page_lists_every_column_once() -> None:
    page = (ROOT / "docs/features.md").read_text()
    firsts = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(firsts))) == sorted(NAMES)
    assert f"version {FEATURES_VERSION}, float32, {len(NAMES)} columns" in page


# ---- every column


@pytest.mark.parametrize("bins", [1, 2, 4, 10, 64])
@pytest.mark.parametrize("seed", range(2))
def test_random_records_match_the_oracle(bins: int, seed: int) -> None:
    options = WindowOptions(bin_ns=10, bins=bins, keep_bins=2, max_records=40)
    got = assert_rows_match(random_records(seed, 12, CELLS), options)
    assert len(got.cell_id) > 20


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(1, 25), st.integers(0, 14))
def test_any_small_window_matches_the_oracle(seed: int, n: int, size: int, spacing: int) -> None:
    cells = np.random.default_rng(seed).choice(CELLS, size, replace=False).tolist()
    assert_rows_match(random_records(seed, n, cells, spacing))


def test_recorded_sweeps_match_the_oracle() -> None:
    options = WindowOptions()
    folded = records(GRID, range(12))
    window, model = window_of(folded, options), model_of(folded, options)
    last = sweep(11)
    view = View(
        pose=last.pose,
        forecast_pose=sweep(16).pose,
        speed_mps=9.1,
        yaw_rate_rps=0.02,
        beams=beams.sample(last.points, 1000),
        beam_weight=len(last.points) / 1000,
    )
    got = window.features(*view.arguments())
    assert len(got.cell_id) > 6000 and {0, 1, 2} == set(got.before.tolist())
    want = features(GRID, model, view)
    assert_matches(got, want, 10)
    for name in (*NORMALS, *AXES):  # nearly all are decided by the returns
        assert np.mean([np.isnan(row[name]) for row in want.columns]) < 0.15, name
    assert 0.2 < np.mean([row["cast_reached"] for row in want.columns]) < 1


def test_ages_and_runs_of_a_history_by_hand() -> None:
    a, b, c = CELLS[:3]
    folded = [
        Record(stamp_ns=0, cells={a: hit(2), b: hit(1), c: hit(4, 1)}),
        Record(stamp_ns=10, cells={a: hit(1, 3), b: (0, 2, NO_SUMS)}),
        Record(stamp_ns=20, cells={a: (0, 0, NO_SUMS), b: hit(6)}),
        Record(stamp_ns=30, cells={a: hit(5), b: hit(1), c: (0, 7, NO_SUMS)}),
    ]
    got = assert_rows_match(folded)
    assert column(got, "hit_bins") == [3, 3, 1]
    assert column(got, "observed_bins") == [3, 4, 2]
    assert column(got, "hit_age") == [0, 0, 3]
    assert column(got, "pass_age") == [4, 2, 0]  # a bin with a hit was not seen through, whatever passed
    assert column(got, "hit_run") == [3, 2, 0]  # unobserved bins do not end a run
    assert got.before.tolist() == [2, 2, 1]
    assert column(got, "evidence") == pytest.approx([8 / 11, 8 / 10, 4 / 12])
    weights = (0.7**3 * 4, 0.7**3 * 5 + 7)
    assert column(got, "evidence_recent")[2] == pytest.approx(weights[0] / weights[1])


def test_several_records_of_a_bin_are_averaged() -> None:
    cells = {CELLS[0]: hit(4, 2)}
    got = assert_rows_match([Record(stamp_ns=stamp, cells=cells) for stamp in (0, 8, 9, 10, 11)])
    assert column(got, "hits_0") == pytest.approx([np.log1p(4)])
    assert column(got, "log_points") == pytest.approx([np.log1p(20)])


def test_an_unobserved_newest_bin_is_unobserved() -> None:
    window = window_of([Record(stamp_ns=0, cells={CELLS[0]: hit()})])
    window.advance(5)
    got = window.features(*VIEW.arguments())
    assert got.before.tolist() == [0] and column(got, "hit_age") == [1]


def test_evidence_beyond_the_window_has_no_effect() -> None:
    """Retained records older than the window, and cells that only they hit."""
    new = random_records(1, 3, CELLS[:20], 0)
    shifted = [Record(stamp_ns=r.stamp_ns + 45, cells=r.cells) for r in new]
    old = [Record(stamp_ns=r.stamp_ns, cells=r.cells) for r in random_records(2, 3, CELLS[10:40], 0)]
    window = window_of([*old, *shifted])
    assert window.records == 6 and len(window) > window.active
    assert bytes_of(window) == bytes_of(window_of(shifted))


# ---- geometry and neighbours


def test_heights_are_above_the_lowest_cell_of_the_column() -> None:
    sites = [
        [0, 0, -6],
        [0, 0, 4],
        [1, 1, -1],
        [2, 0, -8],
        [4, 0, 0],
        [-1, -1, 3],
        [-2, -2, -10],
        [-3, -1, 5],
    ]
    ids = ids_of(GRID, np.array(sites, np.int32))
    got = assert_rows_match([Record(stamp_ns=0, cells={cell: hit() for cell in ids.tolist()})])
    row = {tuple(site): i for i, site in enumerate(index64.decode(got.cell_id).sites.tolist())}
    in_column, in_block = column(got, "height_in_column"), column(got, "height_in_block")
    expected = {
        (0, 0, 4): (10, 14), (1, 1, -1): (5, 9), (2, 0, -8): (0, 0), (4, 0, 0): (0, 8),
        (-1, -1, 3): (13, 13), (-3, -1, 5): (0, 15),
    }  # fmt: skip
    assert {site: (in_column[row[site]], in_block[row[site]]) for site in expected} == expected


def test_cells_at_the_edges_of_the_map_match_the_oracle() -> None:
    """Neighbours and columns beyond the map do not exist, and none wraps around to the other side."""
    ends = [-32768, -32767, -32766, 32765, 32766, 32767]
    sites = [site for site in itertools.product(ends, repeat=3) if len({v % 2 for v in site}) == 1]
    ids = np.sort(ids_of(GRID, np.array(sites, np.int32))).tolist()
    got = assert_rows_match([Record(stamp_ns=0, cells=dict.fromkeys(ids, hit()))])
    assert len(got.cell_id) == 54
    assert_rows_match(random_records(8, 5, ids))


def test_neighbours_are_those_of_the_lattice() -> None:
    got = window_of(random_records(3, 4, CELLS)).features(*VIEW.arguments())
    n = len(got.cell_id)
    around = ids_of(GRID, lattice.neighbors(index64.decode(got.cell_id).sites).reshape(-1, 3)).reshape(n, 14)
    row_of = {cell: row for row, cell in enumerate(got.cell_id.tolist())}
    assert got.neighbor_index.tolist() == [[row_of.get(cell, n) for cell in row] for row in around.tolist()]
    assert (got.neighbor_index == n).any() and (got.neighbor_index < n).any()


def test_a_retained_cell_outside_the_window_is_no_neighbour() -> None:
    a, b = ids_of(GRID, [[0, 0, 0], [1, 1, 1]]).tolist()
    folded = [Record(stamp_ns=0, cells={b: hit()}), Record(stamp_ns=45, cells={a: hit(), b: (0, 3, NO_SUMS)})]
    window = window_of(folded)
    assert (len(window), window.active) == (2, 1)
    got = window.features(*VIEW.arguments())
    assert got.neighbor_index.tolist() == [[1] * 14]
    assert column(got, "neighbors") == column(got, "neighbors_evidence") == [0]


def test_a_cell_at_the_sensor_has_a_finite_elevation() -> None:
    here = View(pose=matrix_of(), forecast_pose=matrix_of((0.4, 0.4, 0.4), yaw=1.0), beams=VIEW.beams)
    sites = [[0, 0, 0], [1, 1, 1], [0, 0, 2], [0, 0, -2]]
    ids = ids_of(GRID, np.array(sites, np.int32))
    got = assert_rows_match([Record(stamp_ns=0, cells={c: hit() for c in ids.tolist()})], OPTIONS, here)
    row = {tuple(site): i for i, site in enumerate(index64.decode(got.cell_id).sites.tolist())}
    elevation = column(got, "elevation")
    assert [elevation[row[s]] for s in ((0, 0, 0), (0, 0, 2), (0, 0, -2))] == [0, 1, -1]


# ---- features are a function of the retained records


@pytest.mark.parametrize("seed", range(6))
def test_fold_history_leaves_no_trace(seed: int) -> None:
    """Rebuilding from the retained records, in any order, gives identical bytes."""
    rng = np.random.default_rng(seed)
    options = WindowOptions(bin_ns=10, bins=4, keep_bins=2, max_records=9, max_cells=1000)
    folded = random_records(seed, 40, CELLS)
    window, model = Window(GRID, options), WindowModel(options)
    for record in folded:
        window.push(record.stamp_ns, *record.arrays())
        model.push(record)
    assert 5 < len(model.records) < 10
    for _ in range(3):
        order = rng.permutation(len(model.records))
        fresh = Window(GRID, options)
        assert model.now is not None
        fresh.advance(model.now)
        for at in order:
            fresh.push(model.records[at].stamp_ns, *model.records[at].arrays())
        assert bytes_of(fresh) == bytes_of(window)


def test_fold_history_leaves_no_trace_on_recorded_sweeps() -> None:
    options = WindowOptions(bins=4, keep_bins=2, max_records=6)
    folded = records(GRID, range(9))
    window, fresh = window_of(folded, options), window_of(folded[:2:-1], options)
    assert window.records == fresh.records == 6
    assert bytes_of(window) == bytes_of(fresh)


@pytest.mark.parametrize("kind", ["hits", "passes"])
def test_large_counts_do_not_depend_on_the_order_of_records(kind: str) -> None:
    """Sums beyond 2**24 are not exact in float32; the order of a bin's records must not show even so."""
    amounts = [2**24, 1, 1, 1, 2**25 + 1]
    rows = [hit(1 + n * (kind == "hits"), n * (kind == "passes")) for n in amounts]
    folded = [Record(stamp_ns=0, cells={CELLS[0]: row}) for row in rows]
    seen = {bytes_of(window_of(order)) for order in itertools.permutations(folded)}
    assert len(seen) == 1


def test_asking_twice_gives_the_same_and_changes_nothing() -> None:
    window = window_of(random_records(5, 9, CELLS))
    before = window.cells()
    assert bytes_of(window) == bytes_of(window)
    window.validate()
    assert np.array_equal(window.cells().sums, before.sums)


# ---- extremes and errors


def test_an_empty_window_has_no_features() -> None:
    for window in (Window(GRID, OPTIONS), window_of([Record(stamp_ns=0, cells={CELLS[0]: (0, 1, NO_SUMS)})])):
        got = window.features(*VIEW.arguments())
        assert got.x.shape == (0, 74) and got.neighbor_index.shape == (0, 14)
        assert got.cell_id.shape == got.before.shape == (0,)
        assert got.x.dtype == np.float32 and got.neighbor_index.dtype == np.int32


def test_the_largest_counts_give_finite_features() -> None:
    top = 2**32 - 1
    sums = (2**31 - 1, -(2**31)) * 5 + (2**31 - 1,)
    cells = {CELLS[0]: (top, top, sums), CELLS[1]: (1, top, (4096, -4096) * 5 + (4096,)), CELLS[2]: hit(top)}
    for n in (1, 40):
        folded = [Record(stamp_ns=0, cells=cells)] * n
        window = window_of(folded)
        got = window.features(*VIEW.arguments())
        assert np.isfinite(got.x).all()
        assert_matches(got, features(GRID, model_of(folded), VIEW), 4)


FAR = matrix_of((1e300, 0, 0))


@pytest.mark.parametrize(
    "change",
    [
        *({name: FAR} for name in ("pose", "forecast_pose")),
        *(
            {name: v}
            for name in ("speed_mps", "yaw_rate_rps")
            for v in (np.nan, np.inf, -np.inf, 1e39, -1e300)
        ),
        *({"beam_weight": v} for v in (np.nan, np.inf, -1e-9, 1.0001e6)),
    ],
)
def test_a_view_that_float32_cannot_hold_is_refused(change: dict[str, Any]) -> None:
    window = window_of([Record(stamp_ns=0, cells={CELLS[0]: hit()})])
    view: dict[str, Any] = dataclasses.asdict(VIEW)
    with pytest.raises(DomainError, match="view"):
        window.features(**{**view, **change})
    assert np.isfinite(window.features(**view).x).all()


@pytest.mark.parametrize("name", ["pose", "forecast_pose"])
def test_a_bad_pose_is_refused_by_name(name: str) -> None:
    window = window_of([Record(stamp_ns=0, cells={CELLS[0]: hit()})])
    view: dict[str, Any] = dataclasses.asdict(VIEW)
    for value, error in (
        (np.zeros(12), PoseError),
        (np.full(12, np.nan), PoseError),
        (VIEW.pose.astype(np.float32), TypeError),
        (VIEW.pose.reshape(3, 4), ValueError),
    ):
        with pytest.raises(error, match=name if error is not PoseError else "view"):
            window.features(**{**view, name: value})
