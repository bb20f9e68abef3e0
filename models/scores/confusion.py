"""Scores of forecasts of one of several classes, in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CLIP = 1e-7


class Confusion:
    """Counts of (true, forecast) class, and the summed log loss.

    classes : number of them, C
    """

    def __init__(self, classes: int) -> None:
        self._counts: NDArray[np.float64] = np.zeros((classes, classes))
        self._loss = 0.0

    def add(self, probability: NDArray[Any], code: NDArray[Any], weight: NDArray[Any] | None = None) -> None:
        """Add rows.

        probability : float (N, C); code : integer (N,), the true class
        weight : float (N,), 1 each by default
        """
        count = len(self._counts)
        weights = np.ones(len(code)) if weight is None else weight
        pairs = code.astype(np.int64) * count + probability.argmax(1)
        self._counts += np.bincount(pairs, weights, count * count).reshape(count, count)
        p = np.clip(probability[np.arange(len(code)), code].astype(np.float64), CLIP, 1.0)
        self._loss -= float(np.sum(weights * np.log(p)))

    @property
    def counts(self) -> NDArray[np.float64]:
        """Rows by true and by forecast class, float64 (C, C)."""
        return self._counts.copy()

    def scores(self) -> dict[str, float | None]:
        """accuracy; mean_iou, over classes that occur; log_loss, nats; n. None without rows."""
        n = float(self._counts.sum())
        iou = self.iou()
        return {
            "accuracy": float(np.trace(self._counts)) / n if n else None,
            "mean_iou": float(np.nanmean(iou)) if n else None,
            "log_loss": self._loss / n if n else None,
            "n": n,
        }

    def iou(self) -> NDArray[np.float64]:
        """Intersection over union by class, float64 (C,), NaN for one that occurs nowhere."""
        hit = np.diag(self._counts)
        union = self._counts.sum(0) + self._counts.sum(1) - hit
        share: NDArray[np.float64] = np.full(len(hit), np.nan)
        np.divide(hit, union, out=share, where=union > 0)
        return share
