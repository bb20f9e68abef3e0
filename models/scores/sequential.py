"""Whether two means differ, asked as often as one likes: confidence sequences that hold at all times.

The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central
limit theory and asymptotic confidence sequences" (arXiv 2103.06476): the normal mixture of Robbins (1970),
with the variance estimated. Its p-value is that of the mixture sequential probability ratio test of Johari,
Koomen, Pekelis and Walsh, "Peeking at A/B tests" (KDD 2017).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

ALPHA = 0.05
PLANNED = 500
"""Observations after which the interval is about as narrow as it can be."""
FIRST = 50
"""Before so many nothing is said: with skewed noise one run in ten was called different from 20 on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean and the bounds that it lies within, at this and all other times, with probability 1 - alpha."""

    mean: float
    low: float
    high: float


def mixture_variance(alpha: float = ALPHA, planned: int = PLANNED) -> float:
    """The square of rho that makes the interval narrow about ``planned`` observations , as proposed there."""
    level = -2.0 * math.log(alpha)
    return (level + math.log(level + 1.0)) / planned


class MeanOverTime:
    """The mean of observations that come one by one.

    alpha : of the interval; planned : see ``mixture_variance``
    Observations should be about independent: means of blocks that are longer than what is correlated
    """

    def __init__(self, alpha: float = ALPHA, planned: int = PLANNED) -> None:
        self._alpha, self._rho2 = alpha, mixture_variance(alpha, planned)
        self.n = 0
        self.mean = 0.0
        self._squares = 0.0  # sum of squared differences from the mean (Welford 1962)
        self._p = 1.0

    def add(self, value: float) -> None:
        """Take one more observation, finite."""
        self.n += 1
        step = value - self.mean
        self.mean += step / self.n
        self._squares += step * (value - self.mean)
        self._p = min(self._p, self._p_now())

    def to_dict(self) -> dict[str, float]:
        """All that is known, as plain values."""
        return {"n": self.n, "mean": self.mean, "squares": self._squares, "p_value": self._p}

    def restore(self, values: Mapping[str, float]) -> None:
        """Go on from what ``to_dict`` gave. Raises KeyError, TypeError, ValueError for what is none"""
        self.n = int(values["n"])
        self.mean, self._squares, self._p = (float(values[name]) for name in ("mean", "squares", "p_value"))

    @property
    def deviation(self) -> float:
        """Standard deviation of what was observed; 0 before the second observation."""
        return math.sqrt(self._squares / (self.n - 1)) if self.n > 1 else 0.0

    @property
    def p_value(self) -> float:
        """Of the mean being 0: the smallest that it ever was, so it holds whenever one looks."""
        return self._p

    def interval(self) -> Interval | None:
        """Bounds at all times; None before FIRST observations."""
        if self.n < FIRST:
            return None
        scaled = self.n * self._rho2 + 1.0
        width = 2.0 * scaled / (self.n**2 * self._rho2) * math.log(math.sqrt(scaled) / self._alpha)
        half = self.deviation * math.sqrt(width)
        return Interval(mean=self.mean, low=self.mean - half, high=self.mean + half)

    def _p_now(self) -> float:
        if self.n < FIRST:
            return 1.0
        if not self.deviation:
            return 1.0 if self.mean == 0.0 else 0.0
        scaled = self.n * self._rho2 + 1.0
        z = self.mean / self.deviation
        exponent = self.n**2 * self._rho2 * z**2 / (2.0 * scaled)
        return math.sqrt(scaled) * math.exp(-exponent) if exponent < 700 else 0.0
