"""What came of forecasts that several models shared by keys: means, intervals, and whether one is better."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.scores.sequential import FIRST, MeanOverTime
from stream.records import Outcome, Prediction

BLOCK_NS = 2_000_000_000
"""Forecasts of 10 Hz are alike for about a second: one observation is the mean of so long."""
MOST_WAITING = 512
CLIP = 1e-7
"""As in summary.json."""
ALPHA = 0.05


@dataclass(slots=True, kw_only=True)
class _Arm:
    """What is known of one arm.  block : sum of losses and number of forecasts of the block that is open"""

    model_id: str
    forecasts: int = 0
    cells: int = 0
    brier: float = 0.0
    loss: MeanOverTime = field(default_factory=lambda: MeanOverTime(ALPHA))
    block: tuple[float, int] = (0.0, 0)


class Experiment:
    """Scores of the arms of a split, by the outcomes of the forecasts that they answered with.

    An observation is the mean log loss of a block of event time. Arms are compared with the first one, block
    by block where both answered, so that what is hard for all makes no difference. An arm that stands for
    another model begins everything anew. Any thread may call.

    on_block : called with the state after each block, by the thread that folds, while others may go on
    """

    on_block: Callable[[dict[str, Any]], None] | None = None

    def __init__(self, primary_horizon_ns: int) -> None:
        self._primary_ns = primary_horizon_ns
        self._lock = threading.Lock()
        self._waiting: OrderedDict[tuple[str, str], NDArray[np.float32]] = OrderedDict()
        self._begin()

    def begin_again(self) -> None:
        """Nothing is known of any arm."""
        with self._lock:
            self._begin()

    def _begin(self) -> None:
        self._arms: dict[str, _Arm] = {}
        self._differences: dict[str, MeanOverTime] = {}
        self._block = self._counted = -1
        self._waiting.clear()

    def answered(
        self, arm: str, model_id: str, prediction: Prediction, probability: NDArray[np.float32]
    ) -> None:
        """An arm has answered with its own forecast of a sweep.  probability : float32 (N, H)"""
        column = prediction.horizons_ns.index(self._primary_ns)
        with self._lock:
            known = self._arms.get(arm)
            if known is not None and known.model_id != model_id:
                self._begin()
                known = None
            if known is None:
                self._arms[arm] = _Arm(model_id=model_id)
            key = (prediction.prediction_id, arm)
            if key not in self._waiting:
                self._waiting[key] = np.ascontiguousarray(probability[:, column])
                if len(self._waiting) > MOST_WAITING:
                    self._waiting.popitem(last=False)

    def observed(self, outcome: Outcome) -> None:
        """Score the arms that had answered for this sweep."""
        if outcome.horizon_ns != self._primary_ns or not len(outcome.row):
            return
        closed: dict[str, Any] | None = None
        with self._lock:
            block = outcome.stamp_ns // BLOCK_NS
            if block <= self._counted:
                return  # of before a restart, and read again
            for name in self._arms:
                probability = self._waiting.pop((outcome.prediction_id, name), None)
                if probability is not None:
                    closed = self._turn(block) or closed
                    self._score(name, probability[outcome.row], outcome)
        on_block = self.on_block
        if closed is not None and on_block is not None:
            on_block(closed)  # may write a file, and who answers questions needs the lock

    def _turn(self, block: int) -> dict[str, Any] | None:
        """Go on to a block; returns the state at the end of the one before, None where there was none."""
        if block <= self._block:
            return None
        self._close()
        closed = self._state() if self.on_block is not None and self._block >= 0 else None
        self._block = block
        return closed

    def _score(self, name: str, probability: NDArray[np.float32], outcome: Outcome) -> None:
        p = np.clip(probability.astype(np.float64), CLIP, 1 - CLIP)
        loss = float(-np.log(np.where(outcome.occupied, p, 1 - p)).mean())
        arm = self._arms[name]
        arm.forecasts += 1
        arm.cells += len(p)
        arm.brier += float(((p - outcome.occupied) ** 2).sum())
        arm.block = arm.block[0] + loss, arm.block[1] + 1

    def _close(self) -> None:
        """One observation of every arm that answered within the block, and of every difference."""
        means = {name: arm.block[0] / arm.block[1] for name, arm in self._arms.items() if arm.block[1]}
        first = next(iter(self._arms), "")
        for name, mean in means.items():
            self._arms[name].loss.add(mean)
            self._arms[name].block = (0.0, 0)
            if name != first and first in means:
                self._differences.setdefault(name, MeanOverTime(ALPHA)).add(mean - means[first])

    def _state(self) -> dict[str, Any]:
        """Closed blocks as plain values, for ``restore``."""
        arms = [
            {
                "name": name, "model_id": arm.model_id, "forecasts": arm.forecasts, "cells": arm.cells,
                "brier": arm.brier, "loss": arm.loss.to_dict(),
            }
            for name, arm in self._arms.items()
        ]  # fmt: skip
        differences = {name: mean.to_dict() for name, mean in self._differences.items()}
        return {
            "primary_horizon_ns": self._primary_ns, "block_ns": BLOCK_NS, "block": self._block, "arms": arms,
            "differences": differences,
        }  # fmt: skip

    def restore(self, values: Mapping[str, Any]) -> None:
        """Go on from a state that ``on_block`` was called with; forecasts up to its block count no more.

        Raises AttributeError, KeyError, TypeError, ValueError for what is none, or one of another horizon
        """
        for name, own in (("primary_horizon_ns", self._primary_ns), ("block_ns", BLOCK_NS)):
            if values[name] != own:
                raise ValueError(f"{name}: is {values[name]}, needed is {own}")
        arms, differences = {}, {}
        for item in values["arms"]:
            arm = _Arm(
                model_id=str(item["model_id"]), forecasts=int(item["forecasts"]), cells=int(item["cells"]),
                brier=float(item["brier"]),
            )  # fmt: skip
            arm.loss.restore(item["loss"])
            arms[str(item["name"])] = arm
        for name, mean in values["differences"].items():
            differences[str(name)] = MeanOverTime(ALPHA)
            differences[str(name)].restore(mean)
        with self._lock:
            self._begin()
            self._arms, self._differences = arms, differences
            self._block = self._counted = int(values["block"])

    def results(self) -> dict[str, Any]:
        """Plain values; bounds are null before FIRST blocks."""
        with self._lock:
            first = next(iter(self._arms), "")
            return {
                "block_s": BLOCK_NS / 1e9,
                "arms": [_arm(name, arm) for name, arm in self._arms.items()],
                "comparisons": [_comparison(name, first, mean) for name, mean in self._differences.items()],
            }


def _arm(name: str, arm: _Arm) -> dict[str, Any]:
    return {
        "name": name,
        "model_id": arm.model_id,
        "forecasts": arm.forecasts,
        "cells": arm.cells,
        "brier": arm.brier / arm.cells if arm.cells else None,
        **_bounds("log_loss", arm.loss),
    }


def _comparison(name: str, first: str, mean: MeanOverTime) -> dict[str, Any]:
    decided = mean.n >= FIRST and mean.p_value <= ALPHA
    verdict = ("better" if mean.mean < 0 else "worse") if decided else "open"
    values = {"name": name, "against": first, "verdict": verdict, "p_value": mean.p_value}
    return values | _bounds("difference", mean)


def _bounds(label: str, mean: MeanOverTime) -> dict[str, Any]:
    interval = mean.interval()
    return {
        "blocks": mean.n,
        label: mean.mean if mean.n else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
    }
