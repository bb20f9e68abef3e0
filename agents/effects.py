"""What agents ask of the outside, done here and now: model files, training, the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agents.manifests import requirements_of
from agents.protocol import (
    Effect,
    LoadModel,
    ModelLoaded,
    Restore,
    StoreModel,
    Train,
    Trained,
    TrainingFailed,
    WriteEvent,
    WriteTable,
)
from models.manifest import ModelRefused, model_id_of
from models.prior import Prior
from models.registry import ModelRegistry
from models.runtime import OnnxModel
from stream.config import Config, NetworkConfig
from stream.features import FeatureSchema
from stream.run_folder import RunFolder

if TYPE_CHECKING:
    from models.training.online import OnlineTrainer


class Trainer:
    """One lineage's trainer, and the graph its weights go into."""

    def __init__(
        self,
        config: Config,
        schema: FeatureSchema,
        network: NetworkConfig,
        seed: int,
        prior: Prior | None = None,
    ) -> None:
        from models.export import export_graph, weights_of, with_weights  # needs the extra "learn"
        from models.training.online import OnlineTrainer, TrainingDiverged
        from models.training.symmetry import symmetries

        self._diverged = TrainingDiverged
        self._trainer: OnlineTrainer = OnlineTrainer(
            network,
            config.learn,
            schema.count,
            len(config.task.horizons_ns),
            config.task.primary,
            seed,
            symmetries(schema.names) if config.learn.symmetry else (),
        )
        self._prior_weights = weights_of(prior.data) if prior else {}
        if prior is not None:
            self._trainer.load(self._prior_weights)
        self._template = export_graph(self._trainer.net)
        self._with_weights = with_weights

    def train(self, request: Train) -> Trained | TrainingFailed | None:
        """Add what is new, take steps; None while there is nothing to train on."""
        for example in request.examples:
            self._trainer.add_example(
                example.prediction_id, example.stamp_ns, example.x, example.neighbor_index, example.azimuth
            )
        for labels in request.labels:
            self._trainer.add_labels(labels.prediction_id, labels.horizon, labels.row, labels.occupied)
        try:
            report = self._trainer.train(request.steps)
        except self._diverged as error:
            return TrainingFailed(lineage=request.lineage, stamp_ns=request.stamp_ns, reason=str(error))
        if report.steps == 0:
            return None
        weights = self._trainer.weights()
        data = self._with_weights(self._template, weights)
        return Trained(
            lineage=request.lineage,
            stamp_ns=request.stamp_ns,
            data=data,
            model=OnnxModel(model_id_of(data), data),
            weights=weights,
            report={
                "steps": report.steps,
                "total_steps": report.total_steps,
                "loss": report.loss,
                "examples": report.examples,
                "first_stamp_ns": report.first_stamp_ns,
                "last_stamp_ns": report.last_stamp_ns,
            },
        )

    def restore(self, request: Restore) -> None:
        """Go on from earlier weights; a request without any means those of the prior."""
        self._trainer.load(request.weights or self._prior_weights)


class LocalEffects:
    """Performs effects synchronously, for the in-process runtime."""

    def __init__(
        self,
        config: Config,
        schema: FeatureSchema,
        folder: RunFolder,
        networks: Mapping[str, NetworkConfig],
        priors: Mapping[str, Prior],
    ) -> None:
        self._folder = folder
        self._registry = ModelRegistry(folder.models)
        self._requirements = requirements_of(config, schema)
        self._trainers = {
            name: Trainer(config, schema, network, config.seed + place, priors.get(name))
            for place, (name, network) in enumerate(networks.items())
        }

    def perform(self, effect: Effect) -> ModelLoaded | Trained | TrainingFailed | None:
        """Do what is asked; the answer is a record for the agent that asked, or None."""
        if isinstance(effect, WriteTable):
            self._folder.write_table(effect.dataset, effect.table)
        elif isinstance(effect, WriteEvent):
            self._folder.append_event(effect.event)
        elif isinstance(effect, StoreModel):
            self._store(effect)
        elif isinstance(effect, Restore):
            self._trainers[effect.lineage].restore(effect)
        elif isinstance(effect, LoadModel):
            return self._load(effect)
        else:
            return self._trainers[effect.lineage].train(effect)
        return None

    def _store(self, effect: StoreModel) -> None:
        self._registry.put(effect.data, effect.manifest)
        if effect.champion:
            self._registry.set_champion(effect.manifest.model_id)

    def _load(self, effect: LoadModel) -> ModelLoaded:
        try:
            model = self._registry.load(effect.model_id, self._requirements)
            sha256 = self._registry.get(effect.model_id)[1].sha256
        except ModelRefused as error:
            return ModelLoaded(
                model_id=effect.model_id,
                stamp_ns=effect.stamp_ns,
                sha256="",
                model=None,
                reason=str(error),
            )
        return ModelLoaded(model_id=effect.model_id, stamp_ns=effect.stamp_ns, sha256=sha256, model=model)
