"""Rows counted by probability: all that a score of independent cells can know, in sorted form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.probability import GRID

CALIBRATION_BINS = 15


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Reliability:
    """Forecast against observed share, one row an equal-mass bin, lowest probabilities first.

    probability : float64 (B,), mean probability of the bin
    occupied : float64 (B,), share of its rows that came true
    count : int64 (B,), rows of the bin, all > 0
    """

    probability: NDArray[np.float64]
    occupied: NDArray[np.float64]
    count: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decomposition:
    """The parts of a Brier score: reliability - resolution + uncertainty + within.

    reliability : mean over rows of (mean forecast of their bin - share that came true)^2; 0 is calibrated
    resolution : of (share of the bin - share of all)^2; the more, the better forecasts tell cases apart
    uncertainty : share (1 - share) of all, which no forecast changes
    within : what forecasts that differ within a bin add or take away; small
    Source: Murphy 1973; Stephenson, Coelho and Jolliffe 2008 for the last part.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Tally:
    """Rows grouped by probability k / GRID.

    k : int64 (K,), ascending, no duplicates, 1 <= k < GRID
    positives, negatives : int64 (K,), rows with and without the event; positives + negatives > 0. Weights,
        as of rows that fade, are float64 (K,); then ``n`` is a float, and bins weigh the same
    """

    k: NDArray[np.int64]
    positives: NDArray[Any]
    negatives: NDArray[Any]

    @property
    def n(self) -> int:
        """Number of rows, or their weight."""
        n: int = (self.positives.sum() + self.negatives.sum()).item()
        return n

    def complement(self) -> Tally:
        """The tally of the opposite event: probability 1 - p, labels swapped."""
        return Tally(k=GRID - self.k[::-1], positives=self.negatives[::-1], negatives=self.positives[::-1])

    def average_precision(self) -> float | None:
        """Area under precision over recall as scikit-learn defines it: a step per distinct probability.

        Returns None without a positive row. 1.0 when every row is positive.
        """
        hits = self.positives[::-1]
        total = hits.sum()
        if total == 0:
            return None
        found = np.cumsum(hits)
        precision = found / np.cumsum(hits + self.negatives[::-1])
        return float(np.sum(precision * hits) / total)

    def log_loss(self) -> float | None:
        """Mean negative log likelihood, nats a row; None without rows.

        The contract clips probabilities at 1e-7, which never binds: the grid keeps them 7.6e-6 off 0 and 1.
        """
        if self.k.size == 0:
            return None
        p = self.k / GRID
        return float(-np.sum(self.positives * np.log(p) + self.negatives * np.log1p(-p)) / self.n)

    def brier(self) -> float | None:
        """Mean squared difference between probability and label; None without rows."""
        if self.k.size == 0:
            return None
        p = self.k / GRID
        return float(np.sum(self.positives * (1.0 - p) ** 2 + self.negatives * p**2) / self.n)

    def entropy(self) -> float | None:
        """The log loss that the forecasts expect of themselves, nats a row; None without rows.

        That of a calibrated forecast is its entropy; a larger one says that it was surer than it should be.
        """
        if self.k.size == 0:
            return None
        p = self.k / GRID
        rows = self.positives + self.negatives
        return float(-np.sum(rows * (p * np.log(p) + (1 - p) * np.log1p(-p))) / self.n)

    def decomposition(self, bins: int = CALIBRATION_BINS) -> Decomposition | None:
        """Brier score by reliability and resolution, bins and ties as in ``reliability``; None if empty."""
        brier = self.brier()
        if brier is None:
            return None
        table, total = self.reliability(bins), self.positives.sum() / self.n
        reliability = float(np.sum(table.count * (table.probability - table.occupied) ** 2) / self.n)
        resolution = float(np.sum(table.count * (table.occupied - total) ** 2) / self.n)
        uncertainty = float(total * (1 - total))
        return Decomposition(
            reliability=reliability,
            resolution=resolution,
            uncertainty=uncertainty,
            within=brier - reliability + resolution - uncertainty,
        )

    def reliability(self, bins: int = CALIBRATION_BINS) -> Reliability:
        """Equal-mass bins over the rows in order of probability.

        Bin sizes are those of ``numpy.array_split``: the first n % bins bins hold one row more; empty bins
        (fewer rows than bins) are left out. Rows of equal probability have no order among themselves, so
        where such a run straddles an edge each side gets its proportional share of positives, the expected
        value over all orders.
        """
        if bins < 1:
            raise ValueError(f"bins: must be >= 1, got {bins}")
        sizes: NDArray[Any] = np.full(bins, self.n / bins)
        if isinstance(self.n, int):
            sizes = self.n // bins + (np.arange(bins) < self.n % bins)
        sizes = sizes[sizes > 0]
        edges = np.concatenate([[0], np.cumsum(sizes)])
        rows = self.positives + self.negatives
        reached = np.concatenate([[0], np.cumsum(rows)])
        mass = np.concatenate([[0], np.cumsum(self.k * rows)])
        hits = np.concatenate([[0], np.cumsum(self.positives)])
        return Reliability(
            probability=np.diff(np.interp(edges, reached, mass)) / (sizes * GRID),
            occupied=np.diff(np.interp(edges, reached, hits)) / sizes,
            count=sizes,
        )

    def ece(self, bins: int = CALIBRATION_BINS) -> float | None:
        """Expected calibration error: mean over rows of |mean probability - share| of their bin.

        Bins and ties as in ``reliability``; None without rows. A sort that breaks ties in another way gives
        a value that differs by the noise of that order (about 1e-3 for the two-valued persistence baseline).
        """
        if self.k.size == 0:
            return None
        table = self.reliability(bins)
        return float(np.sum(np.abs(table.probability - table.occupied) * table.count) / self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepScore:
    """Scores of one sweep: ``average_precision`` is None without a positive, all are None without rows."""

    n: int
    average_precision: float | None
    log_loss: float | None
    brier: float | None


def row_keys(probability: NDArray[np.float32], occupied: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Probability and label of each row in one number, 2 k + occupied.

    probability : float32 (N,), on the grid (see models.probability); occupied : bool (N,)
    Raises ValueError for unequal lengths, for a dtype other than bool, and for a probability off the grid
    """
    if occupied.dtype != np.bool_ or probability.shape != occupied.shape or probability.ndim != 1:
        raise ValueError(
            f"occupied: expected bool {probability.shape} to match probability, "
            f"got {occupied.dtype} {occupied.shape}"
        )
    steps = probability * np.float32(GRID)
    index: NDArray[np.int32] = np.clip(np.nan_to_num(steps), 1, GRID - 1).astype(np.int32)
    if not np.array_equal(index, steps):
        raise ValueError("probability: holds values off the grid; pass it through quantise() first")
    return 2 * index + occupied


def tally_of_keys(keys: NDArray[np.int32]) -> Tally:
    """Count rows given as ``row_keys``."""
    key, count = np.unique(keys, return_counts=True)
    start = np.flatnonzero(np.diff(key >> 1, prepend=0))
    if start.size == 0:
        empty = np.zeros(0, dtype=np.int64)
        return Tally(k=empty, positives=empty, negatives=empty)
    positives = np.add.reduceat(count * (key & 1), start)
    negatives = np.add.reduceat(count, start) - positives
    return Tally(k=(key[start] >> 1).astype(np.int64), positives=positives, negatives=negatives)


def tally_of(probability: NDArray[np.float32], occupied: NDArray[np.bool_]) -> Tally:
    """Count rows by probability; arguments and errors as in ``row_keys``."""
    return tally_of_keys(row_keys(probability, occupied))


def sweep_score(tally: Tally) -> SweepScore:
    """The scores of one sweep's rows."""
    return SweepScore(
        n=tally.n,
        average_precision=tally.average_precision(),
        log_loss=tally.log_loss(),
        brier=tally.brier(),
    )
