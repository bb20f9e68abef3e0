"""A model file in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.canary import NEIGHBORS, canary_batch
from models.manifest import ModelRefused
from models.probability import quantise
from models.signature import INDEX_INPUT, OUTPUT, X_INPUT

_LOG_FATAL = 4

CPU = "CPUExecutionProvider"

ROUNDING = 1e-6
"""ONNX Runtime's sigmoid answers a unit in the last place above 1 to large logits."""


class ModelFailed(RuntimeError):
    """A loaded model that could not answer: an output that is not finite, or a failed kernel."""


class OnnxModel:
    """One model file, loaded, checked and warm.

    model_id : names the model in every prediction
    data : the file's bytes
    threads : of the one operator that runs at a time; results are the same bits for the same number
    providers : ONNX Runtime's execution providers, in order of preference; results are of whichever runs
    Raises ModelRefused, in one line, when the bytes are no model, when inputs or output are not those of
    ``models.signature``, or when the output on a fixed batch is not finite probabilities
    """

    def __init__(
        self, model_id: str, data: bytes, threads: int = 1, providers: Sequence[str] = (CPU,)
    ) -> None:
        self._model_id = model_id
        if not data:
            raise ModelRefused(f"{model_id}: the file is empty")
        try:
            self._session: Any = onnxruntime.InferenceSession(
                data, _options(threads), providers=list(providers)
            )
        except Exception as error:  # ONNX Runtime's own exceptions share no narrower base
            raise ModelRefused(f"{model_id}: not a usable ONNX file: {_one_line(error)}") from error
        self._feature_count, self._horizon_count = self._check_signature()
        try:
            self.predict(*canary_batch(self._feature_count, seed=0))
        except ModelFailed as error:
            raise ModelRefused(str(error)) from error

    @property
    def model_id(self) -> str:
        """Names the model in every prediction."""
        return self._model_id

    @property
    def feature_count(self) -> int:
        """Number of features F it reads."""
        return self._feature_count

    @property
    def horizon_count(self) -> int:
        """Number of horizons H it answers."""
        return self._horizon_count

    def predict(self, x: NDArray[np.float32], neighbor_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """Occupancy of every cell at every horizon.

        x : float32 (N, F), raw features; neighbor_index : int32 (N, 14), N where there is no neighbour
        Returns float32 (N, H) on the grid of ``models.probability``
        Raises ValueError for inputs of another dtype or shape, ModelFailed when the output is not finite
        """
        _require("x", x, np.dtype(np.float32), (len(x), self._feature_count))
        _require("neighbor_index", neighbor_index, np.dtype(np.int32), (len(x), NEIGHBORS))
        feed = {X_INPUT: np.ascontiguousarray(x), INDEX_INPUT: np.ascontiguousarray(neighbor_index)}
        try:
            (probability,) = self._session.run([OUTPUT], feed)
        except Exception as error:  # as above
            raise ModelFailed(f"{self._model_id}: inference failed: {_one_line(error)}") from error
        if probability.shape != (len(x), self._horizon_count):
            raise ModelFailed(f"{self._model_id}: answered shape {probability.shape} to {len(x)} cells")
        if not np.isfinite(probability).all():
            bad = int((~np.isfinite(probability)).any(axis=1).sum())
            raise ModelFailed(f"{self._model_id}: output is not finite in {bad} of {len(x)} cells")
        if len(x) and (probability.min() < -ROUNDING or probability.max() > 1 + ROUNDING):
            raise ModelFailed(f"{self._model_id}: output is outside 0..1, so these are no probabilities")
        return quantise(probability)

    def _check_signature(self) -> tuple[int, int]:
        """Feature and horizon count, from the graph's inputs and output."""
        inputs = {item.name: item for item in self._session.get_inputs()}
        outputs = {item.name: item for item in self._session.get_outputs()}
        if set(inputs) != {X_INPUT, INDEX_INPUT} or set(outputs) != {OUTPUT}:
            raise ModelRefused(
                f"{self._model_id}: inputs {sorted(inputs)}, outputs {sorted(outputs)}; "
                f"expected {sorted((X_INPUT, INDEX_INPUT))} and {[OUTPUT]}"
            )
        features = self._columns(inputs[X_INPUT], "tensor(float)", None)
        self._columns(inputs[INDEX_INPUT], "tensor(int32)", NEIGHBORS)
        return features, self._columns(outputs[OUTPUT], "tensor(float)", None)

    def _columns(self, item: Any, kind: str, columns: int | None) -> int:
        """Fixed second dimension of a tensor with a free first one."""
        shape = list(item.shape)
        fits = (
            len(shape) == 2 and isinstance(shape[1], int) and shape[1] >= 1 and not isinstance(shape[0], int)
        )
        if item.type != kind or not fits or (columns is not None and shape[1] != columns):
            raise ModelRefused(
                f"{self._model_id}: {item.name}: {item.type} {shape}; expected {kind} [N, {columns or 'n'}]"
            )
        return int(shape[1])


def available_providers() -> tuple[str, ...]:
    """Execution providers that this build of ONNX Runtime has, the preferred one first."""
    return tuple(onnxruntime.get_available_providers())


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.enable_mem_pattern = False  # it keeps a plan for every N ever seen
    options.log_severity_level = _LOG_FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _require(name: str, array: NDArray[Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name}: expected {dtype} {shape}, got {array.dtype} {array.shape}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
