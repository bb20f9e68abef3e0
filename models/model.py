"""What serves predictions: the built-in frequency model and ONNX models alike."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Model(Protocol):
    """A function from features to probabilities."""

    @property
    def model_id(self) -> str:
        """Names the model in every prediction."""
        ...

    def predict(self, x: NDArray[np.float32], neighbor_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """Probabilities float32 (N, H) on the grid of ``models.probability``, from x (N, F) and (N, 14)."""
        ...
