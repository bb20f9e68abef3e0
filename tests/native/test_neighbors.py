"""The neighbour table against a search in the sorted ids."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from native import lattice
from native.binning import Binner
from native.errors import DomainError, IdError, OrderError, ParityError
from native.grid import Grid
from native.index64 import COORDINATE_MAX, COORDINATE_MIN, decode
from native.neighbors import neighbor_table
from native.window import WindowOptions
from tests.native.feature_checks import VIEW, window_of
from tests.native.oracle import ids_of
from tests.native.recorded import records, sweep

GRID = Grid(half_edge_m=0.4, frame=5, tier=1, lod=7)
OPPOSITE = [7, 6, 5, 4, 3, 2, 1, 0, 9, 8, 11, 10, 13, 12]
BOX = np.array([s for s in itertools.product(range(12), repeat=3) if len({v % 2 for v in s}) == 1], np.int32)
"""Sites of a box that reaches over several bricks."""


def searched(cell_id: NDArray[np.uint64]) -> NDArray[np.int32]:
    """The table by binary search."""
    n = len(cell_id)
    around = lattice.neighbors(decode(cell_id).sites).reshape(-1, 3)
    here = np.flatnonzero(((around >= COORDINATE_MIN) & (around <= COORDINATE_MAX)).all(axis=1))
    parts = decode(cell_id[:1])
    grid = Grid(half_edge_m=1.0, frame=int(parts.frame[0]), tier=int(parts.tier[0]), lod=int(parts.lod[0]))
    ids, rows = ids_of(grid, around[here]), np.full(len(around), n, np.int32)
    place = np.minimum(np.searchsorted(cell_id, ids), n - 1)
    rows[here] = np.where(cell_id[place] == ids, place, n)
    return rows.reshape(n, 14)


def cells_at(sites: NDArray[np.int32]) -> NDArray[np.uint64]:
    return np.unique(ids_of(GRID, sites))


def checked(cell_id: NDArray[np.uint64]) -> NDArray[np.int32]:
    got = neighbor_table(cell_id)
    assert got.dtype == np.int32 and np.array_equal(got, searched(cell_id))
    return got


# ---- against the search


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    share=st.floats(0.001, 1.0),
    corner=st.tuples(
        *[st.sampled_from([COORDINATE_MIN, -16, -8, -6, -4, -2, 0, 1000, COORDINATE_MAX - 11])] * 3
    ),
)
def test_any_cells_match_the_search(seed: int, share: float, corner: tuple[int, int, int]) -> None:
    """Boxes at every place about a brick, at the map's ends too; from a single cell to all of them."""
    kept = np.random.default_rng(seed).random(len(BOX)) < share
    kept[seed % len(BOX)] = True
    checked(cells_at(BOX[kept] + np.array(corner, np.int32)))


@pytest.mark.parametrize("half_edge_m", [0.1, 0.25, 0.4, 2.0])
def test_cells_of_recorded_sweeps_match_the_search(half_edge_m: float) -> None:
    s = sweep(4)
    grid = Grid(half_edge_m=half_edge_m, frame=2, tier=3, lod=9, range_min_m=0.0, range_max_m=200.0)
    got = checked(Binner(grid).run(s.points, s.intensity, s.pose).cell_id)
    assert 0.2 < (got < len(got)).mean() < 0.95


def test_features_find_the_same_neighbours() -> None:
    window = window_of(records(GRID, range(6)), WindowOptions())
    features = window.features(*VIEW.arguments())
    assert np.array_equal(neighbor_table(features.cell_id), features.neighbor_index)


def test_cells_far_apart_have_no_neighbours() -> None:
    rng = np.random.default_rng(0)
    sites = 16 * rng.integers(-1900, 1900, (3000, 3), np.int32)
    got = checked(cells_at(sites))
    assert (got == len(got)).all()


@pytest.mark.parametrize(
    "site", [[COORDINATE_MIN] * 3, [COORDINATE_MAX] * 3, [COORDINATE_MAX, COORDINATE_MIN + 1, 1]]
)
def test_nothing_wraps_at_the_ends_of_the_map(site: list[int]) -> None:
    """A cell, its own neighbours on the map, and those at the opposite ends."""
    around = lattice.neighbors(np.array([site], np.int32))[0]
    size = COORDINATE_MAX - COORDINATE_MIN + 1
    checked(
        cells_at(np.concatenate([[site], (around - COORDINATE_MIN) % size + COORDINATE_MIN]).astype(np.int32))
    )


def test_one_cell_and_none() -> None:
    assert neighbor_table(cells_at(np.array([[1, 3, 5]], np.int32))).tolist() == [[1] * 14]
    assert neighbor_table(np.empty(0, np.uint64)).shape == (0, 14)


# ---- invariants


def test_neighbourhood_is_mutual() -> None:
    s = sweep(9)
    got = neighbor_table(Binner(GRID).run(s.points, s.intensity, s.pose).cell_id)
    cell, way = np.nonzero(got < len(got))
    assert len(cell) > 10_000
    assert np.array_equal(got[got[cell, way], np.take(OPPOSITE, way)], cell)


def test_a_full_box_has_all_neighbours_inside() -> None:
    cells = cells_at(BOX)
    sites = decode(cells).sites
    inside = ((sites >= 2) & (sites <= sites.max() - 2)).all(axis=1)
    got = checked(cells)
    assert inside.sum() > 100 and (got[inside] < len(cells)).all()
    assert np.array_equal(sites[got[inside]], lattice.neighbors(sites[inside]))


# ---- errors

CELLS = cells_at(BOX[:40])


@pytest.mark.parametrize(
    ("cell_id", "error"),
    [
        (CELLS[::-1].copy(), OrderError),
        (np.append(CELLS, CELLS[-1]), OrderError),
        (np.append(CELLS, CELLS[-1] ^ np.uint64(1)), ParityError),
        (np.append(CELLS, CELLS[-1] | np.uint64(1 << 62)), IdError),
        (np.append(CELLS, CELLS[-1] + np.uint64(1 << 48)), DomainError),
        (np.append(CELLS, CELLS[-1] + np.uint64(1 << 52)), DomainError),
        (CELLS.astype(np.int64), TypeError),
        (CELLS[:, None], ValueError),
        (CELLS[::2], ValueError),
    ],
)
def test_what_is_no_list_of_cells_is_refused(cell_id: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="cell_id"):
        neighbor_table(cell_id)
