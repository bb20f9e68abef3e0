"""Networks on objects in ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.manifest import ModelRefused
from models.objects.forecasts import Modes
from models.objects.motion import HORIZONS_S, STEPS, Motions
from models.objects.surroundings import WIDTH, pooled_from
from models.runtime import CPU, ModelFailed
from stream.config import Config

METADATA = "octastream"
FORECAST_INPUTS = ("history", "known", "size", "around")
FORECAST_OUTPUTS = ("path", "probability")

_AT_REST = Motions(
    place=np.zeros((1, 3)), yaw=np.zeros(1), history=np.zeros((1, STEPS, 2), np.float32),
    known=np.ones((1, STEPS), np.float32), size=np.ones((1, 3), np.float32), kind=np.zeros(1, np.int32),
    around=np.zeros((1, WIDTH), np.float32),
)  # fmt: skip


class ObjectModel:
    """A model file of one kind, loaded.

    name : for messages; data : the file's bytes; kind : as the file must say
    threads, providers : as of ``models.runtime.OnnxModel``
    Raises ModelRefused for what is no model, or one of another kind
    """

    def __init__(
        self, name: str, data: bytes, kind: str, threads: int = 1, providers: Sequence[str] = (CPU,)
    ) -> None:
        self.name = name
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        try:
            self._session: Any = onnxruntime.InferenceSession(data, options, providers=list(providers))
            self.facts = json.loads(self._session.get_modelmeta().custom_metadata_map.get(METADATA, "{}"))
        except Exception as error:  # ONNX Runtime's own exceptions share no narrower base
            raise ModelRefused(
                f"{name}: not a usable ONNX file: {' '.join(str(error).split())[:300]}"
            ) from error
        if self.facts.get("kind") != kind:
            raise ModelRefused(f"{name}: is of kind {self.facts.get('kind')!r}, needed is {kind!r}")

    def run(self, **inputs: NDArray[Any]) -> list[NDArray[np.float32]]:
        """All outputs. Raises ModelFailed where one is not finite, or inputs do not fit"""
        try:
            outputs: list[NDArray[np.float32]] = self._session.run(None, inputs)
        except Exception as error:  # as above
            raise ModelFailed(f"{self.name}: {' '.join(str(error).split())[:300]}") from error
        if not all(np.isfinite(output).all() for output in outputs):
            raise ModelFailed(f"{self.name}: output is not finite")
        return outputs


class ForecastModel(ObjectModel):
    """A forecaster of trajectories.

    Raises ModelRefused for other horizons than HORIZONS_S, too, and where an object at rest is not answered
    """

    def __init__(self, name: str, data: bytes, threads: int = 1, providers: Sequence[str] = (CPU,)) -> None:
        super().__init__(name, data, "trajectories", threads, providers)
        if tuple(self.facts.get("horizons_s", ())) != HORIZONS_S:
            raise ModelRefused(f"{name}: forecasts {self.facts.get('horizons_s')} s, needed is {HORIZONS_S}")
        try:
            modes = self.forecast(_AT_REST)
        except (ModelFailed, ValueError) as error:  # also for another number of outputs
            raise ModelRefused(f"{name}: does not answer: {error}") from error
        ways = modes.probability.shape[-1:]
        if (modes.probability.shape, modes.path.shape) != ((1, *ways), (1, *ways, len(HORIZONS_S), 2)):
            raise ModelRefused(f"{name}: answers {modes.path.shape}, needed is (1, K, {len(HORIZONS_S)}, 2)")

    def check(self, config: Config) -> ForecastModel:
        """The model itself. Raises ModelRefused where it learnt from another grid, or other features"""
        own = self.facts.get("pooled_from", {})
        for name, needed in pooled_from(config).items():
            if own.get(name) != needed:
                raise ModelRefused(
                    f"{self.name}: {name}: has learnt with {own.get(name)}, this run needs {needed}; train "
                    "it anew with this configuration"
                )
        return self

    def forecast(self, motions: Motions) -> Modes:
        """Ways on of every object, of none for none. Raises ModelFailed"""
        if not len(motions):  # ONNX Runtime's GRU takes no empty batch: it ends the process
            _, ways, horizons, _ = self._session.get_outputs()[0].shape
            return Modes(path=np.zeros((0, ways, horizons, 2)), probability=np.zeros((0, ways)))
        path, probability = self.run(
            history=motions.history, known=motions.known, size=motions.size, around=motions.around
        )
        return Modes(path=path.astype(np.float64), probability=probability.astype(np.float64))
