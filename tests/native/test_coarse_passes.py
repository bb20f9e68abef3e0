"""Passes of coarse cells against all rays in float64, and against a march along each ray."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from native import index64, lattice
from native.binning import Binner
from native.errors import DomainError, IdError, LodError, ParityError
from native.grid import Grid
from native.visibility import Rays
from tests.native.oracle import CIRCUMRADIUS, F32, F64, crossings, ids_of, matrix_of, rays_of
from tests.native.recorded import sweep
from tests.native.test_visibility import GRID, IDENTITY, POSES, block, marched, shell

Counts = NDArray[np.int64]


def coarse_passes(points: F32, pose: F64, cell_id: NDArray[np.uint64]) -> NDArray[np.uint32]:
    rays = Rays(GRID)
    rays.load(points, pose)
    return rays.coarse_passes(cell_id)


def finest_of(cell: int, *, on_map: bool = True) -> NDArray[np.int32]:
    """Sites of the grid's LOD whose ancestor a cell is, those without an id left out."""
    parts = index64.decode(np.array([cell], np.uint64))
    sites = parts.sites
    for _ in range(GRID.lod - int(parts.lod[0])):
        sites = lattice.children(sites).reshape(-1, 3)
    ends = (sites < index64.COORDINATE_MIN) | (sites > index64.COORDINATE_MAX)
    return sites[~ends.any(axis=1)] if on_map else sites


def union_bounds(rays: F64, centers: F64, tolerance: float = 1e-6) -> tuple[int, int]:
    """Fewest and most passes of a union, when faces may be off by the tolerance times the distance."""
    surely_passes, may_pass, surely_ends, may_end = np.zeros((4, len(rays)), bool)
    for center in centers:
        slack = tolerance * (1 + float(np.linalg.norm(center)))
        enter, leave = crossings(rays, center, -slack)
        enter_out, leave_out = crossings(rays, center, slack)
        inside, near = (enter < leave) & (leave > 0), (enter_out < leave_out) & (leave_out > 0)
        surely_passes |= inside & (leave_out < 1)
        may_pass |= near & (leave < 1)
        surely_ends |= inside & (enter < 1) & (leave >= 1)
        may_end |= near & (enter_out < 1) & (leave_out >= 1)
    return int((surely_passes & ~may_end).sum()), int((may_pass & ~surely_ends).sum())


def bounds(
    points: F32, pose: F64, cell_id: NDArray[np.uint64], *, on_map: bool = True
) -> tuple[Counts, Counts]:
    """Fewest and most passes of each cell."""
    rays = rays_of(GRID, points, pose)
    units = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    origin, found = pose.reshape(3, 4)[:, 3] / GRID.half_edge_m, []
    for cell in cell_id.tolist():
        centers = finest_of(cell, on_map=on_map) - origin
        middle = centers.mean(axis=0)
        reach = float(np.linalg.norm(centers - middle, axis=1).max()) + CIRCUMRADIUS + 0.1
        near = np.linalg.norm(units * (units @ middle)[:, None] - middle, axis=1) < reach
        found.append(union_bounds(rays[near], centers))
    low, high = np.array(found, np.int64).T
    return low, high


# ---- against all rays


@pytest.mark.parametrize("pose", POSES.values(), ids=POSES)
@pytest.mark.parametrize(("levels", "certain"), [(1, 0.9), (2, 0.75)])
def test_cells_around_the_sensor_match_all_rays(pose: F64, levels: int, certain: float) -> None:
    cells = np.unique(index64.ancestor(block(GRID, pose, 7), GRID.lod - levels))
    points = shell(1, 400, 5.0)
    got = coarse_passes(points, pose, cells)
    low, high = bounds(points, pose, cells)
    assert ((low <= got) & (got <= high)).all()
    assert (low == high).mean() >= certain and (got > 0).mean() > 0.5


@pytest.mark.parametrize("levels", [1, 2])
def test_cells_of_a_recorded_sweep_match_all_rays(levels: int) -> None:
    s, rng = sweep(7), np.random.default_rng(levels)
    hit = Binner(GRID).run(s.points, s.intensity, s.pose).cell_id
    cells = np.sort(
        rng.choice(np.unique(index64.ancestor(hit, GRID.lod - levels)), 60 // levels, replace=False)
    )
    points = s.points[rng.choice(len(s.points), 8000, replace=False)]
    got = coarse_passes(points, s.pose, cells)
    low, high = bounds(points, s.pose, cells)
    assert ((low <= got) & (got <= high)).all()
    assert ((got == low) & (got == high)).mean() > 0.5 and got.sum() > 500


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_exactly_the_marched_cells_are_passed(levels: int) -> None:
    """A walker on the ray meets sites; their ancestors but for the return's are those that it passes."""
    pose = POSES["turned"]
    start = pose.reshape(3, 4)[:, 3] / GRID.half_edge_m
    extra = total = back = 0
    for point in shell(5, 60, 12.0):
        (ray,) = rays_of(GRID, point[None], pose)
        above = index64.ancestor(ids_of(GRID, marched(ray, start, 0.01)), GRID.lod - levels)
        walked = set(above.tolist()) - {int(above[-1])}
        back += int((np.diff(np.flatnonzero(above == above[-1])) > 1).sum())
        near = np.unique(lattice.neighbors(index64.decode(above).sites).reshape(-1, 3), axis=0)
        grid = Grid(half_edge_m=1.0, frame=GRID.frame, tier=GRID.tier, lod=GRID.lod - levels)
        cells = np.union1d(above, ids_of(grid, near))
        got = coarse_passes(point[None], pose, cells)
        assert got.max() <= 1
        passed = set(cells[got == 1].tolist())
        assert walked <= passed
        extra, total = extra + len(passed - walked), total + len(passed)
    assert total > 100 and extra <= 0.03 * total  # corners cut within one step
    assert back > 0 or levels > 1  # some rays leave the union that they end in, and come back


# ---- invariants


def test_a_cell_of_the_grid_itself_has_its_own_passes() -> None:
    s, rays = sweep(2), Rays(GRID)
    rays.load(s.points, s.pose)
    hit = Binner(GRID).run(s.points, s.intensity, s.pose).cell_id
    cells = np.concatenate([hit[::5], block(GRID, s.pose, 4)])
    assert np.array_equal(rays.coarse_passes(cells), rays.passes(cells))


def test_passes_are_neither_a_sum_nor_less_than_any_childs_share() -> None:
    s, rays = sweep(2), Rays(GRID)
    hit = Binner(GRID).run(s.points, s.intensity, s.pose).cell_id
    parents = np.unique(index64.parent(hit))[::7].copy()
    rays.load(s.points, s.pose)
    got = rays.coarse_passes(parents).astype(np.int64)
    of_children = rays.passes(index64.children(parents).ravel()).reshape(-1, 8).astype(np.int64)
    ended = np.zeros(len(parents), np.int64)
    every = dataclasses.replace(GRID, range_min_m=0.0, range_max_m=1e4)
    bins = Binner(every).run(s.points, s.intensity, s.pose)
    above = index64.parent(bins.cell_id)
    row = np.minimum(np.searchsorted(parents, above), len(parents) - 1)
    np.add.at(ended, row[parents[row] == above], bins.hits[parents[row] == above])
    assert (got <= of_children.sum(axis=1)).all() and (got >= of_children.max(axis=1) - ended).all()
    assert (got < of_children.sum(axis=1)).mean() > 0.3


def test_a_returns_own_coarse_cell_is_not_passed_by_its_ray() -> None:
    s = sweep(11)
    rng, binner, rays = np.random.default_rng(1), Binner(GRID), Rays(GRID)
    for point in s.points[rng.choice(len(s.points), 100, replace=False)]:
        own = binner.run(point[None], np.zeros(1, np.float32), s.pose).cell_id
        rays.load(point[None], s.pose)
        for lod in (6, 5, 3):
            assert rays.coarse_passes(index64.ancestor(own, lod)).tolist() == [0] * len(own)


def test_parts_add_up_and_order_does_not_matter() -> None:
    pose, points = POSES["turned"], shell(8, 2000, 30.0)
    cells = np.unique(index64.ancestor(block(GRID, pose, 8), 5))
    want = coarse_passes(points, pose, cells)
    assert want.sum() > 1000
    shuffled = points[np.random.default_rng(0).permutation(len(points))]
    assert np.array_equal(coarse_passes(shuffled, pose, cells), want)
    assert np.array_equal(
        sum(coarse_passes(part, pose, cells) for part in (points[:700], points[700:])), want
    )
    assert np.array_equal(coarse_passes(points, pose, cells[::-1].copy()), want[::-1])


def test_levels_may_be_mixed() -> None:
    pose, points = POSES["identity"], shell(9, 500, 20.0)
    cells = [np.unique(index64.ancestor(block(GRID, pose, 5), lod)) for lod in (5, 7, 6)]
    apart = np.concatenate([coarse_passes(points, pose, part) for part in cells])
    assert np.array_equal(coarse_passes(points, pose, np.concatenate(cells)), apart)


def test_cells_without_an_id_do_not_count() -> None:
    """Parents of cells at the end of the map have children beyond it, where nothing is ever hit."""
    top = index64.COORDINATE_MAX
    sites = [[top, y, z] for y in (1, 3, 5) for z in (1, 3)] + [
        [top - 1, y, z] for y in (2, 4) for z in (0, 2)
    ]
    parents = np.unique(index64.parent(ids_of(GRID, sites)))
    pose = matrix_of((top * GRID.half_edge_m, -1.7, 0.3))
    points = shell(3, 2000, 8.0)
    got = coarse_passes(points, pose, parents)
    low, high = bounds(points, pose, parents)
    assert ((low <= got) & (got <= high)).all() and (low == high).mean() > 0.5
    assert (bounds(points, pose, parents, on_map=False)[0] > got).any()


def test_without_rays_nothing_is_passed() -> None:
    rays = Rays(GRID)
    cells = np.unique(index64.ancestor(block(GRID, IDENTITY, 3), 6))
    assert not rays.coarse_passes(cells).any()
    assert rays.coarse_passes(np.empty(0, np.uint64)).shape == (0,)


# ---- errors


@pytest.mark.parametrize(
    ("cell", "error"),
    [
        (0, IdError),
        (int(ids_of(GRID, [[1, 1, 1]])[0]) ^ 1, ParityError),
        *(
            (int(ids_of(Grid(half_edge_m=0.4, frame=f, tier=t, lod=d), [[1, 1, 1]])[0]), e)
            for f, t, d, e in (
                (4, 1, 6, DomainError),
                (5, 0, 6, DomainError),
                (5, 1, 8, LodError),
                (5, 1, 0, LodError),
            )
        ),
    ],
)
def test_cells_of_another_grid_are_refused(cell: int, error: type[Exception]) -> None:
    rays, good = Rays(GRID), ids_of(GRID, [[1, 1, 1]])
    with pytest.raises(error, match="cell_id"):
        rays.coarse_passes(np.append(good, np.uint64(cell)))
    assert rays.coarse_passes(good).shape == (1,)
