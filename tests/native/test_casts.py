"""Forecast casts: what beams reach and end in, against geometry, and what must not matter."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from native import beams, index64
from native.errors import DomainError
from native.grid import Grid
from native.window import CellFeatures, Window, WindowOptions, feature_names
from tests.native.feature_checks import SURFACE
from tests.native.feature_oracle import NO_BEAMS, RETURNS, View, casts
from tests.native.oracle import F64, NO_SUMS, Record, crossings, ids_of, matrix_of

GRID = Grid(half_edge_m=0.4, frame=5, tier=1, lod=7)
OPTIONS = WindowOptions(bin_ns=10, bins=4, keep_bins=2)
COLUMNS = ("cast_hits", "cast_reach", "cast_share", "cast_seen", "cast_reached", *SURFACE)
HERE = matrix_of((0.05, -0.03, 0.02), yaw=0.2)
AT_ORIGIN = matrix_of()
AHEAD = np.array([[beams.BEAM_ONE, 0, 0]], np.int16)
Site = tuple[int, int, int]
Evidence = dict[Site, tuple[int, int]]
"""Hits and passes by site."""


def cast(
    cells: Evidence, sent: NDArray[np.int16], weight: float = 1.0, forecast_pose: F64 = HERE, pose: F64 = HERE
) -> CellFeatures:
    """Features of a window of one record; hits and passes decide where beams end."""
    ids = ids_of(GRID, np.array(list(cells), np.int32)).tolist()
    rows = {cell: (*counts, NO_SUMS) for cell, counts in zip(ids, cells.values(), strict=True)}
    window = Window(GRID, OPTIONS)
    window.push(0, *Record(stamp_ns=0, cells=rows).arrays())
    return window.features(pose, forecast_pose, 0.0, 0.0, sent, weight)


def column(got: CellFeatures, name: str) -> NDArray[np.float32]:
    values: NDArray[np.float32] = got.x[:, feature_names(OPTIONS.bins).index(name)]
    return values


def of_cells(got: CellFeatures, name: str) -> dict[Site, float]:
    sites = index64.decode(got.cell_id).sites.tolist()
    return {(x, y, z): float(v) for (x, y, z), v in zip(sites, column(got, name), strict=True)}


def counts_of(got: CellFeatures, name: str) -> NDArray[np.float64]:
    """Expected beams, from a column that holds their log."""
    return np.expm1(column(got, name).astype(np.float64))


def table(got: CellFeatures) -> NDArray[np.float32]:
    return np.column_stack([column(got, name) for name in COLUMNS])


def random_beams(seed: int, n: int) -> NDArray[np.int16]:
    return beams.sample(np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32), max(n, 1))


def block(reach: int = 7) -> list[Site]:
    steps = range(-reach, reach + 1)
    return [s for s in itertools.product(steps, steps, steps) if len({v % 2 for v in s}) == 1]


def random_cells(seed: int, n: int, sites: Iterable[Site]) -> Evidence:
    rng = np.random.default_rng(seed)
    pool = sorted(sites)
    chosen = rng.choice(len(pool), min(n, len(pool)), replace=False)
    return {pool[i]: (int(rng.integers(1, 9)), int(rng.integers(0, 30))) for i in chosen}


# ---- against the oracle


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 120),
    st.integers(1, 150),
    st.tuples(*(st.floats(-4, 4) for _ in range(3))),
    st.floats(-4, 4),
    st.floats(0, 50, width=32, allow_subnormal=False),  # a share of less is no number of the core's
)
def test_any_scene_matches_the_oracle(
    seed: int, n: int, m: int, place: tuple[float, float, float], yaw: float, weight: float
) -> None:
    cells, sent = random_cells(seed, m, block()), random_beams(seed, n)
    pose = matrix_of(place, yaw=yaw, pitch=0.1)
    got = cast(cells, sent, weight, pose)
    view = View(pose=HERE, forecast_pose=pose, beams=sent, beam_weight=weight)
    sites = [(x, y, z) for x, y, z in index64.decode(got.cell_id).sites.tolist()]
    counts = np.expm1(column(got, "log_points").astype(np.float64))
    returns = np.column_stack([counts, *(column(got, name).astype(np.float64) for name in RETURNS)])
    want = casts(GRID, sites, column(got, "evidence_recent"), returns, view)
    for name in COLUMNS:
        expected = np.array([row[name] for row in want])
        if name in ("cast_share", "cast_reached"):  # quotients of the fixed-point sums: exact
            assert np.array_equal(column(got, name), expected), name
        elif name in SURFACE:
            decided = ~np.isnan(expected)
            np.testing.assert_allclose(
                column(got, name)[decided], expected[decided], atol=2e-3 + 1e-4 * weight, err_msg=name
            )
        else:
            np.testing.assert_allclose(column(got, name), expected, rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("seed", range(4))
def test_beams_that_nothing_stops_reach_every_cell_they_cross(seed: int) -> None:
    """Crossings in float64; cells that a beam grazes may differ."""
    cells = dict.fromkeys(block(6), (1, 10**6))  # evidence below 1/32768 stops nothing
    sent, rng = random_beams(seed, 400), np.random.default_rng(seed)
    x, y, z = rng.uniform(-5, 5, 3).tolist()
    pose = matrix_of((x, y, z), yaw=float(rng.uniform(-3, 3)))
    got = cast(cells, sent, 1.0, pose)
    reached = counts_of(got, "cast_reach")
    assert not column(got, "cast_hits").any()
    rays = sent @ pose.reshape(3, 4)[:, :3].T
    certain = 0
    for row, site in enumerate(index64.decode(got.cell_id).sites):
        center = site - pose[3::4] / GRID.half_edge_m
        bounds = []
        for slack in (-1e-4, 1e-4):
            enter, leave = crossings(rays, center, slack)
            bounds.append(int(((enter < leave) & (leave > 0)).sum()))
        assert bounds[0] - 1e-3 <= reached[row] <= bounds[1] + 1e-3
        certain += bounds[0] == bounds[1] > 0
    assert certain > len(cells) / 10


def test_cells_that_differ_little_in_range_stop_beams_in_order() -> None:
    """Two neighbours across the line of sight: the nearer one comes first, whatever their ids."""
    for lift in (-0.0039, 0.0039):
        cells: Evidence = {(20, 0, 2): (1, 0), (20, 0, 0): (1, 0)}
        pose = matrix_of((-0.1, 0.0, 0.4 + lift))
        sent = np.array([[32767, 0, 16 if lift < 0 else -16]], np.int16)
        got = cast(cells, sent, 1.0, pose)
        reach = of_cells(got, "cast_reach")
        near, far = ((20, 0, 0), (20, 0, 2)) if lift < 0 else ((20, 0, 2), (20, 0, 0))
        assert column(got, "cast_reached").all() and reach[near] > 0.6 and reach[far] < 1e-3


def test_shares_by_hand() -> None:
    """Three cells in a row, each of which stops half of what reaches it."""
    row: Evidence = {(10, 0, 0): (1, 1), (14, 0, 0): (1, 1), (18, 0, 0): (3, 1), (10, 8, 0): (1, 0)}
    got = cast(row, np.tile(AHEAD, (8, 1)), 2.0, AT_ORIGIN)
    reach, hits = of_cells(got, "cast_reach"), of_cells(got, "cast_hits")
    wanted = {(10, 0, 0): (16, 8), (14, 0, 0): (8, 4), (18, 0, 0): (4, 3), (10, 8, 0): (0, 0)}
    for site, (expected_reach, expected_hits) in wanted.items():
        assert np.expm1(reach[site]) == pytest.approx(expected_reach, abs=4e-3)
        assert np.expm1(hits[site]) == pytest.approx(expected_hits, abs=4e-3)
    seen, share = of_cells(got, "cast_seen"), of_cells(got, "cast_share")
    assert seen[18, 0, 0] == pytest.approx(1 - np.exp(-3), abs=1e-3) and seen[10, 8, 0] == 0
    assert share[18, 0, 0] == pytest.approx(0.75, abs=1e-3) and share[10, 8, 0] == 0
    assert of_cells(got, "cast_reached") == {**dict.fromkeys(wanted, 1.0), (10, 8, 0): 0.0}


def test_the_sensors_own_cell_is_the_first_that_beams_reach() -> None:
    got = cast({(0, 0, 0): (1, 0), (4, 0, 0): (1, 0), (-4, 0, 0): (1, 0)}, np.tile(AHEAD, (3, 1)))
    assert np.expm1(of_cells(got, "cast_hits")[0, 0, 0]) == pytest.approx(3, abs=1e-3)
    assert np.expm1(of_cells(got, "cast_reach")[4, 0, 0]) < 1e-3
    assert of_cells(got, "cast_reached")[-4, 0, 0] == 0  # behind


# ---- properties


def test_no_beams_cast_nothing() -> None:
    for sent, weight in ((NO_BEAMS, 5.0), (np.zeros((4, 3), np.int16), 5.0)):
        assert not table(cast(random_cells(1, 60, block()), sent, weight)).any()


def test_beams_without_weight_reach_cells_but_count_nothing() -> None:
    got = cast(random_cells(1, 60, block()), random_beams(1, 200), 0.0)
    assert column(got, "cast_reached").any()
    assert not any(
        column(got, name).any() for name in COLUMNS if name not in ("cast_reached", "surface_best")
    )


def test_a_wall_that_stops_everything_hides_what_is_behind_it() -> None:
    """A closed shell about the sensor leaves the cells outside at most the last unit of each beam."""
    inner, outer = set(block(6)), block(10)
    cells = {site: (1, 0) if site in inner and max(map(abs, site)) >= 4 else (1, 1) for site in outer}
    cells = {site: counts for site, counts in cells.items() if max(map(abs, site)) >= 4}
    sent = random_beams(2, 500)
    got = cast(cells, sent)
    behind = np.array([max(map(abs, site)) > 8 for site in index64.decode(got.cell_id).sites.tolist()])
    assert counts_of(got, "cast_reach")[behind].max() < 0.01
    assert counts_of(got, "cast_hits")[behind].max() < 1e-3
    assert counts_of(got, "cast_hits").sum() == pytest.approx(len(sent), abs=0.5)
    open_air = {site: counts for site, counts in cells.items() if max(map(abs, site)) > 8}
    assert counts_of(cast(open_air, sent), "cast_reach").max() > 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, 200), st.floats(1e-3, 20))
def test_no_more_beams_end_than_are_cast(seed: int, n: int, m: int, weight: float) -> None:
    sent = random_beams(seed, n)
    got = cast(random_cells(seed, m, block(5)), sent, weight)
    hits, reach = counts_of(got, "cast_hits"), counts_of(got, "cast_reach")
    slack = 1e-5 * (1 + len(sent) * weight)
    assert hits.sum() <= len(sent) * weight + m * slack
    assert (hits <= reach + slack).all() and (reach <= len(sent) * weight + slack).all()
    assert ((column(got, "cast_share") >= 0) & (column(got, "cast_share") <= 1)).all()
    assert ((column(got, "cast_seen") >= 0) & (column(got, "cast_seen") <= 1)).all()
    evidence = column(got, "evidence_recent")
    assert (column(got, "cast_share") <= evidence).all()  # fixed point rounds down


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 300))
def test_the_order_of_the_beams_does_not_matter(seed: int, n: int) -> None:
    cells, sent = random_cells(seed, 150, block()), random_beams(seed, n)
    shuffled = np.ascontiguousarray(sent[np.random.default_rng(seed).permutation(len(sent))])
    assert cast(cells, sent, 2.5).x.tobytes() == cast(cells, shuffled, 2.5).x.tobytes()


def test_beams_that_are_not_directions_are_passed_over() -> None:
    cells, sent = random_cells(3, 150, block()), random_beams(3, 100)
    spaced = np.zeros((200, 3), np.int16)
    spaced[::2] = sent
    assert cast(cells, sent).x.tobytes() == cast(cells, spaced).x.tobytes()


def test_the_length_of_a_beam_does_not_matter() -> None:
    cells = random_cells(4, 150, block())
    short = np.array([[1, 0, 0], [3, -2, 1], [-5, 4, 4], [0, 1, -1]], np.int16)
    assert np.allclose(table(cast(cells, short)), table(cast(cells, short * np.int16(4000))), rtol=1e-6)


def test_extreme_directions_give_finite_shares() -> None:
    ends = (-32768, -32767, 0, 1, 32767)
    sent = np.array(list(itertools.product(ends, repeat=3)), np.int16)
    for pose in (HERE, AT_ORIGIN):
        got = cast(random_cells(5, 400, block()), sent, 1e6, pose)
        assert np.isfinite(got.x).all() and column(got, "cast_reached").any()


@pytest.mark.parametrize("seed", range(3))
def test_casting_twice_gives_the_same_bytes(seed: int) -> None:
    cells, sent = random_cells(seed, 300, block()), random_beams(seed, 1000)
    assert cast(cells, sent, 1.7).x.tobytes() == cast(cells, sent, 1.7).x.tobytes()


def test_casts_start_at_the_forecast_pose() -> None:
    """The pose now has no part in them."""
    cells, sent = random_cells(6, 300, block()), random_beams(6, 300)
    elsewhere = matrix_of((2.0, 1.0, 0.3), yaw=1.0)
    here, there = cast(cells, sent, pose=HERE), cast(cells, sent, pose=elsewhere)
    assert np.array_equal(table(here), table(there))
    assert not np.array_equal(table(here), table(cast(cells, sent, forecast_pose=elsewhere)))


def test_a_forecast_off_the_map_casts_nothing() -> None:
    half = GRID.half_edge_m
    for far in (32768 * half, -32769 * half, 1e8):
        got = cast(random_cells(7, 50, block()), random_beams(7, 300), 3.0, matrix_of((far, 0.0, 0.0)))
        assert np.isfinite(got.x).all() and not table(got).any()


def test_casts_work_at_the_edges_of_the_map() -> None:
    """Far from the map's origin the casts are those of the same scene moved there."""
    cells, sent = random_cells(8, 200, block(4)), random_beams(8, 500)
    moved = {(x + 32762, y - 32762, z + 32762): counts for (x, y, z), counts in cells.items()}
    step = 32762 * 0.5
    grid = Grid(half_edge_m=0.5, frame=5, tier=1, lod=7)
    results = []
    for scene, place in ((cells, (0.25, 0.125, 0.0)), (moved, (step + 0.25, 0.125 - step, step))):
        window = Window(grid, OPTIONS)
        ids = ids_of(grid, np.array(list(scene), np.int32)).tolist()
        rows = {cell: (*counts, NO_SUMS) for cell, counts in zip(ids, scene.values(), strict=True)}
        window.push(0, *Record(stamp_ns=0, cells=rows).arrays())
        pose = matrix_of(place, yaw=0.3)
        got = window.features(pose, pose, 0.0, 0.0, sent, 1.0)
        results.append(
            {ids.index(cell): row for cell, row in zip(got.cell_id.tolist(), table(got), strict=True)}
        )
    assert all(np.allclose(results[0][i], results[1][i], atol=1e-5) for i in range(len(cells)))


def test_many_beams_on_one_cell_are_all_counted() -> None:
    """More than 65,535 whole beams do not fit the 32 bits of a sum of fixed-point shares."""
    sent = np.tile(AHEAD, (70_000, 1))
    got = cast({(10, 0, 0): (1, 0), (20, 0, 0): (1, 0)}, sent, 1.0, AT_ORIGIN)
    assert np.expm1(of_cells(got, "cast_reach")[10, 0, 0]) == pytest.approx(70_000, rel=1e-4)
    assert np.expm1(of_cells(got, "cast_hits")[10, 0, 0]) == pytest.approx(70_000, rel=1e-4)
    assert np.expm1(of_cells(got, "cast_reach")[20, 0, 0]) < 3


# ---- refusals


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (AHEAD.astype(np.int32), TypeError),
        (AHEAD.astype(np.float32), TypeError),
        (AHEAD.astype(">i2"), TypeError),
        (AHEAD.reshape(-1), ValueError),
        (np.zeros((3, 4), np.int16), ValueError),
        (np.asfortranarray(np.zeros((2, 3), np.int16)), ValueError),
        (AHEAD.tolist(), TypeError),
    ],
)
def test_other_arrays_are_refused(sent: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="beams"):
        cast({(0, 0, 0): (1, 0)}, sent)


def test_too_many_beams_are_refused() -> None:
    with pytest.raises(DomainError, match="view"):
        cast({(0, 0, 0): (1, 0)}, np.zeros((524_288, 3), np.int16))
