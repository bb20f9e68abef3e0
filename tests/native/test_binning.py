"""Binning against a float32 oracle with the same order of operations, its invariants and its errors."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from native import index64, lattice
from native.binning import FIXED_ONE, MAX_POINTS, SUMS, Binner, Bins
from native.errors import DomainError, PoseError, RangeError
from native.grid import Grid
from tests.native.oracle import F32, F64, bin_points, ids_of, matrix_of, nearest_site
from tests.native.recorded import sweep

GRID = Grid(half_edge_m=0.4, frame=5, tier=1, lod=7, range_min_m=3.0, range_max_m=40.0)
WIDE = Grid(half_edge_m=1.0, range_min_m=0.0, range_max_m=1000.0)
IDENTITY = matrix_of()
COUNTS = ("points", "rays", "binned", "not_finite", "out_of_range", "off_map", "intensity_clamped")


def assert_equal(got: Bins, want: Bins) -> None:
    for name in COUNTS:
        assert getattr(got, name) == getattr(want, name), name
    for name in ("cell_id", "hits", "sums"):
        have, expected = getattr(got, name), getattr(want, name)
        assert have.dtype == expected.dtype and np.array_equal(have, expected), name


def assert_matches_oracle(grid: Grid, points: F32, intensity: F32, pose: F64) -> Bins:
    binner, want = Binner(grid), bin_points(grid, points, intensity, pose)
    got = binner.run(points, intensity, pose)
    assert_equal(got, want.bins)
    assert np.array_equal(binner.point_rows(), want.rows)
    check_invariants(grid, got)
    return got


def check_invariants(grid: Grid, bins: Bins) -> None:
    """What holds for every result."""
    assert bins.hits.sum() == bins.binned
    assert bins.points == bins.binned + bins.out_of_range + bins.off_map + bins.not_finite
    assert bins.intensity_clamped <= bins.binned <= bins.rays
    assert (bins.hits > 0).all() and (np.diff(bins.cell_id.astype(np.int64)) > 0).all()
    parts = index64.decode(bins.cell_id)  # raises for mixed parity
    for name in ("frame", "tier", "lod"):
        assert (getattr(parts, name) == getattr(grid, name)).all()
    limit = bins.hits[:, None].astype(np.int64) * FIXED_ONE
    assert (np.abs(bins.sums) <= limit).all() and (bins.sums[:, 3:6] >= 0).all()


def scatter(seed: int, n: int, reach: float = 30.0) -> tuple[F32, F32]:
    """Random points about the sensor, many to a cell near it, and intensities a little out of range."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3)) * rng.choice([1.0, reach / 3, reach], size=(n, 1))
    return points.astype(np.float32), rng.uniform(-0.1, 1.1, n).astype(np.float32)


def merged(parts: list[Bins]) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Sum of several results by cell."""
    ids = np.unique(np.concatenate([part.cell_id for part in parts]))
    hits, sums = np.zeros(len(ids), np.int64), np.zeros((len(ids), SUMS), np.int64)
    for part in parts:
        rows = np.searchsorted(ids, part.cell_id)
        hits[rows] += part.hits
        sums[rows] += part.sums
    return ids, hits, sums


POSES = {
    "identity": IDENTITY,
    "turned": matrix_of((1.3, -2.7, 1.73), yaw=0.6, pitch=-0.1),
    "far": matrix_of((8000.1, -7999.7, 250.3), yaw=2.1),
    "edge": matrix_of((0.4 * 32760, -0.4 * 32765, 3.0), yaw=-1.0, pitch=0.2),
}


@pytest.mark.parametrize("pose", POSES.values(), ids=POSES)
@pytest.mark.parametrize("n", [0, 1, 511, 512, 513, 5000])
def test_random_points_match_the_oracle(pose: F64, n: int) -> None:
    for seed in range(3):
        assert_matches_oracle(GRID, *scatter(seed, n), pose)


@pytest.mark.parametrize("half_edge_m", [0.001, 0.05, 0.25, 1.7, 51.2])
def test_other_grids_match_the_oracle(half_edge_m: float) -> None:
    grid = Grid(half_edge_m=half_edge_m, range_min_m=0.5, range_max_m=70.0, intensity_max=0.7)
    shift = (3.3 * half_edge_m, 1000.7 * half_edge_m, -11.1 * half_edge_m)
    bins = assert_matches_oracle(grid, *scatter(4, 3000), matrix_of(shift, yaw=0.3))
    assert bins.binned or bins.off_map
    assert bins.intensity_clamped or not bins.binned


def test_every_fate_occurs_at_the_edge_of_the_map() -> None:
    points, intensity = (np.repeat(array, 3, axis=0) for array in scatter(1, 2000))  # as a scan repeats cells
    bins = assert_matches_oracle(GRID, points, intensity, POSES["edge"])
    assert bins.off_map > 100 and bins.binned > 100 and bins.out_of_range > 100


@pytest.mark.parametrize("number", [0, 13])
def test_a_recorded_sweep_matches_the_oracle(number: int) -> None:
    s = sweep(number)
    bins = assert_matches_oracle(GRID, s.points, s.intensity, s.pose)
    assert bins.points > 100_000 and len(bins.cell_id) > 3500 and bins.not_finite == 0


def test_a_recorded_sweep_lands_in_the_nearest_cells() -> None:
    """Independent of the order of operations: float64 snapping agrees but for points on a boundary."""
    s, binner = sweep(5), Binner(GRID)
    bins = binner.run(s.points, s.intensity, s.pose)
    rows = binner.point_rows()
    matrix = s.pose.reshape(3, 4)
    where = (s.points.astype(np.float64) @ matrix[:, :3].T + matrix[:, 3]) / GRID.half_edge_m
    inside = rows >= 0
    same = (index64.decode(bins.cell_id).sites[rows[inside]] == lattice.snap(where[inside])).all(axis=1)
    assert same.mean() > 0.9999
    distance = np.linalg.norm(s.points.astype(np.float64), axis=1)
    assert np.array_equal(inside, (distance >= 3) & (distance <= 40))


def test_the_order_of_points_does_not_matter() -> None:
    points, intensity = scatter(7, 4000)
    binner, pose = Binner(GRID), POSES["turned"]
    first = binner.run(points, intensity, pose)
    rows = binner.point_rows()
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(points))
        assert_equal(binner.run(points[order], intensity[order], pose), first)
        assert np.array_equal(binner.point_rows(), rows[order])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 600), min_size=1, max_size=4))
def test_merging_the_parts_gives_the_whole(seed: int, cuts: list[int]) -> None:
    points, intensity = scatter(seed, 600)
    edges = [0, *sorted(cuts), 600]
    binner = Binner(GRID)
    whole = binner.run(points, intensity, POSES["turned"])
    parts = [binner.run(points[a:b], intensity[a:b], POSES["turned"]) for a, b in itertools.pairwise(edges)]
    ids, hits, sums = merged(parts)
    assert np.array_equal(ids, whole.cell_id) and np.array_equal(hits, whole.hits)
    assert np.array_equal(sums, whole.sums)
    for name in COUNTS:
        assert sum(getattr(part, name) for part in parts) == getattr(whole, name), name


def test_rows_of_points_are_those_of_their_cells() -> None:
    points, intensity = scatter(9, 4000)
    binner = Binner(GRID)
    bins = binner.run(points, intensity, POSES["turned"])
    rows = binner.point_rows()
    assert rows.dtype == np.int32 and rows.shape == (4000,)
    assert (rows == -1).sum() == bins.points - bins.binned
    assert np.array_equal(np.bincount(rows[rows >= 0], minlength=len(bins.cell_id)), bins.hits)
    for row in range(0, len(bins.cell_id), 50):
        alone = Binner(GRID).run(points[rows == row], intensity[rows == row], POSES["turned"])
        assert alone.cell_id.tolist() == [bins.cell_id[row]] and (alone.sums[0] == bins.sums[row]).all()


# ---- the snap at exact boundaries


def exact_bins(points: list[list[float]], pose: F64 = IDENTITY) -> list[list[int]]:
    """Map site of each point on the grid of half edge 1 m."""
    binner = Binner(WIDE)
    bins = binner.run(np.array(points, np.float32), np.zeros(len(points), np.float32), pose)
    return list(index64.decode(bins.cell_id).sites[binner.point_rows()].tolist())


def test_all_boundaries_among_the_quarters_follow_the_rule() -> None:
    steps = [v / 4 for v in range(-9, 10)]
    points = [list(p) for p in itertools.product(steps, repeat=3) if any(p)]
    assert exact_bins(points) == [nearest_site(np.array(p)) for p in points]


@pytest.mark.parametrize("site", [[0, 0, 0], [6, -4, 2], [-3, 7, 1], [-32760, 32760, 8]])
def test_ties_are_decided_on_the_map_wherever_the_sensor_is(site: list[int]) -> None:
    steps = [v / 2 for v in range(-5, 6)]
    points = [list(p) for p in itertools.product(steps, repeat=3) if any(p)]
    got = exact_bins(points, matrix_of((site[0], site[1], site[2])))
    assert got == [nearest_site(np.array(p) + site) for p in points]


def test_just_below_a_boundary_is_not_on_it() -> None:
    below = float(np.nextafter(np.float32(1), np.float32(0)))
    assert exact_bins([[below, 0, 0], [1, 0, 0], [-1, 0, 0]]) == [[0, 0, 0], [2, 0, 0], [0, 0, 0]]
    assert exact_bins([[-below, 0, 0], [0.5, 0.5, 0.5]]) == [[0, 0, 0], [0, 0, 0]]
    above = 0.5 + 2**-23  # half of that would be lost in the sum of the three distances
    assert exact_bins([[above, 0.5, 0.5], [0.5, -above, 0.5]]) == [[1, 1, 1], [1, -1, 1]]


def test_moments_are_rounded_products_of_unrounded_offsets() -> None:
    x, y, z = 10.25, -3.6, 0.7  # cell (10, -4, 0): offset 0.25, 0.4, 0.7
    points = np.array([[x, y, z]], np.float32)
    bins = Binner(WIDE).run(points, np.array([0.3], np.float32), IDENTITY)
    assert index64.decode(bins.cell_id).sites.tolist() == [[10, -4, 0]]
    offset = [Fraction(float(v)) - s for v, s in zip(points[0], (10, -4, 0), strict=True)]
    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    share = Fraction(float(np.float32(0.3)))
    exact = [*offset, *(offset[i] * offset[j] for i, j in pairs), share, share * share]
    assert bins.sums[0].tolist() == [int(v * FIXED_ONE + Fraction(1, 2)) for v in exact]


# ---- odd input


ODD_VALUES = [np.nan, np.inf, -np.inf, 1e30, -1e30, 10_000.0, 10_001.0, 1e-30, 1e-45, 0.0, -0.0, 5.0]


def odd_points() -> F32:
    """Every combination of values that need care."""
    return np.array(list(itertools.product(ODD_VALUES, repeat=3)), np.float32)


def test_values_that_need_care_match_the_oracle() -> None:
    points = odd_points()
    bins = assert_matches_oracle(GRID, points, np.zeros(len(points), np.float32), POSES["turned"])
    bad = ~(np.abs(points) <= 10_000).all(axis=1)
    assert bins.not_finite == bad.sum() > 1000
    distance = np.linalg.norm(points[~bad].astype(np.float64), axis=1)
    assert bins.binned == ((distance >= 3) & (distance <= 40)).sum() > 50


def test_points_that_are_not_finite_do_not_disturb_the_others() -> None:
    points, intensity = scatter(2, 500)
    mixed = np.concatenate([odd_points()[:700], points, odd_points()[700:]])
    mixed[(np.abs(mixed) <= 10_000).all(axis=1) & ~np.isin(mixed, points).all(axis=1)] = np.nan
    padded = np.zeros(len(mixed), np.float32)
    padded[700 : 700 + len(points)] = intensity
    got, want = Binner(GRID).run(mixed, padded, IDENTITY), Binner(GRID).run(points, intensity, IDENTITY)
    for name in ("cell_id", "hits", "sums"):
        assert np.array_equal(getattr(got, name), getattr(want, name))
    assert got.not_finite == len(mixed) - len(points)


def test_the_origin_is_no_ray_and_out_of_range() -> None:
    for grid in (GRID, WIDE):
        points = np.array([[0, 0, 0], [-0.0, 0, -0.0]], np.float32)
        bins = assert_matches_oracle(grid, points, np.zeros(2, np.float32), IDENTITY)
        assert (bins.rays, bins.out_of_range, bins.binned) == (0, 2, 0)


@pytest.mark.parametrize("tiny", [1e-18, 1e-23, 1e-30, 1e-40, 1e-45])
def test_a_tiny_point_is_a_ray_like_any_other(tiny: float) -> None:
    """``Rays.load`` takes every finite return but the origin, so the count of rays must too."""
    bins = Binner(GRID).run(np.array([[tiny, 0, 0]], np.float32), np.zeros(1, np.float32), IDENTITY)
    assert (bins.rays, bins.out_of_range) == (1, 1)


def test_both_ends_of_the_range_are_in_it() -> None:
    ends = np.array([[3, 0, 0], [0, 40, 0]], np.float32)
    beyond = np.array([[np.nextafter(np.float32(3), np.float32(0)), 0, 0], [0, 40.001, 0]], np.float32)
    bins = assert_matches_oracle(
        GRID, np.concatenate([ends, beyond]), np.zeros(4, np.float32), POSES["turned"]
    )
    assert (bins.binned, bins.out_of_range, bins.rays) == (2, 2, 4)


def test_intensity_out_of_range_is_clamped_and_counted() -> None:
    values = np.array([0, -0.0, 51, 255, 256, -1, np.inf, -np.inf, np.nan], np.float32)
    shares = [0, 0, 0.2, 1, 1, 0, 1, 0, 0]
    grid = Grid(half_edge_m=0.4, intensity_max=255.0)
    for value, share in zip(values, shares, strict=True):
        points = np.array([[10, 0, 0], [0.1, 0, 0]], np.float32)  # the second is out of range: not counted
        bins = assert_matches_oracle(grid, points, np.array([value, np.nan], np.float32), IDENTITY)
        assert bins.intensity_clamped == (not 0 <= value <= 255)
        assert bins.sums[0, 9:].tolist() == [round(4096 * share), round(4096 * share**2)]


def test_as_many_points_as_allowed_do_not_overflow_a_sum() -> None:
    points = np.tile(np.array([[5, 4, 4]], np.float32), (MAX_POINTS, 1))
    bins = Binner(WIDE).run(points, np.ones(MAX_POINTS, np.float32), IDENTITY)
    assert bins.hits.tolist() == [MAX_POINTS] and index64.decode(bins.cell_id).sites.tolist() == [[6, 4, 4]]
    assert bins.sums[0].tolist() == [
        -MAX_POINTS * FIXED_ONE, 0, 0, MAX_POINTS * FIXED_ONE, 0, 0, 0, 0, 0,
        MAX_POINTS * FIXED_ONE, MAX_POINTS * FIXED_ONE,
    ]  # fmt: skip
    more = np.zeros((MAX_POINTS + 1, 3), np.float32)
    with pytest.raises(DomainError, match="points"):
        Binner(WIDE).run(more, np.zeros(len(more), np.float32), IDENTITY)


def test_far_from_the_origin_a_shift_by_cells_changes_only_the_ids() -> None:
    grid = Grid(half_edge_m=0.25, range_min_m=1.0, range_max_m=60.0)
    points, intensity = scatter(3, 5000)
    near = assert_matches_oracle(grid, points, intensity, matrix_of((0.6, -0.3, 1.7), yaw=0.4))
    shift = (8000.0, -8000.0, 120.0)  # a multiple of two half edges on each axis
    far = assert_matches_oracle(
        grid, points, intensity, matrix_of((shift[0] + 0.6, shift[1] - 0.3, shift[2] + 1.7), yaw=0.4)
    )
    moved = index64.decode(near.cell_id).sites + (np.array(shift) / 0.25).astype(np.int32)
    order = np.argsort(ids_of(grid, moved))
    assert np.array_equal(ids_of(grid, moved)[order], far.cell_id)
    assert np.array_equal(near.hits[order], far.hits)
    assert np.abs(near.sums[order] - far.sums).max() <= far.hits.max()  # the origin is rounded 8 km away


# ---- errors


BAD_POSES = {
    "nan": np.full(12, np.nan),
    "infinite": np.array([1, 0, 0, np.inf, 0, 1, 0, 0, 0, 0, 1, 0], np.float64),
    "zero": np.zeros(12),
    "mirror": np.array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, -1, 0], np.float64),
    "scaled": 1.01 * IDENTITY,
}
POINTS, INTENSITY = scatter(0, 40)


@pytest.mark.parametrize("pose", BAD_POSES.values(), ids=BAD_POSES)
def test_a_bad_pose_is_refused(pose: F64) -> None:
    with pytest.raises(PoseError, match="pose"):
        Binner(GRID).run(POINTS, INTENSITY, pose)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [1, -1])
def test_a_sensor_off_the_map_is_refused(axis: int, sign: int) -> None:
    limit = 32767 if sign > 0 else 32768
    inside, outside = IDENTITY.copy(), IDENTITY.copy()
    inside[4 * axis + 3] = sign * limit
    outside[4 * axis + 3] = sign * (limit + 0.01)
    Binner(WIDE).run(POINTS, INTENSITY, inside)
    with pytest.raises(RangeError, match="pose"):
        Binner(WIDE).run(POINTS, INTENSITY, outside)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("points", POINTS.astype(np.float64), TypeError),
        ("points", POINTS.tolist(), TypeError),
        ("points", POINTS.ravel(), ValueError),
        ("points", np.zeros((40, 4), np.float32), ValueError),
        ("points", np.asfortranarray(POINTS), ValueError),
        ("points", np.zeros((80, 3), np.float32)[::2], ValueError),
        ("intensity", INTENSITY.astype(np.float64), TypeError),
        ("intensity", INTENSITY[:39], ValueError),
        ("intensity", INTENSITY[:, None], ValueError),
        ("intensity", np.zeros(80, np.float32)[::2], ValueError),
        ("pose", IDENTITY.astype(np.float32), TypeError),
        ("pose", IDENTITY.reshape(3, 4), ValueError),
        ("pose", np.eye(4).ravel(), ValueError),
    ],
)
def test_a_wrong_array_is_refused_by_name(name: str, value: Any, error: type[Exception]) -> None:
    arguments: dict[str, Any] = {"points": POINTS, "intensity": INTENSITY, "pose": IDENTITY, name: value}
    with pytest.raises(error, match=name):
        Binner(GRID).run(**arguments)


def test_a_handle_is_usable_after_an_error_and_between_sizes() -> None:
    binner = Binner(GRID)
    assert binner.point_rows().shape == (0,)
    for n in (300, 5, 0, 2000, 40):
        points, intensity = scatter(n, n)
        want = bin_points(GRID, points, intensity, IDENTITY)
        assert_equal(binner.run(points, intensity, IDENTITY), want.bins)
        for pose, error in ((BAD_POSES["nan"], PoseError), (matrix_of((1e6, 0, 0)), RangeError)):
            with pytest.raises(error):
                binner.run(POINTS, INTENSITY, pose)
            assert np.array_equal(binner.point_rows(), want.rows)  # of the last sweep that was binned


def test_results_do_not_change_with_the_next_run() -> None:
    binner = Binner(GRID)
    first = binner.run(POINTS, INTENSITY, IDENTITY)
    copy = (first.cell_id.tobytes(), first.hits.tobytes(), first.sums.tobytes())
    binner.run(*scatter(1, 4000), POSES["turned"])
    assert (first.cell_id.tobytes(), first.hits.tobytes(), first.sums.tobytes()) == copy
