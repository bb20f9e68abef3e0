"""Measures over scores by sweep: means of stretches, time to recover, relative change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]
"""One score a sweep, NaN where there is none."""

WINDOW = 10
"""Sweeps over whose mean two series are compared: neighbouring sweeps see nearly the same."""


def mean(values: Series, first: int = 0, end: int | None = None) -> float:
    """Mean of the finite values of a stretch; NaN where there is none."""
    part = values[first:end]
    part = part[np.isfinite(part)]
    return float(part.mean()) if len(part) else float("nan")


def common(*series: Series) -> tuple[Series, ...]:
    """The series with NaN wherever one of them has none, so that their means are of the same sweeps."""
    known = np.logical_and.reduce([np.isfinite(values) for values in series])
    return tuple(np.where(known, values, np.nan) for values in series)


def excess(values: Series, reference: Series, first: int = 0, end: int | None = None) -> float:
    """How far the mean of a stretch is above the reference's, relative to it, on sweeps that both have."""
    own, other = common(values, reference)
    return mean(own, first, end) / mean(other, first, end) - 1


def time_to_recover(
    values: Series, reference: Series, begin: int, within: float = 0.05, window: int = WINDOW
) -> int | None:
    """Sweeps from ``begin`` until the mean over a window is at most (1 + within) times the reference's.

    The first such window counts, by its first sweep; None where there is none. Both on sweeps that both have
    """
    own, other = common(values, reference)
    for first in range(begin, len(own) - window + 1):
        if mean(own, first, first + window) <= (1 + within) * mean(other, first, first + window):
            return first - begin
    return None


def block_interval(
    values: Series, *, seed: int, block: int = WINDOW, resamples: int = 2000
) -> tuple[float, float]:
    """95 % interval of the mean, by the circular block bootstrap of Politis and Romano (1992).

    values : by sweep; those that are not finite are left out. Given differences of two series by sweep, the
    bootstrap is paired
    seed : of the draws. block : sweeps drawn together, as neighbouring sweeps share most of what they see
    NaN where there are fewer than two blocks: so few sweeps say nothing of their own spread
    """
    known = values[np.isfinite(values)]
    if len(known) < 2 * block:
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(len(known), size=(resamples, -(-len(known) // block), 1))
    rows = (draws + np.arange(block)).reshape(resamples, -1)[:, : len(known)] % len(known)
    low, high = np.percentile(known[rows].mean(1), (2.5, 97.5))
    return float(low), float(high)


def smooth(values: Series, window: int = WINDOW) -> Series:
    """Mean over the newest ``window`` sweeps, fewer at the start; NaN where none of them has a value."""
    return np.array([mean(values, max(0, end - window), end) for end in range(1, len(values) + 1)])
