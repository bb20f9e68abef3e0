"""An exact, mergeable store of every scored row in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.probability import GRID
from models.scores.tally import CALIBRATION_BINS, Reliability, Tally, row_keys, tally_of_keys

FEW = 2**14
"""So many rows are kept as they come; counting them would take more memory and time."""


class ScoreHistogram:
    """Counts of (occupied, not occupied) by grid probability: 2 MiB at most, whatever the number of rows.

    Every served probability is k / 2^17, so these integers hold all information for pooled scores: rows may
    come in any order and from any number of workers, and the scores are those of the raw rows, bit for bit
    the same for the same multiset of rows. Scores are None without support.
    """

    def __init__(self) -> None:
        self._few: list[NDArray[np.int32]] = []  # row keys, until there are counts
        self._counts: NDArray[np.int64] | None = None

    @property
    def n(self) -> int:
        """Number of rows added."""
        return self.tally().n

    @property
    def positives(self) -> int:
        """Number of rows in which the event came true."""
        return int(self.tally().positives.sum())

    def add(self, probability: NDArray[np.float32], occupied: NDArray[np.bool_]) -> None:
        """Count rows; float32 (N,) on the grid and bool (N,). Raises ValueError as ``row_keys`` does."""
        self.add_keys(row_keys(probability, occupied))

    def add_keys(self, keys: NDArray[np.int32]) -> None:
        """Count rows given as ``row_keys``."""
        if self._counts is None and sum(map(len, self._few)) + len(keys) <= FEW:
            self._few.append(keys)
        else:
            np.add.at(self._dense().reshape(-1), keys, 1)

    def add_tally(self, tally: Tally) -> None:
        """Count rows that are tallied already."""
        if self._counts is None and tally.n <= FEW:
            key, count = np.concatenate((2 * tally.k, 2 * tally.k + 1)), (tally.negatives, tally.positives)
            self.add_keys(np.repeat(key, np.concatenate(count)).astype(np.int32))
            return
        counts = self._dense()
        counts[tally.k, 0] += tally.negatives
        counts[tally.k, 1] += tally.positives

    def merge(self, other: ScoreHistogram) -> None:
        """Add all rows of another histogram."""
        self.add_tally(other.tally())

    def _dense(self) -> NDArray[np.int64]:
        """The counts, from now on.

        All of their pages are taken at once: with zeros the system would give them one by one, as rarer
        probabilities come, and a process that scores for days would seem to leak.
        """
        if self._counts is None:
            self._counts = np.full((GRID, 2), 0, dtype=np.int64)
            for keys in self._few:
                np.add.at(self._counts.reshape(-1), keys, 1)
            self._few = []
        return self._counts

    def tally(self) -> Tally:
        """All rows in sorted form."""
        if self._counts is None:
            return tally_of_keys(np.concatenate([np.zeros(0, np.int32), *self._few]))
        k = np.flatnonzero(self._counts[:, 0] + self._counts[:, 1])
        return Tally(k=k, positives=self._counts[k, 1], negatives=self._counts[k, 0])

    def complement(self) -> ScoreHistogram:
        """Histogram of the opposite event: score 1 - p, label "not occupied"."""
        opposite = ScoreHistogram()
        opposite.add_tally(self.tally().complement())
        return opposite

    def average_precision(self) -> float | None:
        """Pooled average precision as scikit-learn defines it; None without a positive row."""
        return self.tally().average_precision()

    def log_loss(self) -> float | None:
        """Mean negative log likelihood, nats a row; None without rows."""
        return self.tally().log_loss()

    def brier(self) -> float | None:
        """Mean squared difference between probability and label; None without rows."""
        return self.tally().brier()

    def ece(self, bins: int = CALIBRATION_BINS) -> float | None:
        """Expected calibration error over equal-mass bins (see ``Tally.ece``); None without rows."""
        return self.tally().ece(bins)

    def reliability(self, bins: int = CALIBRATION_BINS) -> Reliability:
        """Mean probability, share occupied and row count of equal-mass bins; empty without rows."""
        return self.tally().reliability(bins)

    def state(self) -> dict[str, Any]:
        """Plain arrays of the occupied part of the grid; ``from_state`` is the exact inverse.

        Of types as narrow as the numbers allow: Judge has dozens of these, and its snapshot is theirs.
        """
        tally = self.tally()
        return {
            "k": tally.k.astype(np.uint32),
            "positives": _narrow(tally.positives),
            "negatives": _narrow(tally.negatives),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ScoreHistogram:
        """Rebuild from ``state``."""
        histogram = cls()
        names = ("k", "positives", "negatives")
        histogram.add_tally(Tally(**{name: np.asarray(state[name], dtype=np.int64) for name in names}))
        return histogram


def _narrow(counts: NDArray[np.int64]) -> NDArray[Any]:
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))
