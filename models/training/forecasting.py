"""Training a forecaster of trajectories on examples of motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.nets.trajectory import Encoder, TrajectoryForecaster
from models.objects.motion import HORIZONS_S, STEPS, Motions
from models.objects.surroundings import PLACES_M, WIDTH
from models.training.fit import fit
from stream.progress import Progress

MIRROR = [PLACES_M.index((x, -y)) for x, y in PLACES_M]
"""Places of the surroundings after left and right have changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastTraining:
    """How to train.

    epochs, batch, lr : of AdamW with a cosine to zero
    turn_weight : how often an example whose path bends is drawn, for one that does not; in what is told to be
        likely it weighs so much less
    scale : lengths of an example are multiplied by 1 / (1 + scale) .. 1 + scale, drawn anew each time
    hide : share of examples whose surroundings are hidden, so that the network does without
    """

    epochs: int = 8
    batch: int = 128
    lr: float = 2e-3
    turn_weight: int = 3
    scale: float = 0.25
    hide: float = 0.3


def tensors(motions: Motions) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a network reads of motions: history, known, size, around."""
    return (
        torch.from_numpy(motions.history), torch.from_numpy(motions.known), torch.from_numpy(motions.size),
        torch.from_numpy(motions.around),
    )  # fmt: skip


def train_forecaster(
    motions: Motions,
    path: NDArray[np.float64],
    turns: NDArray[np.bool_],
    *,
    encoder: Encoder,
    seed: int,
    progress: Progress,
    training: ForecastTraining = ForecastTraining(),
) -> TrajectoryForecaster:
    """A forecaster that has learnt where objects went.

    path : float64 (N, T, 2), of the motions, in each object's own frame; turns : bool (N,)
    Half of what is drawn is mirrored. Deterministic on one machine type and one thread
    Raises ValueError without examples, TrainingDiverged
    """
    net = TrajectoryForecaster(
        encoder=encoder, around_width=WIDTH, horizons_s=HORIZONS_S, steps=STEPS, seed=seed
    )
    told = motions.around[motions.around.any(1)]
    if len(told):
        net.set_scale(told)
    inputs, wanted = tensors(motions), torch.from_numpy(path.astype(np.float32))
    rows = np.concatenate([np.arange(len(motions)), *[np.flatnonzero(turns)] * (training.turn_weight - 1)])
    weight = torch.from_numpy(np.where(turns, 1 / training.turn_weight, 1.0).astype(np.float32))

    def loss(numbers: Sequence[int], generator: torch.Generator) -> Tensor:
        chosen = torch.from_numpy(rows[list(numbers)])
        history, known, size, around = (values[chosen] for values in inputs)
        varied = _varied(history, known, size, around, wanted[chosen], training, generator)
        return net.loss(*varied, weight[chosen])

    fit(
        net, loss, len(rows), epochs=training.epochs, batch=training.batch, lr=training.lr, seed=seed,
        progress=progress,
    )  # fmt: skip
    return net


def _varied(
    history: Tensor, known: Tensor, size: Tensor, around: Tensor, path: Tensor, training: ForecastTraining,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Examples as they might have been: mirrored, faster or slower, without surroundings."""
    drawn = torch.rand(3, len(history), generator=generator)
    mirrored, hidden = drawn[0] < 0.5, drawn[1] < training.hide
    side = torch.where(mirrored, -1.0, 1.0)[:, None, None] * torch.tensor([0.0, 1.0])
    flip = torch.tensor([1.0, 0.0]) + side
    factor = (1 + training.scale) ** (2 * drawn[2] - 1)
    moved = around.reshape(len(around), len(PLACES_M), -1)[:, MIRROR].reshape(around.shape)
    around = torch.where(mirrored[:, None], moved, around) * ~hidden[:, None]
    stretch = flip * factor[:, None, None]
    return history * stretch, known, size, around, path * stretch
