"""Learn: rebuilds features from binned records, and has models trained on outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agents.baselines import Baselines, Linear
from agents.drift_alarms import DriftAlarms, Look
from agents.forgotten import Forgotten, robot_forgotten, stream_forgotten
from agents.learn_robot import Pending, RobotState, StreamState, sample_features
from agents.lineage import Version
from agents.lineages import Lineages
from agents.protocol import Agent, Labels, Restore, Step, StepBuilder, Trained, TrainingFailed
from agents.roster import Roster
from agents.training_plan import Plan, TrainingPlan
from models.model import Model
from models.prior import Prior
from stream.codecs.state import unpack_fields
from stream.config import Config, NetworkConfig
from stream.features import FeatureSchema, digest
from stream.records import (
    Binned,
    EndOfLog,
    Event,
    ModelActivated,
    Outcome,
    Prediction,
    Shadow,
)

SNAPSHOT = frozenset(
    (
        "baselines",
        "drift",
        "forgotten",
        "frozen",
        "lineages",
        "now_ns",
        "plan",
        "predictions",
        "robots",
        "roster",
        "skewed",
        "warm",
    )
)
LATER = frozenset(("now_ns", "warm"))
"""What the first snapshots of this version lack."""


class Learn(Agent):
    """Binned sweeps, predictions and outcomes in; shadows, alarms, models and training requests out.

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
        self._lineages = Lineages(config, schema, builtin, networks, priors)
        self._plan = TrainingPlan(config.learn, networks)
        self.drift = DriftAlarms(config)
        self._frozen: Version | None = None
        self._warm = False
        self._robots: dict[str, RobotState] = {}
        self._roster = Roster(config.limits.max_robots)
        self._forgotten = Forgotten()
        self._predictions = 0
        self._now_ns = 0
        self.skewed = 0

    def handle(self, record: Any) -> Step:
        """Fold a Binned, Prediction, Outcome, ModelActivated, Trained, TrainingFailed or EndOfLog."""
        step = StepBuilder()
        if isinstance(record, Binned | Prediction | Outcome):
            if not self._forgotten.knows(record):
                self._fold(record, step)
        elif isinstance(record, Trained):
            self._lineages.trained(record, step)
        elif isinstance(record, TrainingFailed):
            self._lineages.training_failed(record, step)
        elif isinstance(record, EndOfLog):
            for robot in self._robots.values():
                self._take(robot, robot.order.rest(), step)
                self._release_outcomes(robot, step, ended=True)
        elif not isinstance(record, ModelActivated):
            raise TypeError(f"Learn does not handle {type(record).__name__}")
        if not isinstance(record, Trained | TrainingFailed | EndOfLog):
            step.released.append(_key(record))
        return step.build()

    def _fold(self, record: Binned | Prediction | Outcome, step: StepBuilder) -> None:
        robot = self._robot(record.robot_id, step)
        if isinstance(record, Outcome):
            robot.held_outcomes.append(record)
            self._release_outcomes(robot, step)
        else:
            self._take(robot, robot.order.add(record), step)

    def _robot(self, robot_id: str, step: StepBuilder) -> RobotState:
        for silent in self._roster.hear(robot_id):
            self._forget_robot(silent, step)
        if robot_id not in self._robots:
            self._robots[robot_id] = RobotState(self._config, self._forgotten.next_seq(robot_id))
        return self._robots[robot_id]

    # ---- predictions -----------------------------------------------------------------------------------

    def _take(self, robot: RobotState, records: list[Binned | Prediction], step: StepBuilder) -> None:
        for record in records:
            if isinstance(record, Prediction):
                self._predicted(robot, record, step)
            else:
                robot.fold(record)

    def _predicted(self, robot: RobotState, prediction: Prediction, step: StepBuilder) -> None:
        for silent in robot.roster.hear(prediction.stream_id):
            self._stream_forgotten(robot, silent, step)
        if prediction.stream_id not in robot.streams:
            newest_ns = self._forgotten.newest_ns(prediction.stream_id)
            robot.streams[prediction.stream_id] = StreamState(newest_ns=newest_ns)
        stream = robot.streams[prediction.stream_id]
        if prediction.stamp_ns <= stream.newest_ns:
            return  # redelivered: a stream is predicted in order of its stamps
        stream.newest_ns = prediction.stamp_ns
        self._lineages.begin(prediction.stamp_ns, step)
        self._warm_up(stream, prediction.model_id)  # without any, it has ended before the first sweep
        self._shadow(robot, prediction, step)
        stream.predictions += 1
        self._predictions += 1
        self._warm_up(stream, prediction.model_id)
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
            challengers=self._lineages.challenge(features),
            open_horizons=set(prediction.horizons_ns),
        )
        self._forget_old(robot, step)

    def _warm_up(self, stream: StreamState, model_id: str) -> None:
        """The model that served the last sweep of the first warm-up to end is the baseline called frozen.

        Until then what serves is kept: a person may hold it while more is published than lineages remember.
        """
        if self._warm:
            return
        if self._frozen is None or self._frozen.model.model_id != model_id:
            self._frozen = self._lineages.version(model_id)
        self._warm = stream.predictions >= self._config.task.warmup_sweeps
        self._freeze()

    def _freeze(self) -> None:
        self._baselines.frozen = self._frozen.model if self._warm and self._frozen else None

    def _skew(self, prediction: Prediction, reason: str) -> Event:
        self.skewed += 1
        return Event(
            kind="feature_skew",
            stamp_ns=prediction.stamp_ns,
            robot_id=prediction.robot_id,
            fields={"prediction_id": prediction.prediction_id, "reason": reason},
        )

    # ---- forgetting ------------------------------------------------------------------------------------

    def _forget_old(self, robot: RobotState, step: StepBuilder) -> None:
        """Predictions whose outcomes have not come (sweeps were lost, Judge is behind) must not pile up."""
        for prediction_id in robot.older_than(2 * self._config.task.horizons_ns[-1]):
            self._forget(robot, prediction_id, step)

    def _forget(self, robot: RobotState, prediction_id: str, step: StepBuilder) -> None:
        pending = robot.pending[prediction_id]
        step.outputs.append(
            Event(
                kind="forgotten",
                stamp_ns=pending.prediction.stamp_ns,
                robot_id=pending.prediction.robot_id,
                fields={"prediction_id": prediction_id, "horizons_ns": sorted(pending.open_horizons)},
            )
        )
        self._close(robot, prediction_id)

    def _forget_robot(self, robot_id: str, step: StepBuilder) -> None:
        """End with a robot that others are heard instead of: learn what is there, forget the rest."""
        robot = self._robots[robot_id]
        self._take(robot, robot.order.rest(), step)
        self._release_outcomes(robot, step, ended=True)
        newest_ns = max([0, *(stream.newest_ns for stream in robot.streams.values())])
        for stream_id in list(robot.streams):
            self._forget_stream(robot, stream_id, step)
        del self._robots[robot_id]
        self._forgotten.robot(robot_id, robot.order.next_seq)
        step.outputs.append(robot_forgotten("learn", robot_id, newest_ns, self._config.limits))

    def _stream_forgotten(self, robot: RobotState, stream_id: str, step: StepBuilder) -> None:
        """End with a stream that others of its robot are heard instead of, and say so."""
        newest_ns = robot.streams[stream_id].newest_ns
        self._forget_stream(robot, stream_id, step)
        step.outputs.append(stream_forgotten("learn", stream_id, newest_ns, self._config.limits))

    def _forget_stream(self, robot: RobotState, stream_id: str, step: StepBuilder) -> None:
        held = [outcome for outcome in robot.held_outcomes if outcome.stream_id == stream_id]
        robot.held_outcomes = [outcome for outcome in robot.held_outcomes if outcome not in held]
        for outcome in held:
            self._learn(robot, outcome, step)
        for prediction_id, pending in list(robot.pending.items()):
            if pending.prediction.stream_id == stream_id:
                self._forget(robot, prediction_id, step)
        self._forgotten.stream(stream_id, robot.streams.pop(stream_id).newest_ns)

    def _close(self, robot: RobotState, prediction_id: str) -> None:
        del robot.pending[prediction_id]
        self._lineages.forget(prediction_id)

    # ---- outcomes --------------------------------------------------------------------------------------

    def _release_outcomes(self, robot: RobotState, step: StepBuilder, ended: bool = False) -> None:
        """An outcome is learnt after the prediction of the sweep that revealed it, in whatever order they
        come: so no baseline knows more than the served model did."""
        ready = [
            outcome
            for outcome in robot.held_outcomes
            if ended or outcome.observed_stamp_ns <= robot.newest_ns(outcome.stream_id)
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
        look = Look(loss=None)
        if primary and len(outcome.row):
            look = self.drift.look(pending.prediction, outcome, self._predictions)
            step.outputs.extend(look.events)
            self._baselines.learn(pending.features, outcome.row, outcome.occupied)
            self._lineages.compare(pending, outcome, example, labels, self._predictions, step)
        self._lineages.queue(pending, example, labels)
        if primary or self._lineages.is_full:
            plan = self._planned(robot.streams[outcome.stream_id], outcome, look) if primary else Plan()
            self._lineages.train(outcome.observed_stamp_ns, plan, step)
        if not pending.open_horizons:
            self._close(robot, outcome.prediction_id)

    def _planned(self, stream: StreamState, outcome: Outcome, look: Look) -> Plan:
        """Who trains on a labelled sweep."""
        self._now_ns = stream.clock(self._now_ns, outcome.observed_stamp_ns)
        return self._plan.labelled(outcome.observed_stamp_ns, self._now_ns, look)

    # ---- snapshots -------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything but the trainers, which the runtime owns."""
        return {
            "baselines": self._baselines.state(),
            "frozen": self._frozen.state() if self._frozen else None,
            "warm": self._warm,
            "lineages": self._lineages.state(),
            "now_ns": self._now_ns,
            "plan": self._plan.state(),
            "drift": self.drift.state(),
            "predictions": self._predictions,
            "skewed": self.skewed,
            "robots": [[name, robot.state()] for name, robot in self._robots.items()],
            "roster": self._roster.names(),
            "forgotten": self._forgotten.state(),
        }

    def restore(self, data: bytes) -> None:
        """Continue from a snapshot of a Learn with the same configuration; raises StateError."""
        tree = unpack_fields(data, SNAPSHOT, LATER)
        self._baselines.restore(tree["baselines"])
        self._frozen = Version.from_state(tree["frozen"], self._load) if tree["frozen"] else None
        self._lineages.restore(tree["lineages"], self._load)
        self._plan.restore(tree["plan"])
        self.drift.restore(tree["drift"])
        self._predictions, self.skewed = tree["predictions"], tree["skewed"]
        self._warm = tree.get("warm", self._predictions >= self._config.task.warmup_sweeps)
        self._freeze()
        self._robots = {name: RobotState.from_state(state, self._config) for name, state in tree["robots"]}
        newest = [s.newest_ns for robot in self._robots.values() for s in robot.streams.values()]
        self._now_ns = tree.get("now_ns", max(newest, default=0))
        self._roster = Roster(self._config.limits.max_robots, tree["roster"])
        self._forgotten = Forgotten.from_state(tree["forgotten"])

    def resume(self) -> tuple[Restore, ...]:
        """What the trainers of a new process must be given after ``restore``, before they are asked to train.

        They go on from the newest weights of their lineages; what was in their memory is lost.
        """
        return self._lineages.resume()


def _key(record: Binned | Prediction | Outcome | ModelActivated) -> tuple[str | int, ...]:
    """Names an input of Learn."""
    kind = type(record).__name__.lower()
    stamp = record.first_stamp_ns if isinstance(record, ModelActivated) else record.stamp_ns
    return (kind, record.stream_id, stamp, getattr(record, "part", 0), getattr(record, "horizon_ns", 0))
