"""Cells of regions against oracles that look at one cell at a time, and against the regions' own volumes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from native import index64, regions
from native.errors import CapacityError, DomainError, PoseError, RangeError
from native.grid import Grid
from native.regions import Covered
from tests.native import region_oracle as oracle
from tests.native.oracle import F64, matrix_of

GRID = Grid(half_edge_m=0.5, frame=3, tier=1, lod=6)
NEAR = 1e-9
"""Half edges within which a region's boundary leaves a cell in doubt."""

POINTS = oracle.points_in_a_cell(40_000)
SAMPLED = 4 / math.sqrt(len(POINTS))
"""Four standard deviations of a share that is counted."""


def f64(*values: Any) -> F64:
    """Numbers as a vector, one list as a table of one row, one number as a column of one row."""
    return np.array(values, np.float64)


def sites_of(cells: Covered, row: int = 0) -> NDArray[np.int32]:
    return index64.decode(np.ascontiguousarray(cells.row(row))).sites


@dataclass
class Region:
    """One region in half edges: how to ask for its cells, and what it is to the oracles.

    to_region : distance of a point, 0 or less inside
    to_cell : distance of the cell about a site, 0 or less where they meet
    """

    ask: Any
    volume: float
    low: F64
    high: F64
    to_region: Any
    to_cell: Any
    planes: F64 | None = None

    def cells(self, **options: Any) -> Covered:
        """Of a grid with half edges of half a metre."""
        found: Covered = self.ask(**options)
        return found


def capsule(a: F64, b: F64, radius: float) -> Region:
    def to_axis(points: F64) -> F64:
        along = b - a
        length2 = float(along @ along)
        t = np.clip((points - a) @ along / length2, 0, 1) if length2 else np.zeros(len(points))
        return np.asarray(np.linalg.norm(points - a - t[:, None] * along, axis=1) - radius)

    def ask(**options: Any) -> Covered:
        h = GRID.half_edge_m
        if (a == b).all():
            return regions.spheres(GRID, f64(a * h), f64(radius * h), **options)
        return regions.capsules(GRID, f64(a * h), f64(b * h), f64(radius * h), **options)

    def to_cell(site: F64) -> float:
        if (a == b).all():
            return oracle.cell_distance(a - site) - radius
        return oracle.cell_segment_distance(a - site, b - site) - radius

    volume = math.pi * radius**2 * (4 / 3 * radius + float(np.linalg.norm(b - a)))
    return Region(ask, volume, np.minimum(a, b) - radius, np.maximum(a, b) + radius, to_axis, to_cell)


def polytope(ask: Any, corners: F64, planes: F64, volume: float) -> Region:
    size = np.linalg.norm(planes[:, :3], axis=1)

    def to_region(points: F64) -> F64:
        return np.asarray(((points @ planes[:, :3].T - planes[:, 3]) / size).max(axis=1))

    def to_cell(site: F64) -> float:
        return -oracle.meets(planes, site)

    return Region(ask, volume, corners.min(axis=0), corners.max(axis=0), to_region, to_cell, planes)


def box(low: F64, high: F64) -> Region:
    planes = np.vstack([np.column_stack([np.eye(3), high]), np.column_stack([-np.eye(3), -low])])
    h = GRID.half_edge_m

    def ask(**options: Any) -> Covered:
        return regions.boxes(GRID, f64(low * h), f64(high * h), **options)

    return polytope(ask, np.stack([low, high]), planes, float(np.prod(high - low)))


def oriented_box(middle: F64, yaw: float, pitch: float, half: F64) -> Region:
    pose = matrix_of(tuple(middle), yaw, pitch).reshape(3, 4)
    axes = pose[:, :3].T
    at = axes @ middle
    planes = np.vstack([np.column_stack([axes, at + half]), np.column_stack([-axes, half - at])])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T
    scaled = pose.copy()
    scaled[:, 3] *= GRID.half_edge_m

    def ask(**options: Any) -> Covered:
        return regions.oriented_boxes(GRID, f64(scaled.reshape(12)), f64(half * GRID.half_edge_m), **options)

    return polytope(ask, middle + (signs * half) @ axes, planes, float(8 * np.prod(half)))


def frustum(apex: F64, yaw: float, pitch: float, tangent: F64, near: float, far: float) -> Region:
    pose = matrix_of(tuple(apex), yaw, pitch).reshape(3, 4)
    x, y, z = pose[:, :3].T
    tx, ty = tangent
    normals = [z, -z, x - tx * z, -x - tx * z, y - ty * z, -y - ty * z]
    offsets = [z @ apex + far, -(z @ apex) - near] + [n @ apex for n in normals[2:]]
    corners = f64(
        *(apex + d * (z + i * tx * x + j * ty * y) for d in (near, far) for i in (-1, 1) for j in (-1, 1))
    )
    scaled, h = pose.copy(), GRID.half_edge_m
    scaled[:, 3] *= h

    def ask(**options: Any) -> Covered:
        arguments = f64(scaled.reshape(12)), f64(tangent), f64(near * h), f64(far * h)
        return regions.frusta(GRID, *arguments, **options)

    volume = 4 * tx * ty * (far**3 - near**3) / 3
    return polytope(ask, corners, np.column_stack([f64(*normals), f64(*offsets)]), float(volume))


place = st.floats(-6, 6, allow_nan=False)
places = st.tuples(place, place, place).map(lambda v: f64(*v))
size = st.floats(0.05, 4)
angle = st.floats(-3, 3)
spheres = st.builds(lambda a, r: capsule(a, a, r), places, size)
capsules = st.builds(capsule, places, places, st.floats(0.05, 2))
boxes = st.builds(
    lambda low, s: box(low, low + s), places, st.tuples(size, size, size).map(lambda v: f64(*v))
)
oriented = st.builds(
    oriented_box, places, angle, angle, st.tuples(size, size, size).map(lambda v: f64(*v) / 2)
)
tangents = st.tuples(st.floats(0.1, 1.5), st.floats(0.1, 1.5)).map(lambda v: f64(*v))
frusta = st.builds(
    lambda a, yaw, pitch, t, near, deep: frustum(a, yaw, pitch, t, near, near + deep),
    places, angle, angle, tangents, st.floats(0, 2), st.floats(0.2, 4),
)  # fmt: skip
any_region = st.one_of(spheres, capsules, boxes, oriented, frusta)


@settings(deadline=None, max_examples=60)
@given(any_region)
def test_centers_are_those_inside(region: Region) -> None:
    got = set(map(tuple, sites_of(region.cells(mode="center")).tolist()))
    around = oracle.sites_in_box(region.low - 2, region.high + 2)
    for site, outside in zip(
        map(tuple, around.tolist()), region.to_region(around.astype(float)), strict=True
    ):
        if abs(outside) > NEAR:
            assert (site in got) == (outside < 0), (site, outside)
    assert got <= set(map(tuple, around.tolist()))


@settings(deadline=None, max_examples=40)
@given(any_region, st.randoms(use_true_random=False))
def test_cells_that_meet_the_region_are_listed(region: Region, random: Any) -> None:
    cells = region.cells(mode="intersects")
    got = set(map(tuple, sites_of(cells).tolist()))
    around = oracle.sites_in_box(region.low - 2, region.high + 2)
    away = region.to_region(around.astype(float))
    near = [tuple(site) for site, outside in zip(around.tolist(), away, strict=True) if 0 < outside < 1.2]
    for site in random.sample(near, min(20, len(near))):
        apart = region.to_cell(np.array(site, float))
        if abs(apart) > 1e-7:  # of the oracles: a linear program, or a search along the axis
            assert (site in got) == (apart < 0), (site, apart)
    for site, outside in zip(map(tuple, around.tolist()), away, strict=True):
        if outside < -NEAR:
            assert site in got
        if outside > 1.119:  # beyond the corners of the cell
            assert site not in got


@settings(deadline=None, max_examples=25)
@given(any_region)
def test_shares_add_up_to_the_volume_of_the_region(region: Region) -> None:
    cells = region.cells(coverage=True)
    assert cells.coverage is not None
    assert ((cells.coverage >= 0) & (cells.coverage <= 1)).all()
    volume = float(cells.coverage.sum()) * oracle.CELL_VOLUME
    assert volume == pytest.approx(region.volume, rel=1e-9, abs=1e-9)
    center = region.cells(mode="center", coverage=True)
    shares = dict(zip(cells.cell_id.tolist(), cells.coverage.tolist(), strict=True))
    assert center.coverage is not None
    assert [shares[i] for i in center.cell_id.tolist()] == center.coverage.tolist()


@settings(deadline=None, max_examples=10)
@given(any_region, st.randoms(use_true_random=False))
def test_each_share_is_that_of_its_cell(region: Region, random: Any) -> None:
    cells = region.cells(coverage=True)
    assert cells.coverage is not None
    for i in random.sample(range(len(cells.cell_id)), min(12, len(cells.cell_id))):
        site = sites_of(cells)[i].astype(float)
        if region.planes is not None:
            exact = oracle.share_of_planes(region.planes, site)
            assert cells.coverage[i] == pytest.approx(exact, abs=1e-6)
        counted = float((region.to_region(POINTS + site) <= 0).mean())
        assert abs(cells.coverage[i] - counted) < SAMPLED


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(*[st.integers(-8, 8)] * 6), min_size=1, max_size=3))
def test_boxes_of_whole_half_edges_are_exact(drawn: list[tuple[int, ...]]) -> None:
    """Every touch counts: a face on a face, a corner in a corner; shares are exact multiples."""
    ends = np.sort(np.array(drawn, float).reshape(-1, 2, 3), axis=1)
    h = GRID.half_edge_m
    low, high = (np.ascontiguousarray(ends[:, k]) * h for k in (0, 1))
    center, meet = (regions.boxes(GRID, low, high, mode=mode) for mode in ("center", "intersects"))
    for row, (a, b) in enumerate(ends):
        around = oracle.sites_in_box(a - 3, b + 3)
        inside = ((around >= a) & (around <= b)).all(axis=1)
        assert sorted(sites_of(center, row).tolist()) == sorted(around[inside].tolist())
        beyond = np.sort(np.maximum(np.maximum(a - around, around - b), 0), axis=1)
        touches = (beyond[:, 2] <= 1) & (
            2 * beyond.sum(axis=1) <= 3
        )  # the box's nearest point is in the cell
        assert sorted(sites_of(meet, row).tolist()) == sorted(around[touches].tolist())


def test_touching_spheres_and_points() -> None:
    """A ball that touches a cell's face from outside meets it; a point belongs to all cells that share it."""
    h = GRID.half_edge_m
    touching = regions.spheres(GRID, f64([3 * h, 0, 0]), f64(2 * h), mode="intersects")
    assert [0, 0, 0] in sites_of(touching).tolist()
    short = regions.spheres(GRID, f64([3 * h, 0, 0]), f64(2 * h - 1e-9), mode="intersects")
    assert [0, 0, 0] not in sites_of(short).tolist()
    corner = regions.spheres(GRID, f64([h, h / 2, 0]), f64(0.0), coverage=True)
    assert sorted(sites_of(corner).tolist()) == [[0, 0, 0], [1, 1, -1], [1, 1, 1], [2, 0, 0]]
    assert corner.coverage is not None and not corner.coverage.any()
    site = regions.spheres(GRID, f64([h, -h, 3 * h]), f64(0.0), mode="center")
    assert sites_of(site).tolist() == [[1, -1, 3]]
    reach = regions.spheres(GRID, f64([0, 0, 0]), f64(2 * h), mode="center")
    assert len(reach.cell_id) == 15  # both shells of neighbours, the outer one at the very radius


def test_points_are_in_the_cell_that_they_snap_to() -> None:
    from native.lattice import snap

    points = np.random.default_rng(4).uniform(-20, 20, (500, 3))
    cells = regions.spheres(GRID, points, np.zeros(500))
    sites = index64.encode(
        snap(np.ascontiguousarray(points / GRID.half_edge_m)), frame=GRID.frame, tier=GRID.tier, lod=GRID.lod
    )
    assert cells.cell_id.tolist() == sites.tolist() and cells.offsets.tolist() == list(range(501))


def test_a_batch_is_its_rows() -> None:
    rng = np.random.default_rng(8)
    center, radius = rng.uniform(-9, 9, (40, 3)), rng.uniform(0, 3, 40)
    batch = regions.spheres(GRID, center, radius, coverage=True)
    assert len(batch) == 40 and batch.offsets[0] == 0 and batch.offsets[-1] == len(batch.cell_id)
    assert batch.coverage is not None
    for i in range(40):
        one = regions.spheres(GRID, center[i : i + 1], radius[i : i + 1], coverage=True)
        assert one.coverage is not None
        assert batch.row(i).tolist() == one.cell_id.tolist()
        assert batch.coverage[batch.offsets[i] : batch.offsets[i + 1]].tolist() == one.coverage.tolist()
        assert (np.diff(batch.row(i).astype(np.int64)) > 0).all()
    parts = index64.decode(batch.cell_id)
    assert set(parts.frame) == {3} and set(parts.tier) == {1} and set(parts.lod) == {6}
    with pytest.raises(IndexError):
        batch.row(40)


SHIFT = f64(30_000, -30_000, 10_000)


@pytest.mark.parametrize(
    "make",
    [
        lambda t: capsule(f64(0.3, 0.2, 0.1) + t, f64(0.3, 0.2, 0.1) + t, 2.3),
        lambda t: capsule(f64(0.3, 0.2, 0.1) + t, f64(4.1, -3.3, 2.2) + t, 1.13),
        lambda t: box(f64(0.3, 0.2, 0.1) + t, f64(2.7, 3.1, 2.4) + t),
        lambda t: oriented_box(f64(0.3, 0.2, 0.1) + t, 0.4, 0.3, f64(1.7, 2.2, 0.9)),
        lambda t: frustum(f64(0.3, 0.2, 0.1) + t, 0.4, 0.3, f64(0.7, 0.4), 1.0, 5.0),
    ],
    ids=["sphere", "capsule", "box", "oriented_box", "frustum"],
)
@pytest.mark.parametrize("mode", ["center", "intersects"])
def test_a_region_far_from_the_origin_has_the_same_cells(make: Any, mode: str) -> None:
    here, there = (make(t).cells(mode=mode, coverage=True) for t in (f64(0, 0, 0), SHIFT))
    assert here.coverage is not None and there.coverage is not None
    one, other = sites_of(here), sites_of(there) - SHIFT.astype(np.int32)
    order, far = np.lexsort(one.T), np.lexsort(other.T)
    assert len(one) > 2 and one[order].tolist() == other[far].tolist()
    assert np.allclose(here.coverage[order], there.coverage[far], rtol=0, atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("mode", ["center", "intersects"])
def test_regions_beyond_the_map_are_refused(axis: int, mode: Any) -> None:
    """Up to the last site, and not one half edge further: nothing is cut off, nothing wraps around."""
    h, more = GRID.half_edge_m, 1.0 if mode == "intersects" else 0.0
    for end, sign in ((32767.0, 1), (-32768.0, -1)):
        middle = np.zeros((1, 3))
        middle[0, axis] = (end - sign * (2 + more)) * h
        cells = regions.spheres(GRID, middle, f64(2 * h), mode=mode)
        assert sites_of(cells)[:, axis].max() <= 32767 and sites_of(cells)[:, axis].min() >= -32768
        middle[0, axis] = (end - sign * (1 + more)) * h
        with pytest.raises(RangeError, match="spheres: row 1: cell beyond the map"):
            regions.spheres(GRID, np.vstack([[[0, 0, 0]], middle]), np.full(2, 2 * h), mode=mode)


@pytest.mark.parametrize("far", [1e6, 1e30, 1e300, -1e308])
def test_far_away_is_beyond_the_map(far: float) -> None:
    place, one = f64([far, 0, 0]), f64(1.0)
    pose = f64(matrix_of((far, 0, 0)))
    for ask in (
        lambda: regions.spheres(GRID, place, one),
        lambda: regions.spheres(GRID, f64([0, 0, 0]), f64(abs(far))),
        lambda: regions.boxes(GRID, np.minimum(place, -1), np.maximum(place, 1)),
        lambda: regions.capsules(GRID, f64([0, 0, 0]), place, one),
        lambda: regions.oriented_boxes(GRID, pose, f64([1, 1, 1])),
        lambda: regions.oriented_boxes(GRID, f64(matrix_of()), f64([1, abs(far), 1])),
        lambda: regions.frusta(GRID, pose, f64([1, 1]), f64(0.0), one),
        lambda: regions.frusta(GRID, f64(matrix_of()), f64([abs(far), 1]), f64(0.0), one),
        lambda: regions.frusta(GRID, f64(matrix_of()), f64([1, 1]), f64(0.0), f64(abs(far))),
    ):
        with pytest.raises(RangeError, match="row 0"):
            ask()


TINY = 5e-324


def test_tiny_and_flat_regions_have_cells_and_no_volume() -> None:
    zero, identity = f64([0, 0, 0]), f64(matrix_of())
    flat = f64([3, 2, 0])
    for cells in (
        regions.spheres(GRID, zero + TINY, f64(TINY), coverage=True),
        regions.capsules(GRID, zero, zero + TINY, f64(0.0), coverage=True),
        regions.capsules(GRID, zero, flat, f64(0.0), coverage=True),
        regions.boxes(GRID, zero, zero, coverage=True),
        regions.boxes(GRID, zero, flat, coverage=True),
        regions.boxes(GRID, zero + TINY, zero + 1e-310, coverage=True),
        regions.oriented_boxes(GRID, identity, f64([2, 0, 1]), coverage=True),
        regions.frusta(GRID, identity, f64([TINY, 1]), f64(0.0), f64(2.0), coverage=True),
    ):
        assert [0, 0, 0] in sites_of(cells).tolist()
        assert cells.coverage is not None and cells.coverage.max() < 1e-12


def arguments() -> dict[str, dict[str, F64]]:
    """Good arguments of every function, two rows each."""
    pose = np.tile(matrix_of((1, 2, 3), 0.3), (2, 1))
    return {
        "spheres": {"center": np.zeros((2, 3)), "radius": np.ones(2)},
        "boxes": {"low": np.zeros((2, 3)), "high": np.ones((2, 3))},
        "oriented_boxes": {"pose": pose, "half_size": np.ones((2, 3))},
        "capsules": {"begin": np.zeros((2, 3)), "end": np.ones((2, 3)), "radius": np.ones(2)},
        "frusta": {"pose": pose, "tangent": np.ones((2, 2)), "near": np.zeros(2), "far": np.ones(2)},
    }


@pytest.mark.parametrize("name", list(arguments()))
def test_bad_arrays_are_named(name: str) -> None:
    good, function = arguments()[name], getattr(regions, name)
    assert len(function(GRID, **good)) == 2
    for argument, array in good.items():

        def refused(value: Any, error: type[Exception], text: str, argument: str = argument) -> None:
            with pytest.raises(error, match=text):
                function(GRID, **(good | {argument: value}))

        for bad in (np.nan, np.inf, -np.inf):
            broken = array.copy()
            broken[1] = bad
            refused(broken, DomainError, f"{argument}: row 1 is not finite")
        refused(array.astype(np.float32), TypeError, argument)
        refused(array.tolist(), TypeError, argument)
        refused(array[:1], ValueError, "expected shape")
        refused(array[None], ValueError, argument)
        refused(np.repeat(array, 2, axis=0)[::2], ValueError, argument)
        if array.ndim == 2:
            refused(np.asfortranarray(array), ValueError, argument)
            refused(array[:, :-1].copy(), ValueError, argument)
        read_only = array.copy()
        read_only.flags.writeable = False
        assert len(function(GRID, **(good | {argument: read_only}))) == 2
    empty = function(GRID, **{key: value[:0] for key, value in good.items()}, coverage=True)
    assert len(empty) == 0 and empty.offsets.tolist() == [0] and empty.cell_id.shape == (0,)


@pytest.mark.parametrize(
    ("name", "argument", "value", "text"),
    [
        ("spheres", "radius", [1, -1], "radius: row 1 is negative: -1.0"),
        ("capsules", "radius", [-1, 1], "radius: row 0 is negative"),
        ("boxes", "low", [[0, 0, 0], [0, 2, 0]], "low, high: row 1 is low above high"),
        ("oriented_boxes", "half_size", [[1, 1, 1], [1, -1, 1]], "half_size: row 1 is negative"),
        ("frusta", "tangent", [[1, 0], [1, 1]], "tangent: row 0 is not positive"),
        ("frusta", "near", [-1, 0], "near: row 0 is negative"),
        ("frusta", "near", [0, 1], "near, far: row 1 is near not before far"),
    ],
)
def test_bad_numbers_are_named(name: str, argument: str, value: Any, text: str) -> None:
    with pytest.raises(DomainError, match=text):
        getattr(regions, name)(GRID, **(arguments()[name] | {argument: np.array(value, np.float64)}))


def test_other_bad_values_are_named() -> None:
    good = arguments()
    skewed = good["oriented_boxes"]["pose"].copy()
    skewed[1, 0] += 0.1
    with pytest.raises(PoseError, match="oriented_boxes: row 1"):
        regions.oriented_boxes(GRID, skewed, good["oriented_boxes"]["half_size"])
    with pytest.raises(PoseError, match="frusta: row 1"):
        regions.frusta(GRID, **(good["frusta"] | {"pose": skewed}))
    with pytest.raises(ValueError, match="mode: 'inside' must be one of center, intersects"):
        regions.spheres(GRID, **good["spheres"], mode="inside")  # type: ignore[arg-type]
    for cells in (-1, regions.MAX_CELLS_LIMIT + 1):
        with pytest.raises(DomainError, match="max_cells"):
            regions.spheres(GRID, **good["spheres"], max_cells=cells)
    with pytest.raises(DomainError, match="grid"):
        regions.spheres(Grid(half_edge_m=math.nan), **good["spheres"])


def test_more_cells_than_allowed_are_an_error() -> None:
    center, radius = np.zeros((2, 3)), f64(1.0, 3.0)
    cells = regions.spheres(GRID, center, radius)
    exactly = len(cells.cell_id)
    assert len(regions.spheres(GRID, center, radius, max_cells=exactly).cell_id) == exactly
    with pytest.raises(CapacityError, match=f"spheres: row 1: more than max_cells = {exactly - 1}"):
        regions.spheres(GRID, center, radius, max_cells=exactly - 1)
    everything = f64([-16000, -16000, -16000]), f64([16000, 16000, 16000])
    with pytest.raises(CapacityError, match="boxes: row 0"):
        regions.boxes(GRID, *everything, mode="center")
    sheet = f64([-16000, -16000, 0.1]), f64([16000, 16000, 0.2])  # between the layers of sites
    with pytest.raises(CapacityError, match="or as much work"):
        regions.boxes(GRID, *sheet, mode="center", max_cells=100_000)
