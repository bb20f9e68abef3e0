"""Forecasts made in this server: Perceive's features and Perceive's model class on the live container."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.manifests import requirements_of
from agents.web.robot import Robot
from models.manifest import ModelRefused
from models.model import Model
from models.online.builtin import builtin_of
from models.registry import ModelRegistry
from models.runtime import OnnxModel
from native.window import CellFeatures
from stream.config import Config
from stream.features import digest, schema_of
from stream.records import Prediction

KEPT_MODELS = 4
KEPT_FEATURES = 4
"""Of the forecasts asked for last: 4 MB each on the default grid."""


class NotWhole(RuntimeError):
    """A container that does not hold yet all that Perceive's held: its features would be others."""


class Forecaster:
    """Models by id, and forecasts that somebody asked to be made here.

    registry : folder of models, None where only the built-in one is to be had
    providers : ONNX Runtime's execution providers, in order of preference; threads : of one inference
    Any thread may ask; work is done one after the other.
    """

    def __init__(
        self, config: Config, registry: Path | None, providers: Sequence[str], threads: int = 1
    ) -> None:
        self._builtin = builtin_of(config)
        self._requirements = requirements_of(config, schema_of(config))
        self._folder, self._providers, self._threads = registry, tuple(providers), threads
        self._registry: ModelRegistry | None = None
        self._lock = threading.Lock()
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._features: OrderedDict[str, CellFeatures] = OrderedDict()
        self._made: OrderedDict[tuple[str, str], NDArray[np.float32]] = OrderedDict()

    @property
    def builtin(self) -> str:
        """Id of the built-in model, which is always there."""
        return self._builtin.model_id

    def registry(self) -> ModelRegistry | None:
        """Models on disk, only to be read; None while there is no such folder."""
        if self._folder is None or not self._folder.is_dir():
            return None
        if self._registry is None:
            self._registry = ModelRegistry(self._folder)
        return self._registry

    def route(self, key: str) -> tuple[str, str]:
        """The arm that has a key, and its model's id.  Raises ModelRefused where traffic is not split"""
        registry = self.registry()
        if registry is None:
            raise ModelRefused("there is no registry of models, so traffic is not split")
        return registry.route(key)

    def model(self, model_id: str) -> Model:
        """A model, loaded and checked. Raises ModelRefused for one that is not there, or does not fit"""
        if model_id == self._builtin.model_id:
            return self._builtin
        with self._lock:
            return self._model(model_id)

    def forecast(self, robot: Robot, model_id: str | None) -> tuple[Prediction, str, NDArray[np.float32]]:
        """The newest forecast made anew: what Perceive made, the model's id, and float32 (N, H) of its cells.

        model_id : None for the model that Perceive used
        Raises NotWhole, ModelRefused, ModelFailed
        """
        with self._lock:
            prediction, features = self._newest(robot)
            model_id = model_id or prediction.model_id
            key = (prediction.prediction_id, model_id)
            if key not in self._made:
                model = self._builtin if model_id == self._builtin.model_id else self._model(model_id)
                self._made[key] = model.predict(features.x, features.neighbor_index)
                if len(self._made) > KEPT_FEATURES * KEPT_MODELS:
                    self._made.popitem(last=False)
            return prediction, model_id, self._made[key]

    def features(self, robot: Robot) -> tuple[Prediction, CellFeatures]:
        """The newest forecast, and the features that it was made of, to the bit.  Raises NotWhole"""
        with self._lock:
            return self._newest(robot)

    def _newest(self, robot: Robot) -> tuple[Prediction, CellFeatures]:
        view = robot.view
        if view is not None and view.prediction.prediction_id in self._features:
            return view.prediction, self._features[view.prediction.prediction_id]
        found = robot.features()
        if found is None:
            raise NotWhole(f"{robot.robot_id}: no forecast yet; ask again in a second")
        prediction, features = found
        if digest(features) != prediction.feature_digest:
            raise NotWhole(
                f"{robot.robot_id}: this server has not seen the whole window of {prediction.prediction_id} "
                "yet; ask again in some seconds"
            )
        self._features[prediction.prediction_id] = features
        if len(self._features) > KEPT_FEATURES:
            self._features.popitem(last=False)
        return prediction, features

    def _model(self, model_id: str) -> Model:
        if model_id not in self._models:
            registry = self.registry()
            if registry is None:
                raise ModelRefused(f"{model_id}: there is no registry of models to load it from")
            self._models[model_id] = registry.load(model_id, self._requirements, self._make)
            if len(self._models) > KEPT_MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(model_id)
        return self._models[model_id]

    def _make(self, model_id: str, data: bytes) -> OnnxModel:
        return OnnxModel(model_id, data, self._threads, self._providers)
