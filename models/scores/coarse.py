"""Scores of many slices in little memory: rows counted on a coarser grid, losses summed exactly.

The full histogram of one predictor and slice takes 2 MiB. Here forecasts are counted in bins of 1 / 2048,
which decides only the order of near-equal forecasts (average precision, to 1e-3 or better) and the edges of
calibration bins; log loss and Brier score are sums over forecasts as they were, in units of 2^-24.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.probability import GRID
from models.scores.regions import SCALE
from models.scores.tally import Tally, row_keys
from stream.records import HIT, SEEN_THROUGH, UNOBSERVED

BINS = 2048
_WIDTH = GRID // BINS
_STATES = (UNOBSERVED, SEEN_THROUGH, HIT)
_KEYS = len(_STATES) * BINS * 2
_SUMS = 3
"""Columns of sums: rows, log loss, Brier score."""


@dataclass(frozen=True, slots=True, eq=False)
class CoarseRows:
    """Rows of one sweep: keys uint16 (N,), of state before, bin and outcome; sums int64 (3,)."""

    keys: NDArray[np.uint16]
    sums: NDArray[np.int64]


class CoarseSweep:
    """Rows of one sweep, made once and counted in several slices.

    Arguments and errors as in ``row_keys``; before : uint8 (N,), 0..2
    """

    def __init__(
        self, probability: NDArray[np.float32], occupied: NDArray[np.bool_], before: NDArray[np.uint8]
    ) -> None:
        fine = row_keys(probability, occupied) >> 1
        p = probability.astype(np.float64)
        self._keys = ((before.astype(np.int64) * BINS + fine // _WIDTH) * 2 + occupied).astype(np.uint16)
        self._each = np.ones((len(p), _SUMS), np.int64)
        self._each[:, 1] = np.rint(-np.log(np.where(occupied, p, 1.0 - p)) * SCALE)
        self._each[:, 2] = np.rint(np.square(p - occupied) * SCALE)

    def rows(self, chosen: NDArray[np.bool_] | None = None) -> CoarseRows:
        """All rows, or the chosen ones, bool (N,)."""
        if chosen is None:
            return CoarseRows(self._keys, self._each.sum(0))
        return CoarseRows(self._keys[chosen], self._each[chosen].sum(0))


class CoarseCounts:
    """Rows counted by state before, bin and outcome; 98 KB. Weights may be fractions.

    Of whole rows all is in integers below 2^53, so order does not matter and rows can be taken away again.
    """

    def __init__(self) -> None:
        self._counts: NDArray[np.float64] = np.zeros(_KEYS)
        self._sums: NDArray[np.float64] = np.zeros(_SUMS)

    def add(self, rows: CoarseRows, weight: float = 1.0) -> None:
        """Count rows, each ``weight`` times; a negative weight takes them away."""
        self._counts += weight * np.bincount(rows.keys, minlength=_KEYS)
        self._sums += weight * rows.sums

    def scale(self, factor: float) -> None:
        """Weigh all rows so far by a factor."""
        self._counts *= factor
        self._sums *= factor

    def tally(self, *states: int) -> Tally:
        """The rows whose cell was in one of these states before, by the middle of their bin."""
        counts = self._counts.reshape(len(_STATES), BINS, 2)[list(states)].sum(0)
        held = np.flatnonzero(counts.sum(1) > 0)
        return Tally(k=held * _WIDTH + _WIDTH // 2, positives=counts[held, 1], negatives=counts[held, 0])

    def scores(self) -> dict[str, float | None]:
        """Under the keys of ``summary.json``; None where nothing supports one; n : rows, or their weight."""
        n, loss, brier = self._sums.tolist()
        tally = self.tally(*_STATES)
        parts = tally.decomposition()
        return {
            "average_precision": tally.average_precision(),
            "log_loss": loss / (n * SCALE) if n else None,
            "brier": brier / (n * SCALE) if n else None,
            "brier_reliability": parts.reliability if parts else None,
            "brier_resolution": parts.resolution if parts else None,
            "ece": tally.ece(),
            "freed_average_precision": self.tally(HIT).complement().average_precision(),
            "appeared_average_precision": self.tally(SEEN_THROUGH).average_precision(),
            "n": int(n) if n.is_integer() else n,
        }

    def state(self) -> dict[str, Any]:
        """Plain values; ``from_state`` is the exact inverse."""
        held = np.flatnonzero(self._counts)
        return {"key": held.astype(np.uint16), "count": self._counts[held], "sums": self._sums.copy()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> CoarseCounts:
        """Rebuild from ``state``."""
        counts = cls()
        counts._counts[state["key"]] = state["count"]
        counts._sums = np.array(state["sums"], np.float64)
        return counts
