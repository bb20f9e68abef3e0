"""How much what a sweep saw contradicts what was forecast: an anomaly score by cell, without labels.

Noise strikes single cells, and one forecast of several; a thing that nobody expected fills cells side by side
and contradicts the forecasts of every horizon. So losses are averaged over both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS_SHARE = 0.5
"""Of a cell's surprise that its neighbours have."""


def surprise(
    probability: NDArray[np.float32], occupied: NDArray[np.bool_], neighbor_index: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Surprise of the cells that one sweep observed, nats, float32 (N,), 0 or more.

    probability : float32 (N, H), of occupied, forecast for this sweep from H earlier ones, strictly in 0..1;
        NaN where a forecast did not know the cell
    occupied : bool (N,), what the sweep saw
    neighbor_index : int32 (N, 14), rows of observed cells, N where there is none
    A cell without any forecast has no surprise of its own (0), and takes part in none of its neighbours'.
    Raises ValueError where lengths differ
    """
    count = len(occupied)
    if probability.ndim != 2 or len(probability) != count or neighbor_index.shape[:1] != (count,):
        raise ValueError(
            f"occupied: {count} cells, but probability {probability.shape}, neighbours {neighbor_index.shape}"
        )
    p = probability.astype(np.float64)
    losses = -np.log(np.where(occupied[:, None], p, 1.0 - p))
    known = np.isfinite(losses)
    own = np.where(known, losses, 0.0).sum(1) / np.maximum(known.sum(1), 1)
    has = known.any(1)
    near, there = np.append(own, 0.0)[neighbor_index], np.append(has, False)[neighbor_index]
    around = (near * there).sum(1) / np.maximum(there.sum(1), 1)
    share = np.where(there.any(1), NEIGHBOURS_SHARE, 0.0)
    return np.where(has, (1 - share) * own + share * around, 0.0).astype(np.float32)
