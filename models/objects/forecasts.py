"""Forecasts of motion: the two that need no learning, and how well any of them come true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.objects.boxes import into_frame
from models.objects.motion import HORIZONS_S, LEAST_STEPS, STEP_S, Motions

Floats = NDArray[np.float64]

MISS_M = 2.0
"""A forecast misses whose best end lies farther from where the object is at the last horizon."""
FASTEST_TURN_RPS = 1.0
SLOWEST_MPS = 0.2
"""What is slower has no heading that could turn."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Modes:
    """K ways that each of N objects may go.

    path : float64 (N, K, T, 2), at HORIZONS_S, in the object's own frame, metres
    probability : float64 (N, K), adding up to 1
    """

    path: Floats
    probability: Floats

    def take(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> Modes:
        """Those of some objects, by row or mask."""
        return Modes(path=self.path[chosen], probability=self.probability[chosen])


def constant_velocity(motions: Motions, span: int = LEAST_STEPS) -> Modes:
    """Straight on, as fast as in the last ``span`` steps, by least squares."""
    velocity, _ = _line(motions, span)
    path = velocity[:, None] * np.array(HORIZONS_S)[None, :, None]
    return Modes(path=path[:, None], probability=np.ones((len(motions), 1)))


def constant_turn(motions: Motions, span: int = LEAST_STEPS) -> Modes:
    """On along a circle, at the speed and the rate of turn of the last ``span`` steps."""
    velocity, rate = _line(motions, span)
    speed = np.hypot(velocity[:, 0], velocity[:, 1])
    rate = np.where(speed > SLOWEST_MPS, np.clip(rate, -FASTEST_TURN_RPS, FASTEST_TURN_RPS), 0.0)
    # The line's direction is that of the middle of the span; by now the object has turned on.
    yaw = np.arctan2(velocity[:, 1], velocity[:, 0]) + rate * (span - 1) * STEP_S / 2
    angle = rate[:, None] * np.array(HORIZONS_S)
    chord = speed[:, None] * np.array(HORIZONS_S) * np.sinc(angle / 2 / np.pi)
    way = yaw[:, None] + angle / 2
    path = np.stack([chord * np.cos(way), chord * np.sin(way)], -1)
    return Modes(path=path[:, None], probability=np.ones((len(motions), 1)))


def _line(motions: Motions, span: int) -> tuple[Floats, Floats]:
    """Velocity over the last steps, float64 (N, 2), and rate of turn, float64 (N,), by least squares.

    span : steps, 3..LEAST_STEPS; all of them are known
    """
    if not 3 <= span <= LEAST_STEPS:
        raise ValueError(f"span: {span} must be 3..{LEAST_STEPS}")
    places = motions.history[:, -span:].astype(np.float64)
    t = (np.arange(span) - (span - 1) / 2) * STEP_S
    velocity = np.einsum("s,nsi->ni", t, places) / (t**2).sum()
    bow = t**2 - (t**2).mean()
    acceleration = 2 * np.einsum("s,nsi->ni", bow, places) / (bow**2).sum()
    yaw = np.arctan2(velocity[:, 1], velocity[:, 0])
    speed = np.maximum(np.hypot(velocity[:, 0], velocity[:, 1]), SLOWEST_MPS)
    return velocity, into_frame(acceleration, yaw)[:, 1] / speed


def forecast_scores(modes: Modes, path: Floats) -> dict[str, float | None]:
    """How near the best mode came, and the most probable one.

    path : float64 (N, T, 2), where the objects went, in their own frame
    Returns ``min_ade_m``, mean distance over horizons of the mode that has the least; ``min_fde_m``, distance
    at the last horizon of the mode that ends nearest; ``miss_rate``, share of objects for which that is above
    2 m; ``top_ade_m`` and ``top_fde_m`` of the most probable mode; ``n``. None where there is no object
    """
    n = len(path)
    if not n:
        return {**dict.fromkeys(("min_ade_m", "min_fde_m", "miss_rate", "top_ade_m", "top_fde_m")), "n": 0}
    away = np.linalg.norm(modes.path - path[:, None], axis=-1)  # (N, K, T)
    ade, fde = away.mean(2), away[:, :, -1]
    top = modes.probability.argmax(1), np.arange(n)
    return {
        "min_ade_m": float(ade.min(1).mean()),
        "min_fde_m": float(fde.min(1).mean()),
        "miss_rate": float((fde.min(1) > MISS_M).mean()),
        "top_ade_m": float(ade[top[1], top[0]].mean()),
        "top_fde_m": float(fde[top[1], top[0]].mean()),
        "n": n,
    }
