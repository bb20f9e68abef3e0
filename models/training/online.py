"""Training while outcomes arrive: a few optimiser steps after each newly labelled sweep."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.nets.bcc_conv import NEIGHBORS, BccNet
from models.training.recalibration import Recalibration
from models.training.replay import UNLABELLED, Example, ReplayBuffer
from models.training.sector import Sector, cut_sector
from models.training.standard import RunningStandard
from models.training.symmetry import Symmetry
from models.training.targets import Binary, Target
from stream.config import LearnConfig, NetworkConfig, Normaliser

BETAS = (0.9, 0.99)
CLIP_NORM = 1.0
FLOAT16_MAX = 65504.0


class TrainingDiverged(RuntimeError):
    """A loss or gradient that is not finite; the weights are as before that step. ``load`` starts over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What one call of ``train`` did.

    steps : optimiser steps taken, 0 while nothing is labelled; total_steps : since the start
    loss : mean training loss of these steps, nats; None without steps
    examples : trainable examples held; first_stamp_ns, last_stamp_ns : of all examples ever trained on
    """

    steps: int
    total_steps: int
    loss: float | None
    examples: int
    first_stamp_ns: int | None
    last_stamp_ns: int | None


class OnlineTrainer:
    """One network, its optimiser and its past sweeps.

    network, learn : shape and schedule; feature_count, horizons : F, H; primary : column of the main horizon
    seed : decides initial weights, replay, sectors and symmetries
    target : what is trained instead of occupancy at the horizons
    symmetries : of ``models.training.symmetry``; each step trains on one of them, drawn at random
    normalisers : one a feature column, of ``models.training.standard``; empty standardises them all

    Deterministic on one machine type: two trainers that saw the same calls hold the same bits, whatever
    number of threads torch has elsewhere. Not thread-safe.
    """

    def __init__(
        self,
        network: NetworkConfig,
        learn: LearnConfig,
        feature_count: int,
        horizons: int,
        primary: int,
        seed: int,
        symmetries: Sequence[Symmetry] = (),
        normalisers: Sequence[Normaliser] = (),
        target: Target | None = None,
    ) -> None:
        self._target: Target = target or Binary(horizons, primary, learn.auxiliary_weight)
        self._learn = learn
        self._symmetries = tuple(symmetries)
        self._layers = network.layers
        self._features = feature_count
        draw, evict, calibrate = np.random.SeedSequence(seed).spawn(3)
        self._recalibration = Recalibration(
            self._target.columns if learn.recalibrate and isinstance(self._target, Binary) else 0,
            network.layers,
            float(np.deg2rad(learn.sector_degrees)),
            np.random.default_rng(calibrate),
        )
        self._sectors = np.random.default_rng(draw)
        self._width = float(np.deg2rad(learn.sector_degrees))
        generator = np.random.default_rng(evict)
        self.replay = ReplayBuffer(learn.buffer_bytes, self._target.primary, generator)
        self._standard = RunningStandard(feature_count, learn.standard_sweeps, normalisers)
        self._net = BccNet(network, feature_count, self._target.outputs, seed)
        self._total_steps = 0
        self._decay = learn.averaging
        self._stamps: tuple[int, int] | None = None
        self._restart(average_mass=0.0)

    @property
    def net(self) -> BccNet:
        """The network in training (not averaged); for export of the graph."""
        return self._net

    def add_example(
        self,
        prediction_id: str,
        stamp_ns: int,
        X: NDArray[np.float32],
        neighbor_index: NDArray[np.int32],
        azimuth: NDArray[np.float32],
        weight: NDArray[np.float32] | None = None,
    ) -> bool:
        """Keep a sweep's features until its outcomes come; folds them into the standardisation.

        X : float32 (N, F), raw, finite; neighbor_index : int32 (N, 14), N where there is no neighbour
        azimuth : float32 (N,), radians, of the cells about the sensor
        weight : float32 (N,), of their labels; None where all weigh the same
        Returns False, and changes nothing, when the id is known or the sweep alone exceeds the buffer
        Raises ValueError for another dtype or shape, or values that are not finite
        """
        _require("X", X, np.dtype(np.float32), (len(X), self._features))
        _require("neighbor_index", neighbor_index, np.dtype(np.int32), (len(X), NEIGHBORS))
        _require("azimuth", azimuth, np.dtype(np.float32), (len(X),))
        if not (np.isfinite(X).all() and np.isfinite(azimuth).all()):
            raise ValueError(f"X: {prediction_id}: holds values that are not finite")
        example = Example(
            prediction_id=prediction_id,
            stamp_ns=stamp_ns,
            X=to_float16(X),
            neighbor_index=neighbor_index.copy(),
            azimuth=azimuth.copy(),
            label=np.full((len(X), self._target.columns), UNLABELLED, dtype=self._target.dtype),
            loss=np.full(math.ceil(2 * np.pi / self._width), np.nan, np.float32),
            weight=None if weight is None else weight.copy(),
        )
        kept = self.replay.add(example)
        if kept:
            self._standard.update(X)
            self._set_standard()
        return kept

    def add_labels(
        self, prediction_id: str, column: int, row: NDArray[np.int32], value: NDArray[Any]
    ) -> bool:
        """Add what became known of one prediction at one horizon; see ``ReplayBuffer.label``."""
        found = self.replay.label(prediction_id, column, row, value)
        if found and len(row):
            self._recalibration.note(prediction_id, column)
        return found

    def train(self, steps: int, go_on: Callable[[], bool] = lambda: True) -> TrainReport:
        """Take optimiser steps, each on a random sector of the newest or of an earlier labelled sweep.

        go_on : asked before each step; the first False ends the training. The next one expects as few steps,
            and its average forgets as much in these as it would in all
        Does nothing while no example has an outcome at the primary horizon
        Raises TrainingDiverged when a loss or gradient is not finite
        """
        losses: list[float] = []
        with _one_thread():
            self._recalibration.learn(self.replay, self._averaged_logits)
            while self.replay.trainable and len(losses) < steps and go_on():
                losses.append(self._step())
        if losses:
            self._decay = self._learn.averaging ** (steps / len(losses))
        first, last = self._stamps or (None, None)
        return TrainReport(
            steps=len(losses),
            total_steps=self._total_steps,
            loss=sum(losses) / len(losses) if losses else None,
            examples=self.replay.trainable,
            first_stamp_ns=first,
            last_stamp_ns=last,
        )

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Averaged weights and the present standardisation, by the names of ``BccNet.state_dict``; copies.

        What recalibration found is folded into the last layer: a model needs no other place for it.
        """
        state = self._net.state_dict()
        weights = {name: self._average.get(name, value).numpy().copy() for name, value in state.items()}
        self._recalibration.fold(weights)
        return weights

    def load(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Go on from other weights: a prior, or an earlier model after a rollback.

        Network, average and standardisation become these; the optimiser starts over with its warm-up. The
        examples stay. Raises ValueError naming a weight that is missing, unknown, misshapen or not finite
        """
        state = self._net.state_dict()
        if set(weights) != set(state):
            raise ValueError(
                f"weights: {sorted(set(weights) ^ set(state))} are not in both; other architecture"
            )
        for name, value in weights.items():
            _require(f"weights[{name}]", value, np.dtype(np.float32), tuple(state[name].shape))
            if not np.isfinite(value).all():
                raise ValueError(f"weights[{name}]: holds values that are not finite")
        self._net.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
        self._standard = RunningStandard.from_scale(weights["mean"], weights["inv_std"])
        decay = self._learn.averaging
        self._restart(average_mass=1 / (1 - decay) if decay < 1 else 1.0)

    def _restart(self, average_mass: float) -> None:
        """Average and optimiser anew; the mass says for how many steps the present weights count."""
        self._average = {name: value.detach().clone() for name, value in self._net.named_parameters()}
        self._average_mass = average_mass
        self._optimizer = torch.optim.AdamW(
            self._net.parameters(),
            lr=self._learn.learning_rate,
            betas=BETAS,
            weight_decay=self._learn.weight_decay,
            fused=True,
        )
        self._optimizer_steps = 0
        self._recalibration.restart()

    def _set_standard(self) -> None:
        mean, inv_std = self._standard.scale()
        self._net.mean.copy_(torch.from_numpy(mean))
        self._net.inv_std.copy_(torch.from_numpy(inv_std))

    def _step(self) -> float:
        example, part = self.replay.draw(self._learn.newest_share, self._learn.hard_share)
        centre = float(self._sectors.random()) * 2 * np.pi
        if part is not None:
            centre = (part + 0.5) * self._width
        sector = cut_sector(example, centre, self._width, self._layers, self._target.primary)
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss(example, sector, self._draw_symmetry())
        torch.autograd.backward(loss)
        norm = float(nn.utils.clip_grad_norm_(self._net.parameters(), CLIP_NORM))
        value = float(loss.detach())
        if not np.isfinite([value, norm]).all():
            raise TrainingDiverged(
                f"{example.prediction_id}: loss {value}, gradient norm {norm}; load a model"
            )
        example.loss[int(centre / self._width)] = value
        self._optimizer_steps += 1
        warm = min(1.0, self._optimizer_steps / max(1, self._learn.warmup_steps))
        for group in self._optimizer.param_groups:
            group["lr"] = self._learn.learning_rate * warm
        self._optimizer.step()
        self._fold_average()
        self._total_steps += 1
        first, last = self._stamps or (example.stamp_ns, example.stamp_ns)
        self._stamps = (min(first, example.stamp_ns), max(last, example.stamp_ns))
        return value

    def _draw_symmetry(self) -> Symmetry | None:
        if not self._symmetries:
            return None
        return self._symmetries[int(self._sectors.integers(len(self._symmetries)))]

    def _loss(self, example: Example, sector: Sector, symmetry: Symmetry | None) -> Tensor:
        """The target's loss on the rows of a sector, as a symmetry shows them."""
        X = torch.from_numpy(example.X[sector.rows]).float().numpy()
        neighbor_index = sector.neighbor_index
        if symmetry is not None:
            X, neighbor_index = symmetry.apply(X, neighbor_index)
        logits = self._net(torch.from_numpy(X), torch.from_numpy(neighbor_index), sector.scored)
        scored = sector.rows[: sector.scored]
        label = torch.from_numpy(example.label[scored])  # (S, columns)
        weight = None if example.weight is None else torch.from_numpy(example.weight[scored])
        return self._target.loss(logits, label, weight)

    def predict(self, X: NDArray[np.float32], neighbor_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """What the averaged weights say of cells, float32 (N, outputs), as the target's model file would.

        X : float32 (N, F), raw; neighbor_index : int32 (N, 14)
        """
        arguments = (torch.from_numpy(X), torch.from_numpy(neighbor_index), len(X))
        with _one_thread(), torch.no_grad():
            found: NDArray[np.float32] = self._target.served(self._averaged_logits(*arguments)).numpy()
        return found

    def _averaged_logits(self, X: Tensor, neighbor_index: Tensor, first: int) -> Tensor:
        found: Tensor = torch.func.functional_call(self._net, self._average, (X, neighbor_index, first))
        return found

    def _fold_average(self) -> None:
        """Exponential average that starts unbiased: a step weighs 1 / (1 + decay + decay^2 + ...)."""
        self._average_mass = 1 + self._decay * self._average_mass
        with torch.no_grad():
            for name, value in self._net.named_parameters():
                self._average[name].lerp_(value, 1 / self._average_mass)


def to_float16(X: NDArray[np.float32]) -> NDArray[np.float16]:
    """Features at half the size, clamped to what float16 can hold; relative error at most 2^-11."""
    half: NDArray[np.float16] = torch.from_numpy(X).clamp(-FLOAT16_MAX, FLOAT16_MAX).half().numpy()
    return half


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread: sums have one order, and the caller's cores stay free."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _require(
    name: str, array: NDArray[np.generic], dtype: np.dtype[np.generic], shape: tuple[int, ...]
) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name}: expected {dtype} {shape}, got {array.dtype} {array.shape}")
