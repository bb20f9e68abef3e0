"""How a network normalises every feature, settled sweep by sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.config import ConfigError, Normaliser

MEMORY_SWEEPS = 40
BLOCK_ROWS = 256
STD_FLOOR = 1e-4
STD_FLOOR_SHARE = 1e-5


def normalisers_of(names: Sequence[str], wanted: Mapping[str, Normaliser]) -> tuple[Normaliser, ...]:
    """What ``learn.normalisers`` makes of every column.

    names : of the feature columns; wanted : by name or shell pattern, later ones win
    Raises ConfigError for a pattern that fits no column

    >>> normalisers_of(("range", "hits_0", "hits_1"), {"hits_*": "raw", "hits_1": "min_max"})
    ('standardised', 'raw', 'min_max')
    """
    found: dict[str, Normaliser] = dict.fromkeys(names, "standardised")
    for pattern, normaliser in wanted.items():
        fitting = [name for name in names if fnmatchcase(name, pattern)]
        if not fitting:
            raise ConfigError(f"learn.normalisers.{pattern}: fits no feature column, see docs/features.md")
        found.update(dict.fromkeys(fitting, normaliser))
    return tuple(found.values())


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
    """What normalises features: moments of the past, each sweep weighted max(1 / n, 1 / 40).

    feature_count : F. A feature that never varies is divided by a floor (1e-4, or 1e-5 of its mean if that is
    more), so it stays finite and near 0.
    settle : the moments of the first so many sweeps, weighted alike, stay for good; None never settles.
    A network needs that: its averaged weights lag behind moments that move, which biases every probability
    normalisers : F of them: ``standardised`` by these moments, ``min_max`` by the smallest and the largest
    value of the same sweeps, ``raw`` not at all, ``dropped`` by 0; empty standardises every feature
    """

    def __init__(
        self, feature_count: int, settle: int | None = None, normalisers: Sequence[Normaliser] = ()
    ) -> None:
        if normalisers and len(normalisers) != feature_count:
            raise ValueError(f"normalisers: {len(normalisers)} for {feature_count} features")
        self._settle = settle
        self._normalisers = tuple(normalisers)
        self._mean: NDArray[np.float64] = np.zeros(feature_count)
        self._variance: NDArray[np.float64] = np.ones(feature_count)
        self._least: NDArray[np.float64] = np.full(len(self._columns("min_max")), np.inf)
        self._largest = -self._least
        self._sweeps = 0

    def _columns(self, normaliser: Normaliser) -> list[int]:
        return [column for column, own in enumerate(self._normalisers) if own == normaliser]

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
        bounded = X[:, self._columns("min_max")]
        self._least = np.minimum(self._least, bounded.min(axis=0))
        self._largest = np.maximum(self._largest, bounded.max(axis=0))

    def scale(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What is subtracted, then what multiplies, float32 (F,) each: 0 and 1 before the first sweep.

        Mean and reciprocal standard deviation, or smallest value and reciprocal range, or 0 and 1, or 0 and 0
        """
        offset, spread = self._mean.copy(), np.sqrt(self._variance)
        if self._sweeps:
            bounded, raw = self._columns("min_max"), self._columns("raw")
            offset[bounded], spread[bounded] = self._least, self._largest - self._least
            offset[raw], spread[raw] = 0, 1
        floor = np.maximum(STD_FLOOR, STD_FLOOR_SHARE * np.abs(offset))
        scale = 1 / np.maximum(spread, floor)
        dropped = self._columns("dropped")
        offset[dropped], scale[dropped] = 0, 0
        return offset.astype(np.float32), scale.astype(np.float32)

    @classmethod
    def from_scale(cls, mean: NDArray[np.float32], inv_std: NDArray[np.float32]) -> RunningStandard:
        """The scale of a trained model, settled, whatever its normalisers were."""
        dropped = inv_std == 0
        kinds: list[Normaliser] = ["dropped" if gone else "standardised" for gone in dropped]
        standard = cls(len(mean), 1, kinds if dropped.any() else ())
        standard._mean = mean.astype(np.float64)
        standard._variance = 1 / np.where(dropped, 1, inv_std).astype(np.float64) ** 2
        standard._sweeps = 1
        return standard

    def state(self) -> dict[str, Any]:
        """Plain values; ``from_state`` is the exact inverse."""
        moments = {"mean": self._mean.copy(), "variance": self._variance.copy()}
        state = {**moments, "sweeps": self._sweeps, "settle": self._settle}
        bounds = {"least": self._least.copy(), "largest": self._largest.copy()}
        return {**state, "normalisers": self._normalisers, **bounds} if self._normalisers else state

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> RunningStandard:
        """Rebuild from ``state``."""
        standard = cls(len(state["mean"]), state["settle"], state.get("normalisers", ()))
        standard._mean = np.array(state["mean"], dtype=np.float64)
        standard._variance = np.array(state["variance"], dtype=np.float64)
        standard._sweeps = int(state["sweeps"])
        if standard._normalisers:
            standard._least = np.array(state["least"], dtype=np.float64)
            standard._largest = np.array(state["largest"], dtype=np.float64)
        return standard
