"""Perceive: waits for the pose, bins, updates the rolling container, predicts. The only agent on the
latency path."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.perceive_robot import RobotState, StreamState
from agents.perceive_sweep import Evidence, Placed, Unusable
from agents.protocol import Key, LoadModel, ModelLoaded, Step, StepBuilder
from agents.stopwatch import Stopwatch
from models.model import Model
from models.runtime import ModelFailed
from native.binning import MAX_POINTS
from stream.codecs.state import pack, unpack_fields
from stream.config import Config
from stream.features import digest
from stream.frames import FrameError, NoChainError, NotYet
from stream.records import Binned, EndOfLog, Event, ModelActivated, ModelPublished, Prediction, SweepRejected
from stream.sweep import Sweep
from stream.transform import Transform

MAX_STAMP_NS = 2**61  # year 2043; beyond is a broken clock


def sweep_key(sweep: Sweep) -> Key:
    """Names a sweep or part as an input."""
    return ("sweep", sweep.stream_id, sweep.stamp_ns, sweep.part)


class Perceive:
    """Sweeps and transforms in; binned sweeps, activations, predictions and rejections out.

    builtin : the model that serves until another one is activated
    """

    def __init__(self, config: Config, builtin: Model, stopwatch: Stopwatch | None = None) -> None:
        self._config = config
        self._stopwatch = stopwatch or Stopwatch()
        self._evidence = Evidence(config, self._stopwatch)
        self._models: dict[str, tuple[Model, str]] = {builtin.model_id: (builtin, "builtin")}
        self._builtin = builtin.model_id
        self._staged = builtin.model_id
        self._robots: dict[str, RobotState] = {}

    def handle(self, record: Any) -> Step:
        """Fold a Sweep, Transform, ModelPublished, ModelLoaded or EndOfLog."""
        step = StepBuilder()
        if isinstance(record, Sweep):
            self._receive(record, step)
        elif isinstance(record, Transform):
            self._transform(record, step)
        elif isinstance(record, ModelPublished):
            step.effects.append(LoadModel(model_id=record.model_id, stamp_ns=record.stamp_ns))
        elif isinstance(record, ModelLoaded):
            self._stage(record, step)
        elif isinstance(record, EndOfLog):
            for robot in self._robots.values():
                self._finish(robot, step)
        else:
            raise TypeError(f"Perceive does not handle {type(record).__name__}")
        return step.build()

    # ---- inputs ----------------------------------------------------------------------------------------

    def _robot(self, robot_id: str) -> RobotState:
        if robot_id not in self._robots:
            self._robots[robot_id] = RobotState(self._config)
        return self._robots[robot_id]

    def _transform(self, transform: Transform, step: StepBuilder) -> None:
        robot = self._robot(transform.robot_id)
        try:
            robot.frames.add(transform)
        except FrameError as error:
            step.outputs.append(
                Event(
                    kind="transform_refused",
                    stamp_ns=transform.stamp_ns,
                    robot_id=transform.robot_id,
                    fields={"reason": str(error)},
                )
            )
        self._drain(robot, step)

    def _receive(self, sweep: Sweep, step: StepBuilder) -> None:
        reason = self._unusable(sweep)
        if reason:
            self._reject(sweep, *reason, step)
            return
        robot = self._robot(sweep.robot_id)
        key = sweep_key(sweep)
        if key in robot.seen:
            fields = {"stream_id": sweep.stream_id, "part": sweep.part}
            step.outputs.append(
                Event(kind="duplicate", stamp_ns=sweep.stamp_ns, robot_id=sweep.robot_id, fields=fields)
            )
            step.released.append(key)
            return
        if sweep.stamp_ns < robot.container.newest_ns - robot.container.keep_ns:
            self._reject(sweep, "late", "older than the rolling container reaches", step)
            return
        robot.seen[key] = sweep.stamp_ns
        robot.newest_input_ns = max(robot.newest_input_ns, sweep.stamp_ns)
        robot.held.append(sweep)
        robot.held.sort(key=lambda held: (held.stamp_ns, held.stream_id, held.part))
        self._drain(robot, step)

    def _unusable(self, sweep: Sweep) -> tuple[str, str] | None:
        if not 0 < sweep.stamp_ns <= MAX_STAMP_NS:
            return "bad_stamp", f"stamp_ns {sweep.stamp_ns} is not within 1..2^61"
        rays = len(sweep.points) + len(sweep.misses)
        if rays > MAX_POINTS:
            return "too_many", f"{rays} points and misses; send parts of at most {MAX_POINTS}"
        return None

    def _reject(self, sweep: Sweep, reason: str, detail: str, step: StepBuilder) -> None:
        step.outputs.append(
            SweepRejected(
                robot_id=sweep.robot_id,
                stream_id=sweep.stream_id,
                stamp_ns=sweep.stamp_ns,
                part=sweep.part,
                reason=reason,
                detail=detail,
            )
        )
        step.released.append(sweep_key(sweep))

    def _discard(self, robot: RobotState, sweep: Sweep, reason: str, detail: str, step: StepBuilder) -> None:
        """Reject a sweep whose key was remembered; redelivered, it would be rejected again."""
        robot.seen.pop(sweep_key(sweep), None)
        self._reject(sweep, reason, detail, step)

    # ---- waiting for poses -----------------------------------------------------------------------------

    def _drain(self, robot: RobotState, step: StepBuilder) -> None:
        """Process held sweeps in event time until one has to wait."""
        while robot.held:
            sweep = robot.held[0]
            try:
                placed = self._evidence.place(robot, sweep)
            except (NotYet, NoChainError) as error:
                if not self._waited_enough(robot, sweep):
                    return
                robot.held.pop(0)
                self._discard(robot, sweep, "no_pose", f"gave up waiting: {error}", step)
            except FrameError as error:
                robot.held.pop(0)
                self._discard(robot, sweep, "no_pose", str(error), step)
            else:
                robot.held.pop(0)
                self._process(robot, placed, step)

    def _waited_enough(self, robot: RobotState, sweep: Sweep) -> bool:
        waited = robot.newest_input_ns - sweep.stamp_ns
        return waited > self._config.pose.max_wait_ns or len(robot.held) > self._config.pose.max_held_sweeps

    def _finish(self, robot: RobotState, step: StepBuilder) -> None:
        for sweep in robot.held:
            reason = "the log ended before a transform reached its stamp"
            self._discard(robot, sweep, "no_pose", reason, step)
        robot.held.clear()
        for stream in robot.streams.values():
            self._close(robot, stream, step)

    # ---- from points to predictions --------------------------------------------------------------------

    def _process(self, robot: RobotState, placed: Placed, step: StepBuilder) -> None:
        """A sweep that turns out to be unusable leaves no trace: not even an open sweep is closed by it."""
        sweep = placed.sweep
        try:
            seen = self._evidence.bin(placed)
        except Unusable as fault:
            self._discard(robot, sweep, fault.reason, fault.detail, step)
            return
        stream = robot.streams.setdefault(sweep.stream_id, StreamState())
        late = sweep.stamp_ns < stream.newest_ns
        if sweep.stamp_ns > stream.newest_ns:
            self._close(robot, stream, step)
            stream.newest_ns = sweep.stamp_ns
            stream.parts_seen = set()
        record = self._evidence.fold(robot, seen, late)
        robot.seq += 1
        step.outputs.append(record)
        step.released.append(sweep_key(sweep))
        self._forget_old_keys(robot)
        if late:
            return
        stream.parts_seen.add(sweep.part)
        stream.open_record = record
        if len(stream.parts_seen) == sweep.parts:
            self._close(robot, stream, step)

    def _forget_old_keys(self, robot: RobotState) -> None:
        """Keys older than the container are refused as late anyway, so they need not be remembered."""
        oldest = robot.container.newest_ns - robot.container.keep_ns
        while robot.seen and (key := next(iter(robot.seen))) and robot.seen[key] < oldest:
            del robot.seen[key]

    def _close(self, robot: RobotState, stream: StreamState, step: StepBuilder) -> None:
        """Predict from a sweep once its last part is in, or the next sweep has begun."""
        record, stream.open_record = stream.open_record, None
        if record is not None:
            self._predict(robot, stream, record, step)

    def _predict(self, robot: RobotState, stream: StreamState, record: Binned, step: StepBuilder) -> None:
        with self._stopwatch.stage("features"):
            features = robot.container.features(record)
        self._activate(stream, record, self._staged, step)
        with self._stopwatch.stage("inference"):
            probability = self._infer(stream, record, features.x, features.neighbor_index, step)
        step.outputs.append(
            Prediction(
                prediction_id=record.prediction_id,
                robot_id=record.robot_id,
                stream_id=record.stream_id,
                stamp_ns=record.stamp_ns,
                seq=robot.seq - 1,
                model_id=stream.model_id,
                horizons_ns=self._config.task.horizons_ns,
                cell_id=features.cell_id,
                probability=probability,
                before=features.before,
                feature_digest=digest(features),
                state_digest=robot.container.digest(),
            )
        )

    def _infer(
        self,
        stream: StreamState,
        record: Binned,
        x: NDArray[np.float32],
        neighbor_index: NDArray[np.int32],
        step: StepBuilder,
    ) -> NDArray[np.float32]:
        """Predict with the active model; one that fails at run time gives way to the built-in one."""
        try:
            return self._models[stream.model_id][0].predict(x, neighbor_index)
        except ModelFailed as error:
            fields = {"model_id": stream.model_id, "reason": str(error)}
            step.outputs.append(
                Event(kind="model_failed", stamp_ns=record.stamp_ns, robot_id=record.robot_id, fields=fields)
            )
        self._staged = self._builtin
        self._activate(stream, record, self._builtin, step)
        return self._models[self._builtin][0].predict(x, neighbor_index)

    # ---- models ----------------------------------------------------------------------------------------

    def _stage(self, loaded: ModelLoaded, step: StepBuilder) -> None:
        if loaded.model is None:
            fields = {"model_id": loaded.model_id, "reason": loaded.reason}
            step.outputs.append(Event(kind="refused", stamp_ns=loaded.stamp_ns, fields=fields))
            return
        reloaded = loaded.model_id in self.missing_models()
        self._models[loaded.model_id] = (loaded.model, loaded.sha256)
        if not reloaded:  # a restored agent already knows which of its models is the newest
            self._staged = loaded.model_id
        self._drop_unused_models()

    def _activate(self, stream: StreamState, record: Binned, model_id: str, step: StepBuilder) -> None:
        """Switch at a sweep boundary; the record of it comes before the first prediction under the model."""
        if stream.model_id == model_id:
            return
        stream.model_id = model_id
        step.outputs.append(
            ModelActivated(
                robot_id=record.robot_id,
                stream_id=record.stream_id,
                first_stamp_ns=record.stamp_ns,
                model_id=model_id,
                sha256=self._models[model_id][1],
            )
        )

    def _drop_unused_models(self) -> None:
        """Called between two sweeps, as a session takes longer to end than models to be exchanged."""
        used = {stream.model_id for robot in self._robots.values() for stream in robot.streams.values()}
        for model_id in set(self._models) - used - {self._builtin, self._staged}:
            del self._models[model_id]

    # ---- snapshots -------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """Transforms, held sweeps, retained records and serving models of every robot."""
        robots = {name: robot.state() for name, robot in self._robots.items()}
        return pack({"staged": self._staged, "robots": robots})

    def restore(self, data: bytes) -> None:
        """Continue from a snapshot; ``missing_models`` says which models have to be loaded first."""
        tree = unpack_fields(data, frozenset({"staged", "robots"}))
        self._staged = tree["staged"]
        self._robots = {
            name: RobotState.from_state(state, self._config) for name, state in tree["robots"].items()
        }

    def missing_models(self) -> tuple[str, ...]:
        """Models that the restored state serves and that have to be loaded before the next sweep."""
        used = {stream.model_id for robot in self._robots.values() for stream in robot.streams.values()}
        return tuple(sorted((used | {self._staged}) - set(self._models) - {""}))
