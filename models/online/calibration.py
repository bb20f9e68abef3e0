"""Recalibration of a forecast at one horizon, kept current with outcomes that old ones fade behind."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 512
LOGIT_MAX = 12.0
"""Logits beyond are counted at the end; that of the surest served probability is 11.8."""

_CENTRE = (np.arange(BINS) + 0.5) / BINS * 2 * LOGIT_MAX - LOGIT_MAX
NEWTON_STEPS = 6
RIDGE = 1e-6
"""Precision about what the rows say nothing of, as when all have the same logit."""


def _sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-logit))


class OnlinePlatt:
    """``logit' = scale * logit + shift``: what past logits and outcomes say about new ones.

    half_life : sweeps after which outcomes weigh half as much, > 0
    caution : what the prior is worth, in rows, > 0: cells of one sweep err together, so a few sweeps prove
        little
    The fit is the maximum of the weighted likelihood with a Gaussian prior about scale 1 and shift 0, as
    precise as the information in ``caution`` rows like those seen. Logits are counted in bins of 0.047, so
    memory does not grow. Deterministic.
    Source: Platt 1999; the prior (Zellner's g-prior, 1986) instead of his smoothed targets.
    """

    def __init__(self, half_life: float, caution: float) -> None:
        for name, value in (("half_life", half_life), ("caution", caution)):
            if not 0 < value < np.inf:
                raise ValueError(f"{name}: must be > 0 and finite, got {value}")
        self._fade = 0.5 ** (1.0 / half_life)
        self._caution = caution
        self._counts: NDArray[np.float64] = np.zeros((BINS, 2))  # (bin, occupied)
        self.scale, self.shift = 1.0, 0.0

    def learn(self, logit: NDArray[np.floating[Any]], occupied: NDArray[np.bool_]) -> None:
        """Fade what was, count one sweep's rows, fit anew.

        logit : float (M,), as they are without recalibration, finite; occupied : bool (M,)
        Raises ValueError for unequal lengths, and for logits that are not finite
        """
        if logit.shape != occupied.shape or not np.isfinite(logit).all():
            raise ValueError(f"logit: expected {occupied.shape} finite values, got {logit.shape}")
        place = np.clip((logit + LOGIT_MAX) * (BINS / (2 * LOGIT_MAX)), 0, BINS - 1).astype(np.int64)
        self._counts *= self._fade
        self._counts += np.bincount(2 * place + occupied, minlength=2 * BINS).reshape(BINS, 2)
        self._fit()

    def _fit(self) -> None:
        """Newton's method from the fit before; the likelihood is concave, and steps are kept short."""
        held = np.flatnonzero(self._counts.sum(1) > 0)
        design = np.column_stack([_CENTRE[held], np.ones(len(held))])
        rows, hits = self._counts[held].sum(1), self._counts[held, 1]
        if not len(held):
            return
        share = _sigmoid(_CENTRE[held])
        each = rows / rows.sum() * share * (1 - share)
        prior = self._caution * (design * each[:, None]).T @ design + RIDGE * np.eye(2)
        at = np.array([self.scale, self.shift])
        for _ in range(NEWTON_STEPS):
            p = _sigmoid(design @ at)
            slope = design.T @ (hits - rows * p) - prior @ (at - [1.0, 0.0])
            bend = (design * (rows * p * (1 - p))[:, None]).T @ design + prior
            at = at + np.clip(np.linalg.solve(bend, slope), -0.5, 0.5)
        self.scale, self.shift = float(at[0]), float(at[1])

    def apply(self, logit: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Logits as they should be."""
        return logit * self.scale + self.shift

    def state(self) -> dict[str, Any]:
        """Plain values; ``restore`` is the exact inverse."""
        return {"counts": self._counts.copy(), "scale": self.scale, "shift": self.shift}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""
        self._counts = np.array(state["counts"], np.float64).reshape(BINS, 2)
        self.scale, self.shift = float(state["scale"]), float(state["shift"])
