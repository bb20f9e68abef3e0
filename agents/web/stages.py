"""How long forecasts took, by stage, over the last of them."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np

from agents.archive import Latency

KEPT = 600
"""Forecasts: a minute of one robot at 10 Hz."""


class Stages:
    """Milliseconds by stage of the newest forecasts. One thread adds, any may read."""

    def __init__(self, kept: int = KEPT) -> None:
        self._lock = threading.Lock()
        self._rows: deque[dict[str, float]] = deque(maxlen=kept)

    def add(self, latency: Latency) -> None:
        """Take what one forecast took."""
        with self._lock:
            self._rows.append(latency.milliseconds)

    def summary(self) -> dict[str, dict[str, float]]:
        """``p50``, ``p99`` and ``max`` in milliseconds, by stage; empty where nothing was measured."""
        with self._lock:
            rows = list(self._rows)
        stages = dict.fromkeys(stage for row in rows for stage in row)
        return {stage: _spread([row[stage] for row in rows if stage in row]) for stage in stages}

    def totals(self, newest: int) -> list[float]:
        """Milliseconds of so many forecasts, the oldest first."""
        with self._lock:
            rows = list(self._rows)[-newest:]
        return [round(row["total"], 3) for row in rows if "total" in row]


def _spread(values: list[float]) -> dict[str, Any]:
    p50, p99 = np.percentile(values, (50, 99))
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(max(values), 3)}
