"""Free cells against testing every ray with every finest cell in double, and on recorded sweeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from native import index64, lattice
from native.errors import DomainError, LodError, PoseError, RangeError
from native.freecells import FreeCellFinder, FreeCells
from native.grid import Grid
from native.visibility import Rays
from tests.native.oracle import F64, crossings, ids_of, matrix_of, nearest_site
from tests.native.recorded import sweep

GRID = Grid(half_edge_m=0.5, frame=5, tier=1, lod=7)
TOLERANCE = 1e-9


def finest_in(cell: int, levels: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Sites of the finest cells of a coarse one."""
    sites = index64.decode(np.array([cell], np.uint64)).sites
    for _ in range(levels):
        sites = lattice.children(sites).reshape(-1, 3)
    return sites


def bounds(
    grid: Grid, levels: int, ends: F64, is_miss: bool, pose: F64, cells: list[int]
) -> tuple[list[int], list[int]]:
    """Fewest and most of the rays that pass each cell, when faces may be off by the tolerance.

    ends : (N, 3), from the sensor to the end of each ray, half edges, map axes
    """
    origin = pose.reshape(3, 4)[:, 3] / grid.half_edge_m
    held = [
        index64.ancestor(ids_of(grid, [nearest_site(origin + end)]), grid.lod - levels)[0] for end in ends
    ]
    low, high = [], []
    for cell in cells:
        free = np.array([is_miss or home != cell for home in held], np.bool_)
        sure, maybe = np.zeros(len(ends), np.bool_), np.zeros(len(ends), np.bool_)
        for site in finest_in(cell, levels):
            inner_enter, inner_leave = crossings(ends, site - origin, -TOLERANCE)
            outer_enter, outer_leave = crossings(ends, site - origin, TOLERANCE)
            sure |= (inner_enter < inner_leave) & (inner_leave > 0) & (outer_leave < 1)
            maybe |= (outer_enter < outer_leave) & (outer_leave > 0) & (inner_leave < 1)
        low.append(int((sure & free).sum()))
        high.append(int((maybe & free).sum()))
    return low, high


def around(found: FreeCells) -> list[int]:
    """The cells found and their neighbours."""
    parts = index64.decode(found.cell_id)
    if not len(found.cell_id):
        return []
    sites = np.concatenate([parts.sites, lattice.neighbors(parts.sites).reshape(-1, 3)])
    frame, tier, lod = (int(part[0]) for part in parts[1:])
    return np.unique(index64.encode(sites, frame=frame, tier=tier, lod=lod)).tolist()


coordinates = st.one_of(st.floats(-6, 6, width=32), st.sampled_from([0.0, 0.5, -1.0, 2.0, 0.25]))
triples = st.lists(st.tuples(coordinates, coordinates, coordinates), min_size=1, max_size=6)


@settings(max_examples=8, deadline=None)
@example(points=[(1.0, 2.0, -0.5)], misses=[(-3.0, 0.5, 0.25)], levels=2, yaw=0.5, x=1.0)
@given(points=triples, misses=triples, levels=st.integers(0, 1), yaw=st.floats(-3, 3), x=st.floats(-20, 20))
def test_every_cell_is_counted_as_often_as_rays_pass_it(
    points: Any, misses: Any, levels: int, yaw: float, x: float
) -> None:
    pose = matrix_of((x, -3.3, 1.7), yaw=yaw, pitch=0.1)
    returns = np.array(points, np.float32)
    directions = np.array(misses, np.float32)
    usable = directions[(np.abs(directions) > 1e-3).any(axis=1)]
    returns = returns[(np.abs(returns) > 1e-3).any(axis=1)]
    found = FreeCellFinder(GRID, levels, 5.0).run(returns, pose, usable)
    cells = around(found)
    turn = pose.reshape(3, 4)[:, :3] / GRID.half_edge_m
    there = returns.astype(np.float64) @ turn.T
    short = there * np.minimum(1, 10.0 / np.linalg.norm(there, axis=1))[:, None]
    far = usable.astype(np.float64) @ turn.T
    far *= (10.0 / np.linalg.norm(far, axis=1))[:, None]
    got = dict(
        zip(
            found.cell_id.tolist(),
            zip(found.passes.tolist(), found.misses.tolist(), strict=True),
            strict=True,
        )
    )
    low, high = bounds_to(there, short, levels, pose, cells)
    miss_low, miss_high = bounds(GRID, levels, far, True, pose, cells)
    for i, cell in enumerate(cells):
        passes, missed = got.get(cell, (0, 0))
        assert low[i] <= passes <= high[i], (cell, low[i], passes, high[i])
        assert miss_low[i] <= missed <= miss_high[i]


def bounds_to(
    there: F64, short: F64, levels: int, pose: F64, cells: list[int]
) -> tuple[list[int], list[int]]:
    """As ``bounds``, for rays that are followed to ``short`` only while their returns lie at ``there``."""
    low, high = [0] * len(cells), [0] * len(cells)
    origin = pose.reshape(3, 4)[:, 3] / GRID.half_edge_m
    for end, stop in zip(there, short, strict=True):
        home = index64.ancestor(ids_of(GRID, [nearest_site(origin + end)]), GRID.lod - levels)[0]
        one_low, one_high = bounds(GRID, levels, stop[None], True, pose, cells)
        for i, cell in enumerate(cells):
            if cell != home:
                low[i] += one_low[i]
                high[i] += one_high[i]
    return low, high


@pytest.mark.data
@pytest.mark.parametrize("levels", [0, 1, 2])
def test_recorded_sweeps_agree_with_the_count_for_given_cells(levels: int) -> None:
    """``Rays.coarse_passes`` decides in float32, so a few rays that graze an edge differ."""
    s = sweep(3)
    grid = Grid(half_edge_m=0.4, frame=2, lod=7)
    points = np.ascontiguousarray(s.points[::20])
    found = FreeCellFinder(grid, levels, 100.0).run(points, s.pose)
    rays = Rays(grid)
    rays.load(points, s.pose)
    other = rays.coarse_passes(found.cell_id).astype(np.int64)
    assert len(found.cell_id) > 1000 and not found.misses.any()
    assert np.abs(other - found.passes).sum() * 2000 < found.passes.sum()


@pytest.mark.data
def test_rays_without_return_free_what_no_return_lies_behind() -> None:
    s = sweep(0)
    grid = Grid(half_edge_m=0.4, frame=2, lod=7)
    up = np.array([[0, 0, 1], [0.1, 0, 1], [0, 3, 9]], np.float32)
    finder = FreeCellFinder(grid, 2, 40.0)
    without, both = finder.run(s.points, s.pose), finder.run(s.points, s.pose, up)
    new = ~np.isin(both.cell_id, without.cell_id)
    assert (both.misses[new] > 0).all() and not both.passes[new].any() and 10 < new.sum() < 200
    kept = np.isin(both.cell_id, without.cell_id)
    assert np.array_equal(both.passes[kept], without.passes)


def test_the_order_of_rays_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(scale=8, size=(500, 3)).astype(np.float32)
    finder = FreeCellFinder(GRID, 1, 30.0)
    one, two = finder.run(points, matrix_of()), finder.run(points[::-1].copy(), matrix_of())
    assert np.array_equal(one.cell_id, two.cell_id) and np.array_equal(one.passes, two.passes)


BAD = np.array(
    [[np.nan, 1, 1], [np.inf, 0, 0], [1e30, 0, 0], [0, 0, 0], [-0.0, 0, 0], [1, -np.inf, 0]], np.float32
)


def test_unusable_points_and_directions_count_for_nothing() -> None:
    finder = FreeCellFinder(GRID, 1, 30.0)
    assert len(finder.run(BAD, matrix_of(), BAD).cell_id) == 0
    tiny = np.full((1, 3), 1e-40, np.float32)
    assert len(finder.run(tiny, matrix_of()).cell_id) == 0
    assert len(finder.run(np.empty((0, 3), np.float32), matrix_of(), tiny).cell_id) > 0


def refused(finder: FreeCellFinder, points: Any, pose: Any, misses: Any) -> None:
    finder.run(points, pose, misses)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"points": np.zeros((2, 3))}, TypeError, "points: expected dtype float32"),
        ({"points": np.zeros((2, 2), np.float32)}, ValueError, "points: expected shape"),
        ({"points": np.zeros((4, 3), np.float32)[::2]}, ValueError, "points: expected a C-ordered"),
        ({"points": np.zeros((524_288, 3), np.float32)}, DomainError, "points, misses, reach_m"),
        ({"misses": np.zeros((2, 3))}, TypeError, "misses: expected dtype float32"),
        ({"misses": [[1, 0, 0]]}, TypeError, "misses: expected a numpy array"),
        ({"pose": np.zeros(12)}, PoseError, "pose"),
        ({"pose": np.full(12, np.nan)}, PoseError, "pose"),
        ({"pose": 2 * matrix_of()}, PoseError, "pose"),
        ({"pose": matrix_of((1e6, 0, 0))}, RangeError, "pose"),
        ({"pose": matrix_of().astype(np.float32)}, TypeError, "pose"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(change: dict[str, Any], error: type[Exception], text: str) -> None:
    finder = FreeCellFinder(GRID, 1, 30.0)
    good = {"points": np.ones((2, 3), np.float32), "misses": np.ones((1, 3), np.float32), "pose": matrix_of()}
    with pytest.raises(error, match=text):
        refused(finder, **{**good, **change})
    assert len(finder.run(good["points"], good["pose"]).cell_id) > 0


@pytest.mark.parametrize("reach_m", [0.0, -1.0, np.nan, np.inf, 1e30])
def test_a_reach_out_of_domain_is_refused(reach_m: float) -> None:
    with pytest.raises(DomainError, match="reach_m"):
        FreeCellFinder(GRID, 1, reach_m).run(np.ones((2, 3), np.float32), matrix_of())


@pytest.mark.parametrize(("levels", "lod"), [(7, 7), (-1, 7), (300, 7), (3, 2)])
def test_levels_that_are_not_there_are_refused(levels: int, lod: int) -> None:
    with pytest.raises(LodError, match="levels"):
        FreeCellFinder(Grid(half_edge_m=0.5, lod=lod), levels, 10.0)
