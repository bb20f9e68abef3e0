"""Surprise by cell against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from models.scores.surprise import NEIGHBOURS_SHARE, surprise
from native.neighbors import neighbor_table
from tests.agents.run_folder import encode


def world(seed: int = 0):
    """A block of lattice cells, forecasts at three horizons with gaps, outcomes."""
    rng = np.random.default_rng(seed)
    corners = np.array([[2 * x, 2 * y, 2 * z] for x in range(5) for y in range(5) for z in range(3)])
    sites = np.concatenate([corners, corners + 1])
    cells = np.sort(encode(sites[rng.random(len(sites)) < 0.8]))
    p = rng.uniform(0.02, 0.98, (len(cells), 3)).astype(np.float32)
    p[rng.random(p.shape) < 0.3] = np.nan
    return cells, p, rng.random(len(cells)) < 0.5


def by_hand(p, occupied, neighbours):
    own = []
    for row, seen in zip(p.astype(float), occupied, strict=True):
        losses = [-np.log(value if seen else 1 - value) for value in row if not np.isnan(value)]
        own.append(np.mean(losses) if losses else None)
    found = []
    for i, near in enumerate(neighbours):
        others = [own[j] for j in near if j < len(own) and own[j] is not None]
        if own[i] is None:
            found.append(0.0)
        elif not others:
            found.append(own[i])
        else:
            found.append((1 - NEIGHBOURS_SHARE) * own[i] + NEIGHBOURS_SHARE * np.mean(others))
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_surprise_is_the_mean_loss_of_a_cell_and_its_neighbours(seed: int) -> None:
    cells, p, occupied = world(seed)
    near = neighbor_table(cells)
    assert surprise(p, occupied, near) == pytest.approx(by_hand(p, occupied, near), rel=1e-5)


def test_a_group_surprises_more_than_as_many_cells_apart() -> None:
    cells, _, _ = world()
    near = neighbor_table(cells)
    p, occupied = np.full((len(cells), 1), 0.05, np.float32), np.zeros(len(cells), np.bool_)
    centre = int((near < len(cells)).sum(1).argmax())
    group = np.append(near[centre][near[centre] < len(cells)], centre)
    together = occupied.copy()
    together[group] = True
    alone = occupied.copy()
    alone[centre] = True
    assert surprise(p, together, near)[centre] > 1.5 * surprise(p, alone, near)[centre]
    assert surprise(p, alone, near)[centre] > 5 * surprise(p, occupied, near)[centre]


def test_no_cells_and_what_does_not_fit() -> None:
    none = np.zeros((0, 3), np.float32)
    assert surprise(none, np.zeros(0, np.bool_), np.zeros((0, 14), np.int32)).shape == (0,)
    with pytest.raises(ValueError, match="occupied: 2 cells"):
        surprise(none, np.zeros(2, np.bool_), np.zeros((2, 14), np.int32))
