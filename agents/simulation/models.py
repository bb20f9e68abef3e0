"""Models and training that cost nothing: what a simulated run serves instead of networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.lineage import Version
from agents.manifests import manifest_of
from agents.protocol import Restore, Train, Trained, TrainingFailed
from models.manifest import Manifest, model_id_of
from models.model import Model
from models.online.builtin import FrequencyModel, builtin_of
from models.prior import Prior
from models.probability import quantise
from stream.config import Config
from stream.features import schema_of
from stream.records import ModelPublished

PRIORS = {"better": 1.5, "worse": 0.2}
"""Scales of the models that learning may start from, than the built-in one."""


class TiltedModel:
    """The built-in model with its logits scaled. The file is the scale as text, then what made it.

    data : ``scale word...``; a scale above 1 is surer of itself than the built-in model
    """

    def __init__(self, builtin: FrequencyModel, model_id: str, data: bytes) -> None:
        self.model_id, self.data = model_id, data
        self._builtin = builtin
        self._scale = np.float32(data.decode().split()[0])

    def predict(self, x: NDArray[np.float32], neighbor_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """Probabilities float32 (N, H)."""
        p = self._builtin.predict(np.maximum(x, 0), neighbor_index)  # a canary holds negative counts
        p = np.clip(p, np.float32(0.01), np.float32(0.99))
        return quantise(1 / (1 + ((1 - p) / p) ** self._scale))


def loader(builtin: FrequencyModel) -> Callable[[str, bytes], Model]:
    """Makes models of their files, and the built-in one of an empty file."""

    def load(model_id: str, data: bytes) -> Model:
        return TiltedModel(builtin, model_id, data) if data else builtin

    return load


class Trainer:
    """One lineage's trainer: counts what it was given, and makes a model of the count.

    It forgets everything when its process dies, as a real one does, and goes on from
    the weights it is given.
    """

    def __init__(self, lineage: str, builtin: FrequencyModel) -> None:
        self._lineage, self._builtin = lineage, builtin
        self._examples: dict[str, int] = {}
        self._labels = 0
        self._steps = 0

    def train(self, request: Train, diverges: bool) -> Trained | TrainingFailed | None:
        """Take what is new; None while there is nothing to train on."""
        self._examples |= {example.prediction_id: example.stamp_ns for example in request.examples}
        self._labels += sum(labels.prediction_id in self._examples for labels in request.labels)
        if diverges:
            return TrainingFailed(lineage=request.lineage, stamp_ns=request.stamp_ns, reason="loss is inf")
        if not self._examples or not self._labels or not request.steps:
            return None
        self._steps += request.steps
        scale = 1.0 + min(self._labels, 40) / 40
        data = f"{scale:.3f} {self._lineage} {self._labels} {request.stamp_ns}".encode()
        return Trained(
            lineage=request.lineage,
            stamp_ns=request.stamp_ns,
            data=data,
            model=TiltedModel(self._builtin, model_id_of(data), data),
            weights={"labels": np.array([self._labels], np.float32)},
            report=self._report(request),
        )

    def restore(self, request: Restore) -> None:
        """Go on from other weights."""
        self._labels = int(request.weights["labels"][0]) if request.weights else 0

    def _report(self, request: Train) -> dict[str, Any]:
        return {
            "steps": request.steps,
            "total_steps": self._steps,
            "loss": 0.5,
            "examples": len(self._examples),
            "first_stamp_ns": min(self._examples.values()),
            "last_stamp_ns": request.stamp_ns,
            "sources": [dict(source) for source in request.sources],
        }


def prior_of(config: Config) -> Prior | None:
    """What learning starts from: ``learn.prior`` is one of PRIORS, or ``none``."""
    if config.learn.prior == "none":
        return None
    model, manifest = _stored(config, PRIORS[config.learn.prior], "prior")
    return Prior(data=model.data, manifest=manifest, model=model)


def publication(config: Config, scale: float, word: str) -> tuple[bytes, ModelPublished, Manifest]:
    """A model as a person would publish it: its file, the record that says so, and its manifest."""
    model, manifest = _stored(config, scale, word)
    record = ModelPublished(
        model_id=model.model_id,
        sha256=manifest.sha256,
        kind=manifest.kind,
        parent_id=manifest.parent_id,
        stamp_ns=1,
        manifest=manifest.to_dict(),
    )
    return model.data, record, manifest


def _stored(config: Config, scale: float, word: str) -> tuple[TiltedModel, Manifest]:
    data = f"{scale:.3f} {word}".encode()
    model = TiltedModel(builtin_of(config), model_id_of(data), data)
    report = {"total_steps": 1, "examples": 1, "loss": 0.5, "first_stamp_ns": 1, "last_stamp_ns": 1}
    manifest = manifest_of(
        config,
        schema_of(config),
        Version(model=model, data=data, weights={}, report=report),
        architecture="tilted",
        kind="update",
        parent_id="",
    )
    return model, manifest
