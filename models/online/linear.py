"""The online linear baseline: logistic regression on the network's own features, by river."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.probability import quantise
from models.training.standard import RunningStandard

CLIP = 5.0
BATCHES = 16
LEARNING_RATE = 0.005
INTERCEPT_RATE = 0.3
"""river moves the intercept by plain gradient steps, so it needs a far larger rate than Adam's."""


class OnlineLinear:
    """Logistic regression, kept current with Adam: what a cell's own features tell without its neighbours.

    feature_count : F; seed : decides the shuffle of rows into mini-batches
    batches : mini-batches a sweep; learning_rate : of the weights
    Standardised like the network, by running moments of the sweeps it learnt from, clipped to +-5.
    Deterministic; holds no rows. river comes with the extra ``learn``; without it the constructor raises
    ImportError.
    """

    def __init__(
        self, feature_count: int, seed: int = 0, batches: int = BATCHES, learning_rate: float = LEARNING_RATE
    ) -> None:
        from river import linear_model, optim

        self._names = [f"f{place}" for place in range(feature_count)]
        self._seed, self._batches = seed, batches
        self._standard = RunningStandard(feature_count)
        self._model: Any = linear_model.LogisticRegression(
            optimizer=optim.Adam(learning_rate), intercept_lr=INTERCEPT_RATE
        )

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Occupancy by cell at the horizon it learns, float32 (N,) on the grid; None before ``learn``.

        x : float32 (N, F), raw features
        """
        self._require(x)
        if self._standard.sweeps == 0:
            return None
        logits = self._standardised(x) @ self._vector(self._model.weights) + self._model.intercept
        return quantise(1 / (1 + np.exp(-logits)))

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
            table = pa.Table.from_arrays(
                [pa.array(column) for column in standard[rows].T.copy()], names=self._names
            )
            self._model.learn_many(table, pa.chunked_array([pa.array(label[rows])]))

    def state(self) -> dict[str, Any]:
        """Plain values and arrays; ``restore`` is the exact inverse."""
        adam = self._model.optimizer
        return {
            "standard": self._standard.state(),
            "weights": self._vector(self._model.weights),
            "intercept": float(self._model.intercept),
            "steps": int(adam.n_iterations),
            "m": self._vector(adam.m),
            "v": self._vector(adam.v),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state`` of a model with the same features."""
        from river.utils import VectorDict

        if len(state["weights"]) != len(self._names):
            raise ValueError(f"state: has {len(state['weights'])} features, this model {len(self._names)}")
        self._standard = RunningStandard.from_state(state["standard"])
        self._model._weights = VectorDict(self._named(state["weights"]))  # river has no public setter
        self._model.intercept = float(state["intercept"])
        adam = self._model.optimizer
        adam.n_iterations = int(state["steps"])
        adam.m, adam.v = (defaultdict(float, self._named(state[name])) for name in ("m", "v"))

    def _named(self, values: NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(self._names, np.asarray(values).tolist(), strict=True))

    def _vector(self, values: Mapping[str, float] | None) -> NDArray[np.float64]:
        """By column; 0 where river holds nothing yet."""
        return np.array([(values or {}).get(name, 0.0) for name in self._names], dtype=np.float64)

    def _standardised(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        mean, inv_std = self._standard.scale()
        standard: NDArray[np.float32] = np.clip((x - mean) * inv_std, -CLIP, CLIP)
        return standard

    def _require(self, x: NDArray[np.float32]) -> None:
        if x.dtype != np.float32 or x.ndim != 2 or x.shape[1] != len(self._names):
            raise ValueError(f"x: expected float32 (N, {len(self._names)}), got {x.dtype} {x.shape}")
