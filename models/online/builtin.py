"""The model that serves before the first activation: no training, no file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.manifest import ModelRefused
from models.probability import quantise
from stream.config import Config
from stream.features import schema_of

MODEL_ID = "frequency"
HIT_BINS = "hit_bins"
OBSERVED_BINS = "observed_bins"


class FrequencyModel:
    """A cell hit in h of the n time bins that observed it: (h + 1) / (n + 2), at every horizon.

    feature_names : names of the feature columns; ``hit_bins`` and ``observed_bins`` are read
    horizons : number of horizons H
    Raises ModelRefused when a column it reads is missing
    """

    def __init__(self, feature_names: Sequence[str], horizons: int) -> None:
        names = list(feature_names)
        missing = [name for name in (HIT_BINS, OBSERVED_BINS) if name not in names]
        if missing:
            raise ModelRefused(f"{MODEL_ID}: features {missing} are not in this schema, which has {names}")
        self._columns = (names.index(HIT_BINS), names.index(OBSERVED_BINS))
        self._feature_count = len(names)
        self._horizons = horizons

    @property
    def model_id(self) -> str:
        """``frequency``."""
        return MODEL_ID

    def predict(self, x: NDArray[np.float32], neighbor_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """Occupancy of every cell, the same at every horizon.

        x : float32 (N, F), raw features; neighbor_index : not read
        Returns float32 (N, H) on the grid of ``models.probability``
        Raises ValueError for features of another width
        """
        if x.ndim != 2 or x.shape[1] != self._feature_count:
            raise ValueError(f"x: expected (N, {self._feature_count}), got {x.shape}")
        hits, observed = (x[:, column] for column in self._columns)
        probability = quantise((hits + np.float32(1)) / (observed + np.float32(2)))
        return np.repeat(probability[:, None], self._horizons, axis=1)


def builtin_of(config: Config) -> FrequencyModel:
    """The built-in model of a configuration."""
    return FrequencyModel(schema_of(config).names, len(config.task.horizons_ns))
