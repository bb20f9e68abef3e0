"""What agents ask of the outside, done here and now: model files, training, the run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from agents.manifests import requirements_of
from agents.pace import Pace
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
from stream.files import numbered
from stream.run_folder import CONTAINERS, RunFolder

if TYPE_CHECKING:
    from models.training.online import OnlineTrainer


class Trainer:
    """One lineage's trainer, and the graph its weights go into.

    What it holds ends with its process: the sweeps it replays alone may be gigabytes. A new one is given the
    newest weights (``Learn.resume``), goes on from there, and says so in its first report, as ``resumed``.
    """

    def __init__(
        self,
        config: Config,
        schema: FeatureSchema,
        network: NetworkConfig,
        seed: int,
        prior: Prior | None = None,
    ) -> None:
        from models.export import export_graph, weights_of, with_weights  # needs the extra "learn"
        from models.training.faults import memory_fault
        from models.training.online import OnlineTrainer, TrainingDiverged
        from models.training.standard import normalisers_of
        from models.training.symmetry import symmetries

        self._diverged = TrainingDiverged
        self._memory_fault = memory_fault
        self._trainer: OnlineTrainer = OnlineTrainer(
            network,
            config.learn,
            schema.count,
            len(config.task.horizons_ns),
            config.task.primary,
            seed,
            symmetries(schema.names) if config.learn.symmetry else (),
            normalisers_of(schema.names, config.learn.normalisers),
        )
        self._prior_weights = weights_of(prior.data) if prior else {}
        if prior is not None:
            self._trainer.load(self._prior_weights)
        self._template = export_graph(self._trainer.net)
        self._with_weights = with_weights
        self._newest: tuple[bytes, OnnxModel] | None = None
        self._resumed = False

    def train(
        self, request: Train, go_on: Callable[[], bool] = lambda: True
    ) -> Trained | TrainingFailed | None:
        """Add what is new, take steps; None while there is nothing to train on.

        go_on : asked before each step, the first False is the end of this training
        """
        for example in request.examples:
            self._trainer.add_example(
                example.prediction_id, example.stamp_ns, example.x, example.neighbor_index, example.azimuth
            )
        for labels in request.labels:
            self._trainer.add_labels(labels.prediction_id, labels.horizon, labels.row, labels.occupied)
        try:
            report = self._trainer.train(request.steps, go_on)
        except self._diverged as error:
            return TrainingFailed(lineage=request.lineage, stamp_ns=request.stamp_ns, reason=str(error))
        except (MemoryError, RuntimeError) as error:  # Learn goes on from the weights before
            if (said := self._memory_fault(error)) is None:
                raise
            reason = f"out of memory: {said}"
            return TrainingFailed(lineage=request.lineage, stamp_ns=request.stamp_ns, reason=reason)
        if report.steps == 0:
            return None
        weights = self._trainer.weights()
        data = self._with_weights(self._template, weights)
        model = OnnxModel(model_id_of(data), data)
        self._newest = (data, model)
        resumed, self._resumed = self._resumed, False
        return Trained(
            lineage=request.lineage,
            stamp_ns=request.stamp_ns,
            data=data,
            model=model,
            weights=weights,
            report={
                "steps": report.steps,
                "total_steps": report.total_steps,
                "loss": report.loss,
                "examples": report.examples,
                "first_stamp_ns": report.first_stamp_ns,
                "last_stamp_ns": report.last_stamp_ns,
                "resumed": resumed,
                "sources": [dict(source) for source in request.sources],
            },
        )

    def restore(self, request: Restore) -> None:
        """Go on from earlier weights; a request without any means those of the prior."""
        self._resumed = self._newest is None and bool(request.weights)
        self._trainer.load(request.weights or self._prior_weights)

    def model_of(self, data: bytes) -> OnnxModel | None:
        """The model published last, if these are its bytes."""
        return self._newest[1] if self._newest and self._newest[0] == data else None


class LocalEffects:
    """Performs effects synchronously, for the in-process runtime.

    pace : what learning costs is charged to it, and it ends trainings that have a budget
    max_models : more than this many in the registry and the oldest go
    durable : tables are on disk before the effect is done, so that they survive a loss of power
    """

    def __init__(
        self,
        config: Config,
        schema: FeatureSchema,
        folder: RunFolder,
        networks: Mapping[str, NetworkConfig],
        priors: Mapping[str, Prior],
        pace: Pace | None = None,
        max_models: int = 256,
        durable: bool = False,
    ) -> None:
        self._durable = durable
        self._folder, self._pace = folder, pace or Pace()
        self._registry = ModelRegistry(folder.models, max_models)
        self._requirements = requirements_of(config, schema)
        self._trainers = {
            name: Trainer(config, schema, network, config.seed + place, priors.get(name))
            for place, (name, network) in enumerate(networks.items())
        }

    def perform(self, effect: Effect) -> ModelLoaded | Trained | TrainingFailed | None:
        """Do what is asked; the answer is a record for the agent that asked, or None."""
        if isinstance(effect, WriteTable):
            self._folder.write_table(effect.dataset, effect.table, effect.chunk, durable=self._durable)
        elif isinstance(effect, WriteEvent):
            self._folder.append_event(effect.event)
        elif isinstance(effect, Train):
            with self._pace.training(effect.lineage, effect.budget_ms) as go_on:
                return self._trainers[effect.lineage].train(effect, go_on)
        else:
            with self._pace.spending():
                return self._models(effect)
        return None

    def archived(self) -> str:
        """The newest chunk of containers that lies where tables are written, empty for none."""
        found = numbered((self._folder.path / CONTAINERS).glob("part-*"))
        return str(found[-1]) if found else ""

    def spending(self) -> AbstractContextManager[None]:
        """Charge what the body costs to learning's budget."""
        return self._pace.spending()

    def keep(self, model_id: str) -> None:
        """Keep a model in the registry to the end of the run."""
        self._registry.pin(model_id)

    def _models(self, effect: StoreModel | Restore | LoadModel) -> ModelLoaded | None:
        if isinstance(effect, LoadModel):
            return self._load(effect)
        if isinstance(effect, Restore):
            self._trainers[effect.lineage].restore(effect)
        else:
            self._store(effect)
        return None

    def _store(self, effect: StoreModel) -> None:
        self._registry.put(effect.data, effect.manifest)
        if effect.champion:
            self._registry.set_champion(effect.manifest.model_id)

    def _load(self, effect: LoadModel) -> ModelLoaded:
        try:
            model, sha256 = self._registry.load_published(
                effect.model_id, effect.sha256, self._requirements, self._make
            )
        except ModelRefused as error:
            return ModelLoaded(
                model_id=effect.model_id,
                stamp_ns=effect.stamp_ns,
                sha256="",
                model=None,
                reason=str(error),
                number=effect.number,
            )
        return ModelLoaded(
            model_id=effect.model_id,
            stamp_ns=effect.stamp_ns,
            sha256=sha256,
            model=model,
            number=effect.number,
        )

    def _make(self, model_id: str, data: bytes) -> OnnxModel:
        """A model of the bytes read; one that a trainer here has made of the same bytes is that model."""
        made = (trainer.model_of(data) for trainer in self._trainers.values())
        return next((model for model in made if model is not None), None) or OnnxModel(model_id, data)
