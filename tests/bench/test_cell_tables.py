"""What the core is timed against does the same work."""

from __future__ import annotations

import numpy as np
import pytest

from native.coarse import coarser
from native.grid import Grid
from native.neighbors import neighbor_table
from tests.bench import crate
from tests.bench.cell_tables import added_level, searched_table, window_cells
from tests.native.recorded import sweep

GRID = Grid(half_edge_m=0.4)


def test_numpy_finds_the_same_neighbours() -> None:
    cells = window_cells([sweep(0), sweep(4)], GRID).cell_id
    assert np.array_equal(searched_table(cells), neighbor_table(cells))


def test_numpy_adds_up_the_same_cells() -> None:
    level = window_cells([sweep(0), sweep(4)], GRID)
    above, (ids, sums) = coarser(level)[0], added_level(level)
    assert np.array_equal(ids, above.cell_id) and np.array_equal(sums[:, 0], above.hits.astype(np.int64))
    assert np.array_equal(sums[:, 10:], above.sums[:, 9:])


def test_without_cargo_the_crate_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert crate.built() == "no cargo"
