"""Measurements of a log: spreads, periods, where points fall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stream.config import Config
from stream.sweep import Sweep

GAP_PERIODS = 1.5
"""Two sweeps further apart than this many median periods are a gap."""

FARTHEST_M = 1000
"""Points beyond count as at this range when the farthest are looked for."""

IN_RANGE, NEARER, FARTHER, NOT_FINITE, INTENSITIES = range(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Smallest, median and largest of a measurement."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Of any values; None when there are none."""
        if not len(values):
            return None
        return cls(least=float(min(values)), median=float(np.median(values)), most=float(max(values)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Time between sweeps of one stream, in the order in which they came.

    median_ns, longest_ns : of the steps forward in time
    jitter_ns : 95th percentile of their distance from the median
    gaps : steps longer than 1.5 medians
    backward, repeated : stamps that lie before, or equal, the stamp before them
    """

    median_ns: float
    longest_ns: float
    jitter_ns: float
    gaps: int
    backward: int
    repeated: int

    @classmethod
    def of(cls, stamps: Mapping[str, Sequence[int]]) -> Period | None:
        """Over all streams (stream id to stamps, ns); None without two sweeps in one stream."""
        step = np.array(
            [later - earlier for values in stamps.values() for earlier, later in pairwise(values)], np.int64
        )
        forward = step[step > 0]
        if not len(forward):
            return None
        median = float(np.median(forward))
        return cls(
            median_ns=median,
            longest_ns=float(forward.max()),
            jitter_ns=float(np.percentile(np.abs(forward - median), 95)),
            gaps=int((forward > GAP_PERIODS * median).sum()),
            backward=int((step < 0).sum()),
            repeated=int((step == 0).sum()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Where the points went, as shares of all points, 0..1; ``intensity`` is its range, None when unknown.

    farthest_m : range of the farthest points, to 0.1 m; at_farthest : the share of points that are as far
    """

    count: int
    in_range: float
    nearer: float
    farther: float
    not_finite: float
    farthest_m: float
    at_farthest: float
    intensity: tuple[float, float] | None


class PointTally:
    """Counts points by where they fall; the order of the sweeps does not matter."""

    def __init__(self, config: Config) -> None:
        self._near = config.grid.range_min_m**2
        self._far = config.grid.range_max_m**2
        self._counts = np.zeros(4, np.int64)
        self._decimetres = np.zeros(10 * FARTHEST_M + 1, np.int64)
        self._intensity = (np.inf, -np.inf)

    def add(self, sweep: Sweep) -> None:
        """Count the points of one sweep or part."""
        points = sweep.points.astype(np.float64)
        square = np.einsum("ij,ij->i", points, points)
        finite = np.isfinite(square)
        near, far = square < self._near, square > self._far
        self._counts[NEARER] += int(near.sum())
        self._counts[FARTHER] += int((far & finite).sum())
        self._counts[NOT_FINITE] += int((~finite).sum())
        self._counts[IN_RANGE] += int((finite & ~near & ~far).sum())
        ranges = np.minimum(np.sqrt(square[finite]) * 10, 10 * FARTHEST_M)
        self._decimetres += np.bincount(np.rint(ranges).astype(np.int64), minlength=len(self._decimetres))
        values = sweep.intensity[np.isfinite(sweep.intensity)]
        if len(values):
            least, most = self._intensity
            self._intensity = (min(least, float(values.min())), max(most, float(values.max())))

    def result(self) -> Points | None:
        """The shares so far; None without a point."""
        count = int(self._counts.sum())
        if not count:
            return None
        share = [float(value) / count for value in self._counts]
        farthest = int(np.flatnonzero(self._decimetres)[-1]) if self._decimetres.any() else 0
        return Points(
            count=count,
            in_range=share[IN_RANGE],
            nearer=share[NEARER],
            farther=share[FARTHER],
            not_finite=share[NOT_FINITE],
            farthest_m=farthest / 10,
            at_farthest=float(self._decimetres[farthest]) / count,
            intensity=self._intensity if self._intensity[0] <= self._intensity[1] else None,
        )
