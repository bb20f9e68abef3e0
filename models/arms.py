"""Models that share traffic, loaded, on the features of a live container."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.manifest import ModelRequirements
from models.runtime import OnnxModel
from native.window import CellFeatures
from stream.cell_rows import locate

KEPT_MODELS = 4

Make = Callable[[str, bytes], OnnxModel]


class Arms:
    """Answers for cells with any model that is asked for; the last few stay loaded.

    load : a registry's; features : of the container as it is now
    """

    def __init__(
        self,
        load: Callable[[str, ModelRequirements, Make], OnnxModel],
        features: Callable[[], CellFeatures],
        requirements: ModelRequirements,
        make: Make,
    ) -> None:
        self._load, self._features = load, features
        self._requirements, self._make = requirements, make
        self._models: OrderedDict[str, OnnxModel] = OrderedDict()

    def predict(self, model_id: str, indices: NDArray[np.uint64]) -> NDArray[np.float32]:
        """Probabilities of cells, float32 (N, H), NaN for cells that the container does not hold."""
        model, features = self._loaded(model_id), self._features()
        probability = model.predict(features.x, features.neighbor_index)
        found = np.full((len(indices), probability.shape[1]), np.nan, np.float32)
        row, known = locate(features.cell_id, indices)
        found[known] = probability[row[known]]
        return found

    def _loaded(self, model_id: str) -> OnnxModel:
        if model_id not in self._models:
            self._models[model_id] = self._load(model_id, self._requirements, self._make)
            if len(self._models) > KEPT_MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(model_id)
        return self._models[model_id]
