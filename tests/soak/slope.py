"""How fast something grows, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

BATCHES = 8
LEVEL = 0.95
HOUR_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Growth an hour, and the ends of its confidence interval."""

    per_hour: float
    low: float
    high: float


def slope_of(at_s: Sequence[float], values: Sequence[float], level: float = LEVEL) -> Slope | None:
    """The slope of readings over time; None for fewer than two a batch.

    at_s : seconds, rising, shape (N,); values : of the same shape, any unit; level : of confidence

    Readings that follow each other resemble each other, so their own scatter would give far too narrow an
    interval. The readings are cut into 8 batches of equal time, a line is laid through the batches'
    medians, and the interval is Student's with 6 degrees of freedom: batches are long enough to be nearly
    independent (as for the output of simulations: Law, Simulation Modeling and Analysis, chapter 9). Medians,
    as buffers come for moments, and connections go while a broker is away; what leaks is there at any time.
    """
    at, read = np.asarray(at_s, dtype=float), np.asarray(values, dtype=float)
    if len(at) < 2 * BATCHES:
        return None
    edges = np.linspace(at[0], at[-1], BATCHES + 1)
    batch = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, BATCHES - 1)
    if len(np.unique(batch)) < BATCHES:
        return None
    medians = [(at[batch == number].mean(), np.median(read[batch == number])) for number in range(BATCHES)]
    if len({median for _, median in medians}) == 1:
        return Slope(per_hour=0.0, low=0.0, high=0.0)
    line = stats.linregress(*zip(*medians, strict=True))
    half = stats.t.ppf(0.5 + level / 2, BATCHES - 2) * line.stderr
    per_hour, low, high = (
        float(HOUR_SECONDS * slope) for slope in (line.slope, line.slope - half, line.slope + half)
    )
    return Slope(per_hour=per_hour, low=low, high=high)
