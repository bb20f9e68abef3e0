"""Running mean and variance of every feature, sweep by sweep."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MEMORY_SWEEPS = 40
BLOCK_ROWS = 256
STD_FLOOR = 1e-4
STD_FLOOR_SHARE = 1e-5


def _moments(X: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of every column, block by block; a wide copy of a sweep takes three times as long.

    Blocks are summed in float32 about a value near the mean, so nothing cancels.
    """
    about = X[:BLOCK_ROWS].mean(axis=0)
    ones = np.ones(BLOCK_ROWS, np.float32)
    total, square = np.zeros((2, X.shape[1]))
    for first in range(0, len(X), BLOCK_ROWS):
        block = X[first : first + BLOCK_ROWS] - about
        total += ones[: len(block)] @ block
        block *= block
        square += ones[: len(block)] @ block
    shift = total / len(X)
    return about + shift, np.maximum(square / len(X) - shift**2, 0.0)


class RunningStandard:
    """What standardises features: moments of the past, each sweep weighted max(1 / n, 1 / 40).

    feature_count : F. A feature that never varies is divided by a floor (1e-4, or 1e-5 of its mean if that is
    more), so it stays finite and near 0.
    settle : the moments of the first so many sweeps, weighted alike, stay for good; None never settles.
    A network needs that: its averaged weights lag behind moments that move, which biases every probability
    """

    def __init__(self, feature_count: int, settle: int | None = None) -> None:
        self._settle = settle
        self._mean: NDArray[np.float64] = np.zeros(feature_count)
        self._variance: NDArray[np.float64] = np.ones(feature_count)
        self._sweeps = 0

    @property
    def sweeps(self) -> int:
        """Number of sweeps folded in; sweeps without a cell do not count."""
        return self._sweeps

    def update(self, X: NDArray[np.float32]) -> None:
        """Fold in one sweep, float32 (N, F), finite."""
        if len(X) == 0 or self._sweeps == self._settle:
            return
        mean, variance = _moments(X)
        self._sweeps += 1
        rate = max(1.0 / self._sweeps, 1.0 / (self._settle or MEMORY_SWEEPS))
        step = mean - self._mean
        self._variance = (1 - rate) * (self._variance + rate * step**2) + rate * variance
        self._mean = self._mean + rate * step

    def scale(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and reciprocal standard deviation, float32 (F,) each: 0 and 1 before the first sweep."""
        floor = np.maximum(STD_FLOOR, STD_FLOOR_SHARE * np.abs(self._mean))
        deviation = np.maximum(np.sqrt(self._variance), floor)
        return self._mean.astype(np.float32), (1 / deviation).astype(np.float32)

    @classmethod
    def from_scale(cls, mean: NDArray[np.float32], inv_std: NDArray[np.float32]) -> RunningStandard:
        """The scale of a trained model, settled."""
        standard = cls(len(mean), settle=1)
        standard._mean = mean.astype(np.float64)
        standard._variance = 1 / inv_std.astype(np.float64) ** 2
        standard._sweeps = 1
        return standard

    def state(self) -> dict[str, Any]:
        """Plain values; ``from_state`` is the exact inverse."""
        moments = {"mean": self._mean.copy(), "variance": self._variance.copy()}
        return {**moments, "sweeps": self._sweeps, "settle": self._settle}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> RunningStandard:
        """Rebuild from ``state``."""
        standard = cls(len(state["mean"]), state["settle"])
        standard._mean = np.array(state["mean"], dtype=np.float64)
        standard._variance = np.array(state["variance"], dtype=np.float64)
        standard._sweeps = int(state["sweeps"])
        return standard
