"""What a forecast must beat: two rules of thumb, kept calibrated by past outcomes.

Both learn only how often their own signal came true, so they lose to the network on information, not on
calibration. Counts are integers: outcomes may be learnt in any order.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.probability import quantise


def pool_adjacent_violators(value: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted least-squares fit to ``value`` that never falls.

    value : float64 (N,); weight : float64 (N,), > 0. Returns float64 (N,). Deterministic.
    Source: Barlow et al. 1972, Statistical Inference under Order Restrictions.
    """
    means: list[float] = []
    weights: list[float] = []
    lengths: list[int] = []
    for mean, mass in zip(value.tolist(), weight.tolist(), strict=True):
        length = 1
        while means and means[-1] >= mean:
            total = weights[-1] + mass
            mean = (means.pop() * weights[-1] + mean * mass) / total
            mass = total
            weights.pop()
            length += lengths.pop()
        means.append(mean)
        weights.append(mass)
        lengths.append(length)
    return np.repeat(np.array(means, dtype=np.float64), lengths)


class PersistenceBaseline:
    """What is hit now stays hit: the share of such cells, and of all others, that were hit at the horizon.

    Laplace smoothing: (occupied + 1) / (rows + 2).
    """

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] = np.zeros((2, 2), dtype=np.int64)  # (hit now, occupied)

    def predict(self, hit: NDArray[np.bool_]) -> NDArray[np.float32] | None:
        """Probability by cell, float32 (N,) on the grid; None before the first outcome.

        hit : bool (N,), a return lies in the cell in the newest bin
        """
        _require_bool("hit", hit)
        if not self._counts.any():
            return None
        share = (self._counts[:, 1] + 1) / (self._counts.sum(axis=1) + 2)
        return quantise(share[hit.astype(np.intp)])

    def learn(self, hit: NDArray[np.bool_], occupied: NDArray[np.bool_]) -> None:
        """Count observed cells; bool (M,) each. Raises ValueError when dtype or length do not fit."""
        _require_bool("hit", hit)
        _require_labels(occupied, len(hit))
        key = 2 * hit.astype(np.int64) + occupied
        self._counts += np.bincount(key, minlength=4).reshape(2, 2)

    def state(self) -> dict[str, Any]:
        """Plain values; ``from_state`` is the exact inverse."""
        return {"counts": self._counts.copy()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> PersistenceBaseline:
        """Rebuild from ``state``."""
        baseline = cls()
        baseline._counts = np.array(state["counts"], dtype=np.int64).reshape(2, 2)
        return baseline


class FrequencyBaseline:
    """A cell hit in h of its o observed bins: how often cells of that ratio were hit at the horizon.

    max_bins : time bins of the window at most, 1..64
    Counts are kept by the exact ratio h / o in lowest terms, smoothed (occupied + 1) / (rows + 2), and made
    monotone in the ratio, because more hits are never evidence of less. A ratio not seen yet is interpolated
    between its seen neighbours; cells observed in no bin have counts of their own outside the order.
    """

    def __init__(self, max_bins: int = 64) -> None:
        if not 1 <= max_bins <= 64:
            raise ValueError(f"max_bins: must be 1..64, got {max_bins}")
        self._max_bins = max_bins
        self._ratio, self._index = _ratios(max_bins)
        self._counts: NDArray[np.int64] = np.zeros((len(self._ratio) + 1, 2), dtype=np.int64)
        self._fit: NDArray[np.float32] | None = None

    def predict(
        self, hit_bins: NDArray[np.integer[Any]], observed_bins: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32] | None:
        """Probability by cell, float32 (N,) on the grid; None before the first outcome.

        hit_bins, observed_bins : integer (N,), 0 <= hit_bins <= observed_bins <= max_bins
        Raises ValueError outside that range
        """
        key = self._key(hit_bins, observed_bins)
        if not self._counts.any():
            return None
        if self._fit is None:
            self._fit = quantise(self._fitted())
        return self._fit[key]

    def learn(
        self,
        hit_bins: NDArray[np.integer[Any]],
        observed_bins: NDArray[np.integer[Any]],
        occupied: NDArray[np.bool_],
    ) -> None:
        """Count observed cells: the inputs that ``predict`` saw, and bool (M,) what became of them."""
        key = self._key(hit_bins, observed_bins)
        _require_labels(occupied, len(key))
        flat = np.bincount(2 * key + occupied, minlength=self._counts.size)
        self._counts += flat.reshape(self._counts.shape)
        self._fit = None

    def _key(
        self, hit_bins: NDArray[np.integer[Any]], observed_bins: NDArray[np.integer[Any]]
    ) -> NDArray[np.int64]:
        hits, seen = np.asarray(hit_bins, dtype=np.int64), np.asarray(observed_bins, dtype=np.int64)
        if hits.shape != seen.shape or hits.ndim != 1:
            raise ValueError(f"observed_bins: expected shape {hits.shape} as hit_bins, got {seen.shape}")
        if np.any((hits < 0) | (hits > seen) | (seen > self._max_bins)):
            raise ValueError(f"hit_bins: expected 0 <= hit_bins <= observed_bins <= {self._max_bins}")
        key: NDArray[np.int64] = self._index[hits, seen]
        return key

    def _fitted(self) -> NDArray[np.float64]:
        """Probability of every ratio, and last of "never observed"."""
        rows = self._counts.sum(axis=1)
        share: NDArray[np.float64] = (self._counts[:, 1] + 1) / (rows + 2)
        if rows[-1] == 0:
            share[-1] = (self._counts[:, 1].sum() + 1) / (rows.sum() + 2)
        seen = np.flatnonzero(rows[:-1])
        if seen.size == 0:
            share[:-1] = share[-1]
            return share
        fit = pool_adjacent_violators(share[seen], rows[seen] + 2.0)
        share[:-1] = np.interp(self._ratio, self._ratio[seen], fit)
        return share

    def state(self) -> dict[str, Any]:
        """Plain values; ``from_state`` is the exact inverse."""
        return {"max_bins": self._max_bins, "counts": self._counts.copy()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> FrequencyBaseline:
        """Rebuild from ``state``."""
        baseline = cls(int(state["max_bins"]))
        baseline._counts = np.array(state["counts"], dtype=np.int64).reshape(-1, 2)
        return baseline


@cache
def _ratios(max_bins: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Every h / o in lowest terms, ascending, and the place of each [h, o] among them; [0, 0] comes last."""
    fractions = sorted({Fraction(h, o) for o in range(1, max_bins + 1) for h in range(o + 1)})
    place = {fraction: index for index, fraction in enumerate(fractions)}
    index = np.full((max_bins + 1, max_bins + 1), -1, dtype=np.int64)
    index[0, 0] = len(fractions)
    for o in range(1, max_bins + 1):
        index[: o + 1, o] = [place[Fraction(h, o)] for h in range(o + 1)]
    return np.array([float(f) for f in fractions], dtype=np.float64), index


def _require_bool(name: str, array: NDArray[np.bool_]) -> None:
    if array.dtype != np.bool_ or array.ndim != 1:
        raise ValueError(f"{name}: expected bool (N,), got {array.dtype} {array.shape}")


def _require_labels(occupied: NDArray[np.bool_], rows: int) -> None:
    _require_bool("occupied", occupied)
    if len(occupied) != rows:
        raise ValueError(f"occupied: expected {rows} rows, got {len(occupied)}")
