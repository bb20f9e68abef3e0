"""Scores by sweep over a run of any length, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.scores.tally import SweepScore

METRICS = ("average_precision", "log_loss", "brier", "n")


class ScoreSeries:
    """One row a sweep: its stamp and, by name, the scores of that sweep alone.

    names : whose scores are kept
    cap : rows held at most, >= 2; when full, every second row is dropped and from then on only every
        second sweep is kept, so that the rows stay evenly spaced over the whole run
    """

    def __init__(self, names: Sequence[str], cap: int = 4096) -> None:
        if cap < 2:
            raise ValueError(f"cap: must be >= 2, got {cap}")
        self._names = tuple(names)
        self._cap = cap
        self._stride = 1
        self._seen = 0
        self._length = 0
        # All of it at once and touched: a process that grows for its first hours reads like a leak.
        self._stamps = np.full(cap, -1, np.int64)
        self._rows = np.full((cap, len(self._names), len(METRICS)), np.nan)

    def __len__(self) -> int:
        return self._length

    @property
    def stride(self) -> int:
        """Every stride-th sweep is kept."""
        return self._stride

    def add(self, stamp_ns: int, scores: Mapping[str, SweepScore]) -> None:
        """Append a sweep; a name without scores gets NaN and n = 0."""
        keep = self._seen % self._stride == 0
        self._seen += 1
        if not keep:
            return
        if self._length == self._cap:
            self._thin()
            if (self._seen - 1) % self._stride:
                return
        self._stamps[self._length] = stamp_ns
        self._rows[self._length] = [_values(scores.get(name)) for name in self._names]
        self._length += 1

    def _thin(self) -> None:
        self._length = (self._length + 1) // 2
        for kept in (self._stamps, self._rows):
            kept[: self._length] = kept[::2].copy()
        self._stride *= 2

    def arrays(self) -> dict[str, Any]:
        """``stamp_ns`` int64 (S,) and, by name, a dict of float64 (S,): NaN where unsupported."""
        stamps, table = self._kept()
        series: dict[str, Any] = {"stamp_ns": stamps}
        for column, name in enumerate(self._names):
            series[name] = {metric: table[:, column, place] for place, metric in enumerate(METRICS)}
        return series

    def _kept(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Copies of stamps and rows."""
        return self._stamps[: self._length].copy(), self._rows[: self._length].copy()

    def state(self) -> dict[str, Any]:
        """Plain values; ``from_state`` is the exact inverse."""
        stamps, rows = self._kept()
        return {
            "names": list(self._names),
            "cap": self._cap,
            "stride": self._stride,
            "seen": self._seen,
            "stamp_ns": stamps,
            "rows": rows,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ScoreSeries:
        """Rebuild from ``state``."""
        series = cls(state["names"], int(state["cap"]))
        series._stride = int(state["stride"])
        series._seen = int(state["seen"])
        series._length = len(state["stamp_ns"])
        series._stamps[: series._length] = state["stamp_ns"]
        series._rows[: series._length] = state["rows"]
        return series


def _values(score: SweepScore | None) -> tuple[float, float, float, float]:
    if score is None:
        return (np.nan, np.nan, np.nan, 0.0)
    parts = (score.average_precision, score.log_loss, score.brier)
    first, second, third = (np.nan if part is None else part for part in parts)
    return (first, second, third, float(score.n))
