"""Scores of late: of the last sweeps alone, and of all sweeps with the old ones fading."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from models.scores.coarse import CoarseCounts, CoarseRows

RESCALE = 2.0**40
"""Newer rows weigh ever more, until the newest weighs so much; then all weights are made small again."""


class WindowedScores:
    """Rows of the last ``sweeps`` sweeps, each as much as the other; exactly those."""

    def __init__(self, sweeps: int) -> None:
        if sweeps < 1:
            raise ValueError(f"sweeps: must be >= 1, got {sweeps}")
        self._sweeps = sweeps
        self._held: deque[CoarseRows] = deque()
        self._counts = CoarseCounts()

    def add(self, rows: CoarseRows) -> None:
        """Add one sweep; the oldest one goes when there are too many."""
        self._held.append(rows)
        self._counts.add(rows)
        if len(self._held) > self._sweeps:
            self._counts.add(self._held.popleft(), -1.0)

    def scores(self) -> dict[str, float | None]:
        """See ``CoarseCounts.scores``."""
        return self._counts.scores()

    def state(self) -> dict[str, Any]:
        """Plain values; ``from_state`` is the exact inverse."""
        return {
            "sweeps": self._sweeps,
            "keys": [rows.keys for rows in self._held],
            "sums": [rows.sums for rows in self._held],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> WindowedScores:
        """Rebuild from ``state``."""
        scores = cls(int(state["sweeps"]))
        for keys, sums in zip(state["keys"], state["sums"], strict=True):
            scores.add(CoarseRows(keys, sums))
        return scores


class FadingScores:
    """Rows of all sweeps; a row weighs half as much after ``half_life`` further sweeps.

    half_life : sweeps, > 0
    """

    def __init__(self, half_life: float) -> None:
        if not 0 < half_life < np.inf:
            raise ValueError(f"half_life: must be > 0 and finite, got {half_life}")
        self._half_life = half_life
        self._weight = 1.0  # of the newest sweep
        self._counts = CoarseCounts()

    def add(self, rows: CoarseRows) -> None:
        """Add one sweep with full weight; all before it weigh a little less."""
        self._weight *= 2.0 ** (1.0 / self._half_life)
        if self._weight > RESCALE:
            self._counts.scale(1.0 / self._weight)
            self._weight = 1.0
        self._counts.add(rows, self._weight)

    def scores(self) -> dict[str, float | None]:
        """See ``CoarseCounts.scores``; n is the weight of all rows, a row of the newest sweep being 1."""
        scores = self._counts.scores()
        return scores | {"n": (scores["n"] or 0.0) / self._weight}

    def state(self) -> dict[str, Any]:
        """Plain values; ``from_state`` is the exact inverse."""
        return {"half_life": self._half_life, "weight": self._weight, "counts": self._counts.state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> FadingScores:
        """Rebuild from ``state``."""
        scores = cls(float(state["half_life"]))
        scores._weight = float(state["weight"])
        scores._counts = CoarseCounts.from_state(state["counts"])
        return scores
