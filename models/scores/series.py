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
        self._stamps: list[int] = []
        self._rows: list[NDArray[np.float64]] = []

    def __len__(self) -> int:
        return len(self._rows)

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
        if len(self._rows) == self._cap:
            self._thin()
            if (self._seen - 1) % self._stride:
                return
        self._stamps.append(stamp_ns)
        self._rows.append(np.array([_values(scores.get(name)) for name in self._names], dtype=np.float64))

    def _thin(self) -> None:
        self._stamps = self._stamps[::2]
        self._rows = self._rows[::2]
        self._stride *= 2

    def arrays(self) -> dict[str, Any]:
        """``stamp_ns`` int64 (S,) and, by name, a dict of float64 (S,): NaN where unsupported."""
        table = self._table()
        series: dict[str, Any] = {"stamp_ns": np.array(self._stamps, dtype=np.int64)}
        for column, name in enumerate(self._names):
            series[name] = {metric: table[:, column, place] for place, metric in enumerate(METRICS)}
        return series

    def _table(self) -> NDArray[np.float64]:
        return np.array(self._rows, dtype=np.float64).reshape(-1, len(self._names), len(METRICS))

    def state(self) -> dict[str, Any]:
        """Plain values; ``from_state`` is the exact inverse."""
        return {
            "names": list(self._names),
            "cap": self._cap,
            "stride": self._stride,
            "seen": self._seen,
            "stamp_ns": np.array(self._stamps, dtype=np.int64),
            "rows": self._table(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ScoreSeries:
        """Rebuild from ``state``."""
        series = cls(state["names"], int(state["cap"]))
        series._stride = int(state["stride"])
        series._seen = int(state["seen"])
        series._stamps = [int(stamp) for stamp in state["stamp_ns"]]
        series._rows = list(np.array(state["rows"], dtype=np.float64))
        return series


def _values(score: SweepScore | None) -> tuple[float, float, float, float]:
    if score is None:
        return (np.nan, np.nan, np.nan, 0.0)
    parts = (score.average_precision, score.log_loss, score.brier)
    first, second, third = (np.nan if part is None else part for part in parts)
    return (first, second, third, float(score.n))
