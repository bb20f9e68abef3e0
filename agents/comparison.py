"""Several models on the same outcomes; of a large sweep on a part, so that the cost is bounded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.protocol import Example, Labels
from models.model import Model
from models.scores.tally import SweepScore, sweep_score, tally_of
from models.training.sector import sector_of, within

CELLS = 2048
"""Outcomes that a comparison reads: two models' mean losses differ by far more than so many leave open."""

TURN = 2.399963
"""Radians from one part to the next, the golden angle: soon every direction has been looked at."""


def score(probability: NDArray[np.float32], occupied: NDArray[np.bool_]) -> SweepScore:
    """Scores of one sweep: probability float32 (M,), on the grid, and bool (M,) what happened."""
    return sweep_score(tally_of(np.ascontiguousarray(probability), occupied))


def log_losses(
    models: Sequence[Model], example: Example, labels: Labels, *, layers: int, turn: int
) -> list[float | None]:
    """Log loss of each model on some 2,048 outcomes in one sector, on all of them where there are fewer.

    layers : of the networks, the reach of a cell's neighbourhood
    turn : number of the comparison, which decides the sector. None where no outcome lies in it
    """
    inside, occupied = np.zeros((2, len(example.x)), bool)
    inside[labels.row], occupied[labels.row] = True, labels.occupied
    share = CELLS / max(len(labels.row), 1)
    if share < 1:
        inside &= within(example.azimuth, TURN * turn, 2 * np.pi * share)
    sector = sector_of(example.neighbor_index, inside, layers)
    x = example.x[sector.rows]
    losses = []
    for model in models:
        probability = model.predict(x, sector.neighbor_index)[: sector.scored, labels.horizon]
        losses.append(score(probability, occupied[inside]).log_loss)
    return losses
