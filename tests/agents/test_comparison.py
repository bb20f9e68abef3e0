"""Comparisons read the same outcomes for every model: all of a small sweep, a part of a large one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.comparison import CELLS, log_losses
from agents.protocol import Example, Labels
from models.probability import quantise
from tests.models.sweeps import made_sweep


class Neighbourly:
    """Two convolutions without weights: a cell's answer depends on cells two steps away."""

    model_id = "neighbourly"

    def __init__(self, sign: float) -> None:
        self._sign = sign
        self.cells: list[int] = []

    def predict(self, x: NDArray[np.float32], neighbor_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """Sigmoid of features spread over two rings, float32 (N, 3)."""
        self.cells.append(len(x))
        value = x[:, 0] - np.float32(10)
        for _ in range(2):
            value = value + np.append(value, np.float32(0))[neighbor_index].mean(axis=1)
        logit = np.stack([0 * value, self._sign * value / 3, value], axis=1)
        return quantise(1 / (1 + np.exp(-logit)))


def case(rows: int, share: float) -> tuple[Example, Labels]:
    """A sweep of which a share has outcomes at the middle horizon."""
    sweep = made_sweep(1, rows)
    row = np.sort(np.random.default_rng(0).permutation(len(sweep.X))[: round(share * len(sweep.X))])
    example = Example(
        prediction_id="p", stamp_ns=1, x=sweep.X, neighbor_index=sweep.neighbor_index, azimuth=sweep.azimuth
    )
    labels = Labels(prediction_id="p", horizon=1, row=row.astype(np.int32), occupied=sweep.occupied[row])
    return example, labels


def direct(model: Any, example: Example, labels: Labels, chosen: NDArray[np.bool_]) -> float:
    """The log loss of some outcomes, from a forecast of the whole sweep."""
    p = model.predict(example.x, example.neighbor_index)[labels.row[chosen], 1].astype(np.float64)
    return float(-np.log(np.where(labels.occupied[chosen], p, 1 - p)).mean())


def test_a_small_sweep_is_compared_as_a_whole() -> None:
    example, labels = case(600, 0.7)
    models = Neighbourly(1.0), Neighbourly(-1.0)
    found = log_losses(models, example, labels, layers=2, turn=3)
    every = np.ones(len(labels.row), bool)
    assert found == pytest.approx([direct(model, example, labels, every) for model in models], abs=1e-5)
    assert found[0] != found[1]


def test_a_large_sweep_is_compared_on_a_sector_that_turns() -> None:
    example, labels = case(1400, 1.0)
    times = 40  # so that there are more outcomes than a comparison reads
    labels = Labels(
        prediction_id="p",
        horizon=1,
        row=np.tile(labels.row, times),
        occupied=np.tile(labels.occupied, times),
    )
    model = Neighbourly(1.0)
    seen = [log_losses([model], example, labels, layers=2, turn=turn)[0] for turn in range(20)]
    assert len(set(seen)) == 20
    assert max(model.cells) < 0.6 * len(example.x)
    width = 2 * np.pi * CELLS / len(labels.row)
    for turn, loss in enumerate(seen):
        turned = np.angle(np.exp(1j * (example.azimuth[labels.row] - 2.399963 * turn)))
        assert loss == pytest.approx(direct(model, example, labels, np.abs(turned) <= width / 2), abs=1e-5)


def test_no_outcome_is_no_loss() -> None:
    example, labels = case(600, 0.0)
    assert log_losses([Neighbourly(1.0)], example, labels, layers=2, turn=0) == [None]
