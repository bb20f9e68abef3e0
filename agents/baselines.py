"""The baselines that stand beside every score, learnt from the same outcomes as the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.model import Model
from models.online.baselines import FrequencyBaseline, PersistenceBaseline
from native.window import CellFeatures
from stream.features import FeatureSchema
from stream.records import HIT


class Linear(Protocol):
    """An online linear model on the network's own features."""

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Probability by cell, float32 (N,); None before the first outcome."""
        ...

    def learn(self, x: NDArray[np.float32], occupied: NDArray[np.bool_]) -> None:
        """Take mini-batch steps on observed cells."""
        ...

    def state(self) -> dict[str, Any]:
        """Plain values."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        ...


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BaselineInputs:
    """What the counting baselines read of one prediction: bool (N,), and float32 (N,) bins as counts."""

    hit: NDArray[np.bool_]
    hit_bins: NDArray[np.int64]
    observed_bins: NDArray[np.int64]


class Baselines:
    """Persistence, frequency, linear and frozen, at the primary horizon.

    linear : None where its library is not installed; frozen : set once, at the end of the warm-up
    """

    def __init__(self, schema: FeatureSchema, primary: int, linear: Linear | None) -> None:
        self._hit_bins = schema.names.index("hit_bins")
        self._observed_bins = schema.names.index("observed_bins")
        self._primary = primary
        self._persistence, self._frequency = PersistenceBaseline(), FrequencyBaseline()
        self._linear = linear
        self.frozen: Model | None = None

    def _inputs(self, features: CellFeatures) -> BaselineInputs:
        return BaselineInputs(
            hit=features.before == HIT,
            hit_bins=features.x[:, self._hit_bins].astype(np.int64),
            observed_bins=features.x[:, self._observed_bins].astype(np.int64),
        )

    def predict(self, features: CellFeatures) -> dict[str, NDArray[np.float32]]:
        """Probability of every cell by baseline, float32 (N,); one that has no model yet is absent."""
        inputs = self._inputs(features)
        answers = {
            "persistence": self._persistence.predict(inputs.hit),
            "frequency": self._frequency.predict(inputs.hit_bins, inputs.observed_bins),
            "linear": self._linear.predict(features.x) if self._linear else None,
        }
        if self.frozen is not None:
            probability = self.frozen.predict(features.x, features.neighbor_index)
            answers["frozen"] = np.ascontiguousarray(probability[:, self._primary])
        return {name: answer for name, answer in answers.items() if answer is not None}

    def learn(self, features: CellFeatures, row: NDArray[np.int32], occupied: NDArray[np.bool_]) -> None:
        """Learn from the observed cells of one prediction at the primary horizon."""
        inputs = self._inputs(features)
        self._persistence.learn(inputs.hit[row], occupied)
        self._frequency.learn(inputs.hit_bins[row], inputs.observed_bins[row], occupied)
        if self._linear:
            self._linear.learn(features.x[row], occupied)

    def state(self) -> dict[str, Any]:
        """Plain values, without the frozen model."""
        return {
            "persistence": self._persistence.state(),
            "frequency": self._frequency.state(),
            "linear": self._linear.state() if self._linear else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self._persistence = PersistenceBaseline.from_state(state["persistence"])
        self._frequency = FrequencyBaseline.from_state(state["frequency"])
        if self._linear and state["linear"] is not None:
            self._linear.restore(state["linear"])
