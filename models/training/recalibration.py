"""Keeps the served weights calibrated, on outcomes that they were not trained on yet."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.online.calibration import OnlinePlatt
from models.training.replay import UNLABELLED, ReplayBuffer
from models.training.sector import sector_of, within

HALF_LIFE_SWEEPS = 5.0
CAUTION_ROWS = 2_000.0

Logits = Callable[[Tensor, Tensor, int], Tensor]
"""Of the averaged weights: features, neighbours, of how many first rows; (M, columns)."""


class Recalibration:
    """A correction of the logits by column of labels, learnt from a random sector of each new sweep.

    columns : 0 corrects nothing; layers : of the network; width : of the sector, radians
    """

    def __init__(self, columns: int, layers: int, width: float, generator: np.random.Generator) -> None:
        self._layers, self._width, self._generator = layers, width, generator
        self._columns = columns
        self.restart()

    def restart(self) -> None:
        """Begin anew: other weights serve, in which corrections are folded already."""
        self.platts = [OnlinePlatt(HALF_LIFE_SWEEPS, CAUTION_ROWS) for _ in range(self._columns)]
        self._fresh: list[tuple[str, int]] = []

    def note(self, prediction_id: str, column: int) -> None:
        """New outcomes of a prediction at one horizon are in the buffer."""
        if self.platts:
            self._fresh.append((prediction_id, column))

    def learn(self, replay: ReplayBuffer, logits_of: Logits) -> None:
        """Compare new outcomes with what the averaged weights say, before any is trained on."""
        fresh, self._fresh = self._fresh, []
        for prediction_id, column in fresh:
            example = replay.get(prediction_id)
            if example is None:
                continue
            centre = float(self._generator.random()) * 2 * np.pi
            known = example.label[:, column] != UNLABELLED
            sector = sector_of(
                example.neighbor_index, known & within(example.azimuth, centre, self._width), self._layers
            )
            if sector.scored:
                X = torch.from_numpy(example.X[sector.rows]).float()
                with torch.no_grad():
                    logits = logits_of(X, torch.from_numpy(sector.neighbor_index), sector.scored)
                occupied = example.label[sector.rows[: sector.scored], column] == 1
                self.platts[column].learn(logits[:, column].numpy(), occupied)

    def fold(self, weights: dict[str, NDArray[np.float32]]) -> None:
        """Put the corrections into the last layer of a network's weights, in place."""
        for column, platt in enumerate(self.platts):
            weights["output.weight"][column] *= np.float32(platt.scale)
            weights["output.bias"][column] = np.float32(platt.apply(weights["output.bias"][column]))
