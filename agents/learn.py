"""Learn: rebuilds features from binned records, trains on outcomes, and publishes what proves itself.

Perceive serves the built-in model until a lineage has passed the gate on outcomes it was not trained on.
From then on every training is published as an update, compared with an anchor on outcomes not yet trained
on, and rolled back when it loses.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.baselines import Baselines, Linear
from agents.comparison import log_losses, score
from agents.learn_robot import Pending, RobotState, sample_features
from agents.lineage import Lineage, Version, prior_version
from agents.manifests import architecture_of, manifest_of
from agents.protocol import Example, Labels, Restore, Step, StepBuilder, StoreModel, Trained, TrainingFailed
from models.model import Model
from models.online.gate import Decision, PromotionGate, UpdateGuard
from models.prior import Prior
from native.window import CellFeatures
from stream.codecs.state import pack, unpack_fields
from stream.config import Config, NetworkConfig
from stream.container import RollingContainer
from stream.features import FeatureSchema, digest
from stream.records import (
    Binned,
    EndOfLog,
    Event,
    ModelActivated,
    ModelPublished,
    Outcome,
    Prediction,
    Shadow,
)

SNAPSHOT = frozenset(
    ("baselines", "frozen", "versions", "lineages", "champion", "served_id", "predictions",
     "skewed", "robots")
)  # fmt: skip
REMEMBERED_MODELS = 16  # predictions in flight may still name them


class Learn:
    """Binned sweeps, predictions and outcomes in; shadows, models and training requests out.

    networks : networks to train by lineage name; empty when learning is off
    priors : what lineages start from, by name; a lineage without one starts from random weights
    linear : the online linear baseline, None where its library is not installed
    load : makes a model of an ONNX file, for restoring a snapshot
    """

    def __init__(
        self,
        config: Config,
        schema: FeatureSchema,
        builtin: Model,
        *,
        networks: Mapping[str, NetworkConfig],
        priors: Mapping[str, Prior],
        linear: Linear | None,
        load: Callable[[str, bytes], Model],
    ) -> None:
        self._config, self._schema, self._builtin, self._load = config, schema, builtin, load
        self._baselines = Baselines(schema, config.task.primary, linear)
        self._networks = dict(networks)
        self._lineages = {name: self._new_lineage(name, priors.get(name)) for name in networks}
        self._champion: str | None = None
        self._served_id = builtin.model_id
        self._versions: OrderedDict[str, Version] = OrderedDict()
        self._frozen: Version | None = None
        self._robots: dict[str, RobotState] = {}
        self._predictions = 0
        self.skewed = 0

    def _new_lineage(self, name: str, prior: Prior | None) -> Lineage:
        learn = self._config.learn
        return Lineage(
            name=name,
            gate=PromotionGate(learn.gate_sweeps),
            guard=UpdateGuard(learn.guard_sweeps, learn.guard_margin),
            latest=prior_version(prior) if prior else None,
        )

    def handle(self, record: Any) -> Step:
        """Fold a Binned, Prediction, Outcome, ModelActivated, Trained, TrainingFailed or EndOfLog."""
        step = StepBuilder()
        if isinstance(record, Binned):
            robot = self._robot(record.robot_id)
            if not robot.container.knows(record):  # else redelivered
                robot.container.fold(record)
                robot.last_record = record
        elif isinstance(record, Prediction):
            self._predicted(record, step)
        elif isinstance(record, Outcome):
            robot = self._robot(record.robot_id)
            robot.held_outcomes.append(record)
            self._release_outcomes(robot, step)
        elif isinstance(record, Trained):
            self._trained(record, step)
        elif isinstance(record, TrainingFailed):
            self._training_failed(record, step)
        elif isinstance(record, EndOfLog):
            for robot in self._robots.values():
                self._release_outcomes(robot, step, ended=True)
        elif not isinstance(record, ModelActivated):
            raise TypeError(f"Learn does not handle {type(record).__name__}")
        if not isinstance(record, Trained | TrainingFailed | EndOfLog):
            step.released.append(_key(record))
        return step.build()

    def _robot(self, robot_id: str) -> RobotState:
        if robot_id not in self._robots:
            self._robots[robot_id] = RobotState(RollingContainer(self._config))
        return self._robots[robot_id]

    # ---- predictions -----------------------------------------------------------------------------------

    def _predicted(self, prediction: Prediction, step: StepBuilder) -> None:
        robot = self._robot(prediction.robot_id)
        if prediction.stamp_ns <= robot.newest_prediction.get(prediction.stream_id, -1):
            return  # redelivered: a stream is predicted in order of its stamps
        robot.newest_prediction[prediction.stream_id] = prediction.stamp_ns
        self._shadow(robot, prediction, step)
        self._predictions += 1
        if self._predictions == self._config.task.warmup_sweeps:
            self._freeze(self._version(prediction.model_id))
        self._release_outcomes(robot, step)

    def _shadow(self, robot: RobotState, prediction: Prediction, step: StepBuilder) -> None:
        """Rebuild the features; beside the prediction, say what baselines and challengers expect."""
        record = robot.container.record_of(prediction.stream_id, prediction.stamp_ns)
        if record is None or robot.last_record is None or robot.last_record.seq != prediction.seq:
            step.outputs.append(self._skew(prediction, "its last record is not the newest one folded"))
            return
        features = robot.container.features(record)
        if digest(features) != prediction.feature_digest:
            step.outputs.append(self._skew(prediction, "the rebuilt features have another digest"))
            return
        step.outputs.append(
            Shadow(
                prediction_id=prediction.prediction_id,
                robot_id=prediction.robot_id,
                stream_id=prediction.stream_id,
                stamp_ns=prediction.stamp_ns,
                cell_id=prediction.cell_id,
                probability=self._baselines.predict(features),
            )
        )
        if self._config.log_features > 0:
            step.outputs.append(sample_features(prediction, features, self._config.log_features))
        robot.pending[prediction.prediction_id] = Pending(
            prediction=prediction,
            features=features,
            challengers=self._challenge(features),
            open_horizons=set(prediction.horizons_ns),
        )
        self._forget_old(robot)

    def _version(self, model_id: str) -> Version | None:
        if model_id == self._builtin.model_id:
            return Version(model=self._builtin, data=b"", weights={}, report={})
        return self._versions.get(model_id)

    def _freeze(self, version: Version | None) -> None:
        """The model that served the last sweep of the warm-up is the baseline called frozen."""
        self._frozen = version
        self._baselines.frozen = version.model if version else None

    def _skew(self, prediction: Prediction, reason: str) -> Event:
        self.skewed += 1
        return Event(
            kind="feature_skew",
            stamp_ns=prediction.stamp_ns,
            robot_id=prediction.robot_id,
            fields={"prediction_id": prediction.prediction_id, "reason": reason},
        )

    def _challenge(self, features: CellFeatures) -> dict[str, NDArray[np.float32]]:
        """What every challenger would have predicted at the primary horizon."""
        return {
            lineage.name: self._primary(lineage.latest.model, features)
            for lineage in self._lineages.values()
            if lineage.name != self._champion and lineage.latest is not None
        }

    def _primary(self, model: Model, features: CellFeatures) -> NDArray[np.float32]:
        probability = model.predict(features.x, features.neighbor_index)
        return np.ascontiguousarray(probability[:, self._config.task.primary])

    def _forget_old(self, robot: RobotState) -> None:
        """Predictions whose outcomes never came (the log stopped, sweeps were lost) must not pile up."""
        for prediction_id in robot.older_than(2 * self._config.task.horizons_ns[-1]):
            self._close(robot, prediction_id)

    def _close(self, robot: RobotState, prediction_id: str) -> None:
        del robot.pending[prediction_id]
        for lineage in self._lineages.values():
            lineage.forget(prediction_id)

    # ---- outcomes --------------------------------------------------------------------------------------

    def _release_outcomes(self, robot: RobotState, step: StepBuilder, ended: bool = False) -> None:
        """An outcome is learnt after the prediction of the sweep that revealed it, in whatever order they
        come: so no baseline knows more than the served model did."""
        ready = [
            outcome
            for outcome in robot.held_outcomes
            if ended or outcome.observed_stamp_ns <= robot.newest_prediction.get(outcome.stream_id, -1)
        ]
        robot.held_outcomes = [outcome for outcome in robot.held_outcomes if outcome not in ready]
        for outcome in ready:
            self._learn(robot, outcome, step)

    def _learn(self, robot: RobotState, outcome: Outcome, step: StepBuilder) -> None:
        pending = robot.pending.get(outcome.prediction_id)
        if pending is None or outcome.horizon_ns not in pending.open_horizons:
            return
        pending.open_horizons.discard(outcome.horizon_ns)
        primary = outcome.horizon_ns == self._config.task.primary_horizon_ns
        example = pending.example(self._schema)
        labels = Labels(
            prediction_id=outcome.prediction_id,
            horizon=self._config.task.horizons_ns.index(outcome.horizon_ns),
            row=outcome.row,
            occupied=outcome.occupied,
        )
        if primary and len(outcome.row):
            self._baselines.learn(pending.features, outcome.row, outcome.occupied)
            self._gate(pending, outcome, step)
            self._guard(example, labels, outcome.observed_stamp_ns, step)
        for lineage in self._lineages.values():
            lineage.add(example, labels)
            if primary:
                step.effects.append(lineage.train(outcome.observed_stamp_ns, *self._effort()))
        if not pending.open_horizons:
            self._close(robot, outcome.prediction_id)

    def _effort(self) -> tuple[int, float | None]:
        """Steps of one training, and its share of the budget for a sweep, milliseconds."""
        learn = self._config.learn
        share = None if learn.budget_ms is None else learn.budget_ms / len(self._lineages)
        return learn.steps_per_sweep, share

    def _gate(self, pending: Pending, outcome: Outcome, step: StepBuilder) -> None:
        """Score challengers on the predictions they made in shadow; promote or reject when proven."""
        row, occupied = outcome.row, outcome.occupied
        served = pending.prediction.probability[row, self._config.task.primary]
        for name, probability in pending.challengers.items():
            lineage = self._lineages[name]
            if name == self._champion:
                continue
            lineage.gate.add(score(served, occupied), score(probability[row], occupied))
            decision = lineage.gate.decide()
            if decision.verdict == "promote":
                self._promote(lineage, decision, outcome.observed_stamp_ns, step)
            elif decision.verdict == "reject":
                lineage.gate = PromotionGate(self._config.learn.gate_sweeps)  # it trains on, judged anew
                step.outputs.append(_event("rejected", outcome.observed_stamp_ns, lineage, decision))

    def _promote(self, lineage: Lineage, decision: Decision, stamp_ns: int, step: StepBuilder) -> None:
        if lineage.latest is None:
            return
        self._champion = lineage.name
        lineage.anchor = lineage.latest
        lineage.guard.reset()
        step.outputs.append(_event("promoted", stamp_ns, lineage, decision))
        self._publish(lineage, lineage.latest, "promotion", stamp_ns, step)
        for other in self._lineages.values():  # the old champion goes on in shadow; all face the new one
            other.gate = PromotionGate(self._config.learn.gate_sweeps)

    def _guard(self, example: Example, labels: Labels, stamp_ns: int, step: StepBuilder) -> None:
        """Compare what is served now with the anchor on outcomes that neither was trained on."""
        if self._champion is None:
            return
        lineage = self._lineages[self._champion]
        if lineage.latest is None or lineage.anchor is None:
            return
        models = (lineage.latest.model, lineage.anchor.model)
        layers = self._networks[lineage.name].layers
        losses = log_losses(models, example, labels, layers=layers, turn=self._predictions)
        if losses[0] is None or losses[1] is None:
            return
        lineage.guard.add(losses[0], losses[1])
        decision = lineage.guard.verdict()
        if decision.verdict == "accept":
            lineage.anchor = lineage.latest
            lineage.guard.reset()
        elif decision.verdict == "rollback":
            step.outputs.append(_event("rolled_back", stamp_ns, lineage, decision))
            lineage.latest = lineage.anchor
            lineage.guard.reset()
            step.effects.append(Restore(lineage=lineage.name, weights=lineage.anchor.weights))
            self._publish(lineage, lineage.anchor, "rollback", stamp_ns, step)

    # ---- models ----------------------------------------------------------------------------------------

    def _trained(self, trained: Trained, step: StepBuilder) -> None:
        lineage = self._lineages[trained.lineage]
        lineage.take(trained)
        step.outputs.append(
            Event(
                kind="trained",
                stamp_ns=trained.stamp_ns,
                fields={"lineage": lineage.name, "model_id": trained.model.model_id, **trained.report},
            )
        )
        if lineage.name == self._champion and lineage.latest is not None:
            self._publish(lineage, lineage.latest, "update", trained.stamp_ns, step)

    def _training_failed(self, failed: TrainingFailed, step: StepBuilder) -> None:
        """Go on from the weights before; what is served is not touched."""
        lineage = self._lineages[failed.lineage]
        fields = {"lineage": lineage.name, "reason": failed.reason}
        step.outputs.append(Event(kind="training_failed", stamp_ns=failed.stamp_ns, fields=fields))
        if lineage.latest is not None:
            step.effects.append(Restore(lineage=lineage.name, weights=lineage.latest.weights))

    def _publish(
        self, lineage: Lineage, version: Version, kind: str, stamp_ns: int, step: StepBuilder
    ) -> None:
        manifest = manifest_of(
            self._config,
            self._schema,
            version,
            architecture=architecture_of(self._networks[lineage.name]),
            kind=kind,
            parent_id=self._served_id,
        )
        step.effects.append(StoreModel(data=version.data, manifest=manifest, champion=True))
        step.outputs.append(
            ModelPublished(
                model_id=manifest.model_id,
                sha256=manifest.sha256,
                kind=kind,
                parent_id=manifest.parent_id,
                stamp_ns=stamp_ns,
                manifest=manifest.to_dict(),
            )
        )
        self._served_id = manifest.model_id
        self._versions[manifest.model_id] = version
        self._versions.move_to_end(manifest.model_id)
        while len(self._versions) > REMEMBERED_MODELS:
            self._versions.popitem(last=False)

    # ---- snapshots -------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """Everything but the trainers, which the runtime owns."""
        return pack(
            {
                "baselines": self._baselines.state(),
                "frozen": self._frozen.state() if self._frozen else None,
                "versions": [version.state() for version in self._versions.values()],
                "lineages": {name: lineage.state() for name, lineage in self._lineages.items()},
                "champion": self._champion,
                "served_id": self._served_id,
                "predictions": self._predictions,
                "skewed": self.skewed,
                "robots": {name: robot.state() for name, robot in self._robots.items()},
            }
        )

    def restore(self, data: bytes) -> None:
        """Continue from a snapshot of a Learn with the same configuration; raises StateError."""
        tree = unpack_fields(data, SNAPSHOT)
        self._baselines.restore(tree["baselines"])
        self._freeze(Version.from_state(tree["frozen"], self._load) if tree["frozen"] else None)
        versions = [Version.from_state(state, self._load) for state in tree["versions"]]
        self._versions = OrderedDict((version.model.model_id, version) for version in versions)
        self._lineages = {
            name: Lineage.from_state(name, state, self._load) for name, state in tree["lineages"].items()
        }
        self._champion, self._served_id = tree["champion"], tree["served_id"]
        self._predictions, self.skewed = tree["predictions"], tree["skewed"]
        self._robots = {
            name: RobotState.from_state(state, RollingContainer(self._config))
            for name, state in tree["robots"].items()
        }


def _key(record: Binned | Prediction | Outcome | ModelActivated) -> tuple[str | int, ...]:
    """Names an input of Learn."""
    kind = type(record).__name__.lower()
    stamp = record.first_stamp_ns if isinstance(record, ModelActivated) else record.stamp_ns
    return (kind, record.stream_id, stamp, getattr(record, "part", 0), getattr(record, "horizon_ns", 0))


def _event(kind: str, stamp_ns: int, lineage: Lineage, decision: Decision) -> Event:
    model_id = lineage.latest.model.model_id if lineage.latest else ""
    fields = {"lineage": lineage.name, "model_id": model_id, **decision.reason}
    return Event(kind=kind, stamp_ns=stamp_ns, fields=fields)
