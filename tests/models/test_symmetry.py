"""Symmetries of features against features of a world that was truly turned or mirrored."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.training.symmetry import MIRRORED, OFFSETS, TENSOR, VECTORS, Symmetry, symmetries
from native import beams, index64, lattice
from native.grid import Grid
from native.window import CellFeatures, Window, WindowOptions, feature_names
from tests.native.feature_oracle import View, features
from tests.native.oracle import F64, NO_SUMS, Record, WindowModel, ids_of, matrix_of

GRID = Grid(half_edge_m=0.4, frame=5, tier=1, lod=7)
OPTIONS = WindowOptions(bin_ns=10, bins=4, keep_bins=2)
NAMES = feature_names(4)
EXACT = ("hit_bins", "observed_bins", "hit_age", "pass_age", "hit_run", "cast_reached")
HEIGHTS = ("height_in_column", "height_in_block")
MIRROR = np.diag([1, -1, 1])
QUARTER = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
Int = NDArray[np.int64]
Site = tuple[int, int, int]
Cells = dict[Site, tuple[int, int, tuple[int, ...]]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class World:
    """Cells of each sweep and what the sensor knows of itself."""

    sweeps: list[Cells]
    view: View

    def records(self) -> list[Record]:
        out = []
        for turn, cells in enumerate(self.sweeps):
            ids = ids_of(GRID, np.array(list(cells), np.int32)).tolist()
            out.append(Record(stamp_ns=10 * turn, cells=dict(zip(ids, cells.values(), strict=True))))
        return out

    def features(self) -> CellFeatures:
        window = Window(GRID, OPTIONS)
        for record in self.records():
            window.push(record.stamp_ns, *record.arrays())
        return window.features(*self.view.arguments())


def world(seed: int, even: bool = False) -> World:
    """Clustered cells that hold the moments of real points; the sensor in their midst."""
    rng = np.random.default_rng(seed)
    sites = [
        s
        for s in itertools.product(range(-5, 6), range(-5, 6), range(-4, 5))
        if len({v % 2 for v in s}) == 1 and not (even and s[0] % 2)
    ]
    sweeps = [{s: random_row(rng) for s in sites if rng.random() < 0.4} for _ in range(6)]
    return World(
        sweeps=sweeps,
        view=View(
            pose=matrix_of((0.31, -0.77, 0.13), yaw=0.4, pitch=0.05),
            forecast_pose=matrix_of((0.83, -0.29, 0.17), yaw=0.9, pitch=-0.08),
            speed_mps=3.1,
            yaw_rate_rps=0.7,
            beams=beams.sample(rng.normal(size=(300, 3)).astype(np.float32), 300),
            beam_weight=2.3,
        ),
    )


def random_row(rng: np.random.Generator) -> tuple[int, int, tuple[int, ...]]:
    hits, passes = int(rng.integers(0, 9)), int(rng.integers(0, 30))
    if not hits:
        return 0, passes, NO_SUMS
    x, y, z, share = rng.uniform(-0.7, 0.7, (4, hits)) * np.array([[1.0], [0.8], [0.5], [1.0]])
    terms = [x, y, z, x * x, y * y, z * z, x * y, x * z, y * z, np.abs(share), share * share]
    return hits, passes, tuple(int(np.round(term * 4096).sum()) for term in terms)


def turned_row(row: tuple[int, int, tuple[int, ...]], matrix: Int) -> tuple[int, int, tuple[int, ...]]:
    """The sums of the same returns in the transformed world: exact, in integers."""
    hits, passes, s = row
    first = matrix @ np.array(s[:3])
    second = matrix @ np.array([[s[3], s[6], s[7]], [s[6], s[4], s[8]], [s[7], s[8], s[5]]]) @ matrix.T
    moments = [*first.tolist(), *np.diag(second).tolist(), *second[[0, 0, 1], [1, 2, 2]].tolist()]
    return hits, passes, (*moments, *s[9:])


def turned_pose(pose: F64, matrix: Int) -> F64:
    """A mirrored rotation is none, so the sensor's own y axis is mirrored too."""
    inner = MIRROR if np.linalg.det(matrix) < 0 else np.eye(3, dtype=int)
    rigid = pose.reshape(3, 4)
    return np.column_stack([matrix @ rigid[:, :3] @ inner, matrix @ rigid[:, 3]]).reshape(12)


def turned(original: World, matrix: Int) -> World:
    flip = -1 if np.linalg.det(matrix) < 0 else 1
    view = original.view
    return World(
        sweeps=[{place(s, matrix): turned_row(r, matrix) for s, r in c.items()} for c in original.sweeps],
        view=View(
            pose=turned_pose(view.pose, matrix),
            forecast_pose=turned_pose(view.forecast_pose, matrix),
            speed_mps=view.speed_mps,
            yaw_rate_rps=flip * view.yaw_rate_rps,
            beams=view.beams * np.array([1, flip, 1], np.int16),
            beam_weight=view.beam_weight,
        ),
    )


def place(site: Site, matrix: Int) -> Site:
    x, y, z = (matrix @ np.array(site)).tolist()
    return x, y, z


def matrices() -> list[Int]:
    """In the order of ``symmetries``: four rotations, then four mirror images."""
    turns = [np.linalg.matrix_power(QUARTER, k) for k in range(4)]
    return [turn @ first for first in (np.eye(3, dtype=int), MIRROR) for turn in turns]


def rows_in(got: CellFeatures, other: CellFeatures, matrix: Int) -> NDArray[np.intp]:
    """Row in the other world of each cell of this one, then the row that stands for no cell."""
    sites = index64.decode(got.cell_id).sites @ matrix.T
    ids = ids_of(GRID, sites.astype(np.int32))
    rows = np.searchsorted(other.cell_id, ids)
    assert len(got.cell_id) == len(other.cell_id) and np.array_equal(other.cell_id[rows], ids)
    return np.append(rows, len(rows))


def undecided(original: World) -> dict[str, NDArray[np.bool_]]:
    """Cells at which only rounding decides a column."""
    model = WindowModel(OPTIONS)
    for record in original.records():
        model.push(record)
    columns = features(GRID, model, original.view).columns
    return {name: np.isnan([row[name] for row in columns]) for name in NAMES}


def grouped(name: str) -> bool:
    """The lattice's own groups, columns and families, are not symmetric."""
    return name in HEIGHTS or name.startswith("coarse")


CASES = [pytest.param(i, id=f"{'mirrored_' * (i > 3)}{90 * (i % 4)}") for i in range(8)]


@pytest.mark.parametrize("at", CASES)
@pytest.mark.parametrize("seed", range(2))
def test_columns_are_those_of_the_transformed_world(seed: int, at: int) -> None:
    original, matrix = world(seed), matrices()[at]
    here, there = original.features(), turned(original, matrix).features()
    x, _ = symmetries(NAMES)[at].apply(here.x, here.neighbor_index)
    rows, unclear = rows_in(here, there, matrix)[:-1], undecided(original)
    assert x.dtype == np.float32 and len(x) > 100
    for i, name in enumerate(NAMES):
        clear = ~unclear[name]
        assert clear.mean() > 0.7, name
        got, want = x[clear, i], there.x[rows][clear, i]
        if grouped(name):
            continue
        if name.startswith(EXACT):
            assert np.array_equal(got, want), name
        else:
            atol = 1e-3 if name.startswith("surface_") else 2e-5  # overlaps are kept to 1/32768
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=atol, err_msg=name)


@pytest.mark.parametrize("at", CASES)
def test_neighbours_are_those_of_the_transformed_world(at: int) -> None:
    original, matrix = world(2), matrices()[at]
    here, there = original.features(), turned(original, matrix).features()
    _, neighbor_index = symmetries(NAMES)[at].apply(here.x, here.neighbor_index)
    rows = rows_in(here, there, matrix)
    assert neighbor_index.dtype == np.int32
    assert np.array_equal(rows[neighbor_index], there.neighbor_index[rows[:-1]])
    assert np.array_equal(here.before, there.before[rows[:-1]])


@pytest.mark.parametrize("at", CASES)
def test_heights_are_exact_where_columns_hold_one_sublattice(at: int) -> None:
    """A column is two half edges wide and joins x = 0 to 1, not to -1; even sites alone do not show it."""
    original, matrix = world(3, even=True), matrices()[at]
    here, there = original.features(), turned(original, matrix).features()
    x, _ = symmetries(NAMES)[at].apply(here.x, here.neighbor_index)
    rows = rows_in(here, there, matrix)[:-1]
    for name in HEIGHTS:
        i = NAMES.index(name)
        assert x[:, i].any() and np.array_equal(x[:, i], there.x[rows, i]), name


@pytest.mark.parametrize("at", CASES)
def test_coarse_columns_keep_their_mean(at: int) -> None:
    """Families of cells are other ones in a transformed world, so that only the mean over all cells stays."""
    original, matrix = world(4), matrices()[at]
    here, there = original.features(), turned(original, matrix).features()
    x, _ = symmetries(NAMES)[at].apply(here.x, here.neighbor_index)
    pooled = [i for i, n in enumerate(NAMES) if n.startswith("coarse") and not n.endswith("height_in_block")]
    assert len(pooled) == 14
    assert np.allclose(x[:, pooled].mean(axis=0), there.x[:, pooled].mean(axis=0), rtol=1e-5, atol=1e-6)


def test_the_first_is_the_identity_and_all_differ() -> None:
    got = symmetries(NAMES)
    assert len(got) == 8
    x, neighbor_index = world(5).features().x, world(5).features().neighbor_index
    same, alike = got[0].apply(x, neighbor_index)
    assert np.array_equal(same, x) and np.array_equal(alike, neighbor_index)
    assert len({(s.source.tobytes(), s.sign.tobytes(), s.neighbor.tobytes()) for s in got}) == 8
    assert all(sorted(s.neighbor.tolist()) == list(range(14)) for s in got)
    assert all(sorted(s.source.tolist()) == list(range(len(NAMES))) for s in got)


def test_symmetries_form_a_group() -> None:
    """Any two in turn are one of the eight, and that of the product of their matrices."""
    got, steps = symmetries(NAMES), matrices()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, len(NAMES))).astype(np.float32)
    neighbor_index = rng.integers(0, 4, (3, 14)).astype(np.int32)
    for first, second in itertools.product(range(8), repeat=2):
        product = next(i for i, m in enumerate(steps) if np.array_equal(m, steps[second] @ steps[first]))
        one = got[second].apply(*got[first].apply(x, neighbor_index))
        other = got[product].apply(x, neighbor_index)
        assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])


def test_inputs_are_left_alone() -> None:
    x = np.ones((2, len(NAMES)), np.float32)
    neighbor_index = np.zeros((2, 14), np.int32)
    for symmetry in symmetries(NAMES):
        symmetry.apply(x, neighbor_index)
    assert (x == 1).all() and not neighbor_index.any()


def test_every_column_that_turns_is_in_the_schema() -> None:
    turning = {*MIRRORED, *itertools.chain.from_iterable(VECTORS), *TENSOR}
    assert turning <= set(NAMES)
    changed: set[str] = set()
    for symmetry in symmetries(NAMES):
        moved = (symmetry.source != np.arange(len(NAMES))) | (symmetry.sign != 1)
        changed |= {NAMES[i] for i in np.flatnonzero(moved)}
    assert changed == turning


def test_neighbour_offsets_are_those_of_the_lattice() -> None:
    assert lattice.neighbors(np.zeros((1, 3), np.int32)).reshape(14, 3).tolist() == [list(o) for o in OFFSETS]


@pytest.mark.parametrize("names", [(), ("hits_0", "speed"), ("offset_x", "y"), ("spread_xx", "spread_yy")])
def test_schemas_without_some_columns_still_have_symmetries(names: tuple[str, ...]) -> None:
    x: Any = np.arange(len(names), dtype=np.float32).reshape(1, -1) + 1
    results: list[Symmetry] = list(symmetries(names))
    for symmetry in results:
        got, _ = symmetry.apply(x, np.zeros((1, 14), np.int32))
        assert got.shape == x.shape and set(np.abs(got[0]).tolist()) == set(x[0].tolist())
