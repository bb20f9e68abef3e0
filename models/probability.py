"""Probabilities on one grid, so that every score is an exact integer histogram."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GRID = 2**17
"""A served probability is k / GRID with 1 <= k <= GRID - 1: exact in float32, never 0 or 1."""


def quantise(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """Nearest probability on the grid; half steps go to the even one, the ends are kept off 0 and 1.

    probability : float array of any shape; values outside [0, 1] are clamped
    Returns float32 of the same shape, each k / GRID with 1 <= k <= GRID - 1
    Raises ValueError when a value is NaN. Idempotent; a change of less than half a step (3.8e-6) mostly
    vanishes, which hides the last-bit differences between machines.
    """
    steps = np.asarray(np.asarray(probability, dtype=np.float32) * np.float32(GRID))
    np.rint(steps, out=steps)
    np.clip(steps, 1, GRID - 1, out=steps)
    if steps.size and np.isnan(steps.min()):
        raise ValueError("probability: holds NaN; a model must refuse to answer before it gets here")
    steps /= np.float32(GRID)
    return steps
