"""Visibility against all rays in float64, against a march along each ray, and its errors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from native import index64, lattice
from native.binning import MAX_POINTS, Binner
from native.errors import DomainError, IdError, ParityError, PoseError, RangeError
from native.grid import Grid
from native.visibility import Rays
from tests.native.oracle import F32, F64, ids_of, matrix_of, pass_bounds, rays_of
from tests.native.recorded import sweep

GRID = Grid(half_edge_m=0.4, frame=5, tier=1, lod=7, range_min_m=3.0, range_max_m=40.0)
UNIT = Grid(half_edge_m=1.0, range_min_m=0.0, range_max_m=1000.0)
IDENTITY = matrix_of()
POSES = {
    "identity": IDENTITY,
    "turned": matrix_of((1.3, -2.7, 1.73), yaw=0.6, pitch=-0.1),
    "far": matrix_of((8000.13, -7999.77, 250.31), yaw=2.1),
}


def passes(grid: Grid, points: F32, pose: F64, cell_id: NDArray[np.uint64]) -> NDArray[np.uint32]:
    rays = Rays(grid)
    rays.load(points, pose)
    return rays.passes(cell_id)


def block(grid: Grid, pose: F64, reach: int) -> NDArray[np.uint64]:
    """All cells within so many half edges of the sensor on each axis."""
    middle = np.floor(pose.reshape(3, 4)[:, 3] / grid.half_edge_m).astype(int)
    axes = [range(m - reach, m + reach + 1) for m in middle.tolist()]
    sites = [site for site in itertools.product(*axes) if len({v % 2 for v in site}) == 1]
    return np.sort(ids_of(grid, np.array(sites, np.int32)))


def shell(seed: int, n: int, reach_m: float) -> F32:
    """Returns in all directions at all distances."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(n, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return (directions * rng.uniform(0.1, reach_m, (n, 1))).astype(np.float32)


def assert_matches_all_rays(
    grid: Grid, points: F32, pose: F64, cell_id: NDArray[np.uint64], certain: float = 0.98
) -> NDArray[np.uint32]:
    """Every count is possible, and nearly all have one possible value: it is certain there."""
    got = passes(grid, points, pose, cell_id)
    low, high = pass_bounds(grid, points, pose, cell_id)
    assert ((low <= got) & (got <= high)).all(), np.flatnonzero((low > got) | (got > high))[:5]
    assert (low == high).mean() >= certain
    return got


@pytest.mark.parametrize("pose", POSES.values(), ids=POSES)
def test_cells_around_the_sensor_match_all_rays(pose: F64) -> None:
    got = assert_matches_all_rays(GRID, shell(1, 2000, 4.0), pose, block(GRID, pose, 7))
    assert (got > 0).mean() > 0.5


@pytest.mark.parametrize("pose", POSES.values(), ids=POSES)
def test_cells_in_all_directions_match_all_rays(pose: F64) -> None:
    """Also above, below and behind; cells and rays at all distances."""
    cells = np.unique(Binner(GRID).run(shell(2, 1500, 40.0), np.zeros(1500, np.float32), pose).cell_id)
    got = assert_matches_all_rays(GRID, shell(3, 20_000, 60.0), pose, cells)
    assert (got > 0).mean() > 0.5


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 3.0), st.floats(-3, 3), st.floats(-1, 1))
def test_any_pose_and_grid_match_all_rays(seed: int, half_edge_m: float, yaw: float, pitch: float) -> None:
    rng = np.random.default_rng(seed)
    grid = Grid(half_edge_m=half_edge_m, range_min_m=0.0, range_max_m=1e4)
    pose = matrix_of((*rng.uniform(-50, 50, 3).tolist(),), yaw=yaw, pitch=pitch)
    cells = rng.choice(block(grid, pose, 6), 150)
    assert_matches_all_rays(grid, shell(seed, 300, 9 * half_edge_m), pose, cells, certain=0.9)


def test_cells_of_a_recorded_sweep_match_all_rays() -> None:
    s = sweep(7)
    hit = Binner(GRID).run(s.points, s.intensity, s.pose).cell_id
    rng = np.random.default_rng(0)
    around = lattice.neighbors(index64.decode(rng.choice(hit, 100)).sites).reshape(-1, 3)
    cells = np.unique(np.concatenate([rng.choice(hit, 700, replace=False), ids_of(GRID, around)]))
    got = passes(GRID, s.points, s.pose, cells)
    low, high = pass_bounds(GRID, s.points, s.pose, cells)
    assert ((low <= got) & (got <= high)).all()
    assert ((got == low) & (got == high)).sum() >= 600
    assert (got > 0).sum() > 300 and (got == 0).sum() > 100


def test_cells_beside_the_sensor_in_a_recorded_sweep_match_all_rays() -> None:
    """Thousands of rays cross each, and the index looks at whole faces."""
    s = sweep(3)
    assert_matches_all_rays(GRID, s.points, s.pose, block(GRID, s.pose, 2), certain=0.5)


# ---- independent of the slabs: march along the ray and snap


def marched(ray: F64, start: F64, step: float) -> NDArray[np.int32]:
    """Sites in the order in which a walker on the ray meets them, the return's last."""
    shares = np.append(np.arange(0, 1, step / np.linalg.norm(ray)), 1)
    sites = lattice.snap(start + shares[:, None] * ray)
    new = np.append(True, (np.diff(sites, axis=0) != 0).any(axis=1))
    return np.asarray(sites[new])


@pytest.mark.parametrize("pose", [POSES["turned"], POSES["far"]], ids=["turned", "far"])
def test_exactly_the_marched_cells_are_passed(pose: F64) -> None:
    start = pose.reshape(3, 4)[:, 3] / GRID.half_edge_m
    extra = total = 0
    for point in shell(5, 60, 12.0):
        (ray,) = rays_of(GRID, point[None], pose)
        sites = marched(ray, start, 0.01)
        last = sites[-1]
        walked = set(ids_of(GRID, sites[(sites != last).any(axis=1)]).tolist())
        near = np.unique(lattice.neighbors(sites).reshape(-1, 3), axis=0)
        cells = np.union1d(ids_of(GRID, near), ids_of(GRID, sites))
        got = passes(GRID, point[None], pose, cells)
        assert got.max() <= 1
        passed = set(cells[got == 1].tolist())
        assert walked <= passed
        extra, total = extra + len(passed - walked), total + len(passed)
    assert total > 500 and extra < 0.02 * total  # corners cut within one step


def test_counts_of_many_rays_are_at_least_those_marched() -> None:
    pose, points = POSES["turned"], shell(6, 300, 8.0)
    start = pose.reshape(3, 4)[:, 3] / GRID.half_edge_m
    count: dict[int, int] = {}
    for ray in rays_of(GRID, points, pose):
        sites = marched(ray, start, 0.02)
        for cell in ids_of(GRID, np.unique(sites[(sites != sites[-1]).any(axis=1)], axis=0)).tolist():
            count[cell] = count.get(cell, 0) + 1
    cells = np.array(sorted(count), np.uint64)
    got, want = passes(GRID, points, pose, cells), np.array([count[cell] for cell in cells.tolist()])
    assert (got >= want).all() and (got - want).sum() < 0.02 * want.sum()


def test_a_returns_own_cell_is_not_passed_by_its_ray() -> None:
    s = sweep(11)
    rng, binner, rays = np.random.default_rng(1), Binner(GRID), Rays(GRID)
    for point in s.points[rng.choice(len(s.points), 200, replace=False)]:
        own = binner.run(point[None], np.zeros(1, np.float32), s.pose).cell_id
        rays.load(point[None], s.pose)
        assert rays.passes(own).tolist() == [0] * len(own)


# ---- rays along the axes and in the planes of faces


def passed_sites(points: list[list[float]], pose: F64 = IDENTITY, reach: int = 9) -> list[list[int]]:
    cells = block(UNIT, pose, reach)
    got = passes(UNIT, np.array(points, np.float32), pose, cells)
    return sorted(index64.decode(cells[got > 0]).sites.tolist())


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [1, -1])
def test_a_ray_along_an_axis_passes_the_cells_on_it(axis: int, sign: int) -> None:
    point, want = [0.0, 0.0, 0.0], []
    point[axis] = sign * 7.5  # in the cell about 8
    for distance in (0, 2, 4, 6):
        site = [0, 0, 0]
        site[axis] = sign * distance
        want.append(site)
    assert passed_sites([point]) == sorted(want)


@pytest.mark.parametrize("signs", list(itertools.product([1, -1], repeat=3)))
def test_a_ray_along_a_diagonal_passes_the_cells_on_it(signs: tuple[int, int, int]) -> None:
    point = [4.6 * s for s in signs]
    assert passed_sites([point]) == sorted([d * s for s in signs] for d in range(5))


def test_the_sensors_own_cell_is_passed_unless_the_return_lies_in_it() -> None:
    pose = matrix_of((0.2, -0.1, 0.3))
    assert passed_sites([[0.3, 0, 0]], pose) == []
    assert passed_sites([[5, 0.1, 0]], pose)[0] == [0, 0, 0]
    assert [0, 0, 0] in passed_sites([[0, 0, 0.9]], pose)  # leaves through the face at z = 1


def test_nothing_is_passed_behind_the_sensor_or_beyond_the_return() -> None:
    rng = np.random.default_rng(3)
    points = np.column_stack([rng.uniform(4, 5, 400), rng.uniform(-2, 2, (400, 2))]).astype(np.float32)
    sites = index64.decode(block(UNIT, IDENTITY, 9)).sites
    got = passes(UNIT, points, IDENTITY, ids_of(UNIT, sites))
    assert (got[sites[:, 0] <= -2] == 0).all() and (got[sites[:, 0] >= 7] == 0).all()
    assert got[(sites == 0).all(axis=1)] == 400


def test_a_ray_in_the_plane_of_a_face_is_counted_once() -> None:
    """From (0, 0, 1) along x the ray runs in square faces, shared by two cells: one of them may count it."""
    pose = matrix_of((0.05, 0.05, 1.0))
    upper = [site for site in passed_sites([[7, 0, 0]], pose) if site[2] == 2]
    lower = [site for site in passed_sites([[7, 0, 0]], pose) if site[2] == 0]
    assert bool(upper) != bool(lower)


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (0.25, 0.0, 0.0), (0.25, -0.4, 0.1)])
def test_rays_with_zero_components_match_all_rays(shift: tuple[float, float, float]) -> None:
    points = np.array([p for p in itertools.product([-6, 0, 6.1], repeat=3) if any(p)], np.float32)
    pose = matrix_of(shift)
    assert_matches_all_rays(UNIT, points, pose, block(UNIT, pose, 8), certain=0.4)


# ---- invariants


def test_order_and_repetition_of_points_do_not_matter() -> None:
    pose, points = POSES["turned"], shell(8, 3000, 30.0)
    cells = block(GRID, pose, 6)
    want = passes(GRID, points, pose, cells)
    for seed in range(3):
        shuffled = points[np.random.default_rng(seed).permutation(len(points))]
        assert np.array_equal(passes(GRID, shuffled, pose, cells), want)
    assert np.array_equal(passes(GRID, np.concatenate([points, points]), pose, cells), 2 * want)
    parts = [passes(GRID, part, pose, cells) for part in (points[:1000], points[1000:])]
    assert np.array_equal(parts[0] + parts[1], want)


def test_cells_may_come_in_any_order_and_repeat() -> None:
    pose, rays = POSES["turned"], Rays(GRID)
    rays.load(shell(9, 2000, 20.0), pose)
    cells = block(GRID, pose, 5)
    order = np.random.default_rng(0).integers(0, len(cells), 3 * len(cells))
    assert np.array_equal(rays.passes(cells[order]), rays.passes(cells)[order])


def test_returns_out_of_range_are_rays_and_unusable_ones_are_not() -> None:
    pose, cells = IDENTITY, block(GRID, IDENTITY, 8)
    usable = np.array([[1, 0.3, 0.2], [50, 1, 2], [-900, 30, 4], [9999, 9999, 9999]], np.float32)
    odd = [[np.nan, 1, 1], [1, np.inf, 1], [1, 1, -np.inf], [1e30, 0, 1], [10_001, 0, 0], [0, 0, -0.0]]
    want = passes(GRID, usable, pose, cells)
    mixed = np.concatenate([np.array(odd, np.float32), usable, np.array(odd, np.float32)])
    assert np.array_equal(passes(GRID, mixed, pose, cells), want)
    assert want.max() == 4 and np.array_equal(want, pass_bounds(GRID, usable, pose, cells)[0])


@pytest.mark.parametrize("half_edge_m", [0.001, 0.4, 100.0])
def test_tiny_returns_pass_nothing(half_edge_m: float) -> None:
    grid, tiny = Grid(half_edge_m=half_edge_m), [1e-18, 1e-30, 1e-38, 1e-45]
    points = np.array([p for p in itertools.product([0.0, *tiny], repeat=3) if any(p)], np.float32)
    pose = matrix_of((0.3 * half_edge_m, 0, 0), yaw=0.8)
    assert not passes(grid, points, pose, block(grid, pose, 4)).any()


def test_before_a_load_and_without_points_nothing_is_passed() -> None:
    rays, cells = Rays(GRID), block(GRID, IDENTITY, 3)
    assert not rays.passes(cells).any()
    rays.load(shell(0, 100, 5.0), IDENTITY)
    assert rays.passes(cells).any()
    rays.load(np.empty((0, 3), np.float32), IDENTITY)
    assert not rays.passes(cells).any()
    assert rays.passes(np.empty(0, np.uint64)).shape == (0,)


def test_the_largest_sweep_is_accepted_and_a_larger_one_refused() -> None:
    points = np.tile(np.array([[5, 0.2, 0.1]], np.float32), (MAX_POINTS + 1, 1))
    rays = Rays(GRID)
    rays.load(points[:-1], IDENTITY)
    assert rays.passes(ids_of(GRID, [[0, 0, 0]])).tolist() == [MAX_POINTS]
    with pytest.raises(DomainError, match="points"):
        rays.load(points, IDENTITY)


# ---- errors


POINTS = shell(4, 60, 10.0)


def test_an_error_leaves_the_loaded_rays_as_they_were() -> None:
    rays, cells = Rays(GRID), block(GRID, IDENTITY, 5)
    rays.load(POINTS, IDENTITY)
    want = rays.passes(cells)
    assert want.any()
    for pose, error in ((np.zeros(12), PoseError), (matrix_of((0, 1e6, 0)), RangeError)):
        with pytest.raises(error, match="pose"):
            rays.load(shell(5, 5000, 10.0), pose)
        assert np.array_equal(rays.passes(cells), want)


@pytest.mark.parametrize(
    ("cell", "error"),
    [
        (0, IdError),
        (2**64 - 1, IdError),
        (int(ids_of(GRID, [[1, 1, 1]])[0]) ^ 1, ParityError),
        *(
            (int(ids_of(Grid(half_edge_m=0.4, frame=f, tier=t, lod=d), [[1, 1, 1]])[0]), DomainError)
            for f, t, d in ((4, 1, 7), (5, 0, 7), (5, 1, 8))
        ),
    ],
)
def test_cells_of_another_grid_are_refused(cell: int, error: type[Exception]) -> None:
    rays, good = Rays(GRID), ids_of(GRID, [[1, 1, 1]])
    rays.load(POINTS, IDENTITY)
    with pytest.raises(error, match="cell_id"):
        rays.passes(np.append(good, np.uint64(cell)))
    assert rays.passes(good).shape == (1,)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("points", POINTS.astype(np.float64), TypeError),
        ("points", POINTS[:, :2].copy(), ValueError),
        ("points", np.asfortranarray(POINTS), ValueError),
        ("pose", IDENTITY.tolist(), TypeError),
        ("pose", np.append(IDENTITY, 1.0), ValueError),
        ("cell_id", np.zeros(3, np.int64), TypeError),
        ("cell_id", np.zeros((3, 1), np.uint64), ValueError),
        ("cell_id", np.zeros(6, np.uint64)[::2], ValueError),
    ],
)
def test_a_wrong_array_is_refused_by_name(name: str, value: Any, error: type[Exception]) -> None:
    rays = Rays(GRID)
    with pytest.raises(error, match=name):
        if name == "cell_id":
            rays.passes(value)
        else:
            rays.load(**{"points": POINTS, "pose": IDENTITY, name: value})
