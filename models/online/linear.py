"""The online linear baseline: logistic regression on the network's own features, by river."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.probability import quantise
from models.training.standard import RunningStandard

CLIP = 5.0
BATCHES = 16
LEARNING_RATE = 0.005
INTERCEPT_RATE = 0.3
"""The intercept moves by plain gradient steps, so it needs a far larger rate than Adam's."""


class OnlineLinear:
    """Logistic regression, kept current with Adam: what a cell's own features tell without its neighbours.

    feature_count : F; seed : decides the shuffle of rows into mini-batches
    batches : mini-batches a sweep; learning_rate : of the weights
    Standardised like the network, by running moments of the sweeps it learnt from, clipped to +-5.
    Loss and optimiser are river's, on whole arrays: its ``learn_many`` takes data frames, and converting a
    sweep to them costs more than learning from it. Deterministic; holds no rows. river comes with the extra
    ``learn``; without it the constructor raises ImportError.
    """

    def __init__(
        self, feature_count: int, seed: int = 0, batches: int = BATCHES, learning_rate: float = LEARNING_RATE
    ) -> None:
        from river import optim

        self._seed, self._batches = seed, batches
        self._standard = RunningStandard(feature_count)
        self._loss: Any = optim.losses.Log()
        self._adam: Any = optim.Adam(learning_rate)
        self._adam.m, self._adam.v = np.zeros(feature_count), np.zeros(feature_count)
        self._weights, self._intercept = np.zeros(feature_count), 0.0

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Occupancy by cell at the horizon it learns, float32 (N,) on the grid; None before ``learn``.

        x : float32 (N, F), raw features
        """
        self._require(x)
        if self._standard.sweeps == 0:
            return None
        return quantise(1 / (1 + np.exp(-self._logits(self._standardised(x)))))

    def learn(self, x: NDArray[np.float32], occupied: NDArray[np.bool_]) -> None:
        """Take one step for each mini-batch of observed cells.

        x : float32 (M, F), raw features; occupied : bool (M,), what became of the cells
        """
        self._require(x)
        if occupied.shape != (len(x),):
            raise ValueError(f"occupied: expected shape ({len(x)},), got {occupied.shape}")
        if len(x) == 0:
            return
        self._standard.update(x)
        order = np.random.default_rng((self._seed, self._standard.sweeps)).permutation(len(x))
        standard, label = self._standardised(x)[order], occupied[order]
        for rows in np.array_split(np.arange(len(x)), min(self._batches, len(x))):
            self._step(standard[rows], label[rows])

    def _logits(self, standard: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = standard @ self._weights.astype(np.float32)
        return logits + np.float32(self._intercept)

    def _step(self, standard: NDArray[np.float32], occupied: NDArray[np.bool_]) -> None:
        slope = self._loss.gradient(y_true=occupied.astype(np.int8), y_pred=self._logits(standard))
        self._intercept -= INTERCEPT_RATE * float(slope.mean())
        gradient = slope.astype(np.float32) @ standard / len(standard)
        self._weights = self._adam.step(self._weights, gradient.astype(np.float64))

    def state(self) -> dict[str, Any]:
        """Plain values and arrays; ``restore`` is the exact inverse."""
        return {
            "standard": self._standard.state(),
            "weights": self._weights.copy(),
            "intercept": self._intercept,
            "steps": int(self._adam.n_iterations),
            "m": self._adam.m.copy(),
            "v": self._adam.v.copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state`` of a model with the same features."""
        if len(state["weights"]) != len(self._weights):
            raise ValueError(f"state: has {len(state['weights'])} features, this model {len(self._weights)}")
        self._standard = RunningStandard.from_state(state["standard"])
        self._weights, self._adam.m, self._adam.v = (
            np.array(state[name], dtype=np.float64) for name in ("weights", "m", "v")
        )
        self._intercept = float(state["intercept"])
        self._adam.n_iterations = int(state["steps"])

    def _standardised(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        mean, inv_std = self._standard.scale()
        standard: NDArray[np.float32] = x - mean
        standard *= inv_std
        return np.clip(standard, -CLIP, CLIP, out=standard)

    def _require(self, x: NDArray[np.float32]) -> None:
        if x.dtype != np.float32 or x.ndim != 2 or x.shape[1] != len(self._weights):
            raise ValueError(f"x: expected float32 (N, {len(self._weights)}), got {x.dtype} {x.shape}")
