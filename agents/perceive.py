"""Perceive: waits for the pose, bins, updates the rolling container, predicts. The only agent on the
latency path."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.forgotten import robot_forgotten, stream_forgotten
from agents.localisation import map_reset
from agents.perceive_robot import RobotState, StreamState
from agents.perceive_robots import STATE, Robots
from agents.perceive_sweep import Evidence, Placed, Unusable, not_deskewed
from agents.protocol import Agent, Key, ModelLoaded, Step, StepBuilder
from agents.recorded_models import RecordedModels
from agents.served_models import ServedModels
from agents.stopwatch import Stopwatch
from models.model import Model
from models.runtime import ModelFailed
from native.binning import MAX_POINTS
from stream.codecs.state import unpack_fields
from stream.config import Config
from stream.features import digest
from stream.frames import FrameError, NoChainError, NotYet
from stream.jumps import Jump
from stream.records import (
    Binned,
    EndOfLog,
    Event,
    ModelActivated,
    ModelPublished,
    Prediction,
    SweepRejected,
)
from stream.sweep import Sweep
from stream.transform import Transform

MAX_STAMP_NS = 2**61  # year 2043; beyond is a broken clock

CROWD = 4
"""So many times ``window.max_records`` records may lie within the rolling container's reach."""


def sweep_key(sweep: Sweep) -> Key:
    """Names a sweep or part as an input."""
    return ("sweep", sweep.stream_id, sweep.stamp_ns, sweep.part)


class Perceive(Agent):
    """Sweeps and transforms in; binned sweeps, activations, predictions and rejections out.

    builtin : the model that serves until another one is activated
    recorded : activations of an earlier run to follow; None activates what is published
    """

    def __init__(
        self,
        config: Config,
        builtin: Model,
        stopwatch: Stopwatch | None = None,
        recorded: RecordedModels | None = None,
    ) -> None:
        self._config = config
        self._stopwatch = stopwatch or Stopwatch()
        self._evidence = Evidence(config, self._stopwatch)
        self._models: ServedModels | RecordedModels = recorded or ServedModels(builtin)
        self._robots = Robots(config)

    def handle(self, record: Any) -> Step:
        """Fold a Sweep, Transform or tuple of them, ModelPublished, ModelLoaded or EndOfLog."""
        step = StepBuilder()
        if isinstance(record, Sweep):
            self._receive(record, step)
        elif isinstance(record, Transform):
            self._transform(record, step)
        elif isinstance(record, tuple):
            for transform in record:
                self._transform(transform, step)
        elif isinstance(record, ModelPublished):
            load = self._models.request(record)
            step.effects.extend([load] if load else [])
        elif isinstance(record, ModelLoaded):
            self._stage(record, step)
        elif isinstance(record, EndOfLog):
            for robot in self._robots:
                self._drain(robot, step, last=True)
                self._finish(robot, "no_pose", "the log ended", step)
        else:
            raise TypeError(f"Perceive does not handle {type(record).__name__}")
        return step.build()

    # ---- inputs ----------------------------------------------------------------------------------------

    def _robot(self, robot_id: str, step: StepBuilder) -> RobotState:
        for silent, robot in self._robots.hear(robot_id):
            self._forget_robot(silent, robot, step)
        return self._robots[robot_id]

    def _stream(self, robot: RobotState, stream_id: str, step: StepBuilder) -> StreamState:
        for silent, stream in self._robots.hear_stream(robot, stream_id):
            self._forget_stream(robot, silent, stream, step)
        return robot.streams[stream_id]

    def _transform(self, transform: Transform, step: StepBuilder) -> None:
        robot = self._robot(transform.robot_id, step)
        accepted, wrong = robot.admit_transform(transform)
        for far_ahead in wrong:
            self._refuse(far_ahead, "its stamp is far ahead of those before and after it", step)
        for sound in accepted:
            try:
                robot.frames.add(sound)
            except FrameError as error:
                self._refuse(sound, str(error), step)
            else:
                robot.localisation.note(sound)
        self._drain(robot, step)

    def _refuse(self, transform: Transform, reason: str, step: StepBuilder) -> None:
        step.outputs.append(
            Event(
                kind="transform_refused",
                stamp_ns=transform.stamp_ns,
                robot_id=transform.robot_id,
                fields={"reason": reason},
            )
        )

    def _receive(self, sweep: Sweep, step: StepBuilder) -> None:
        reason = self._unusable(sweep)
        if reason:
            self._reject(sweep, *reason, step)
            return
        robot = self._robot(sweep.robot_id, step)
        accepted, wrong = robot.admit_sweep(sweep)
        for far_ahead in wrong:
            self._reject(far_ahead, "bad_stamp", "far ahead of the stamps before and after it", step)
        for sound in accepted:
            self._hold(robot, sound, step)
        self._drain(robot, step)

    def _hold(self, robot: RobotState, sweep: Sweep, step: StepBuilder) -> None:
        """Have a sweep wait for its pose, unless it came before or is too old to be evidence."""
        key = sweep_key(sweep)
        if key in robot.seen:
            fields = {"stream_id": sweep.stream_id, "part": sweep.part}
            step.outputs.append(
                Event(kind="duplicate", stamp_ns=sweep.stamp_ns, robot_id=sweep.robot_id, fields=fields)
            )
            if key not in map(sweep_key, robot.held):  # else both are released when its fate is known
                step.released.append(key)
        elif late := robot.too_late(sweep.stamp_ns):
            self._reject(sweep, "late", late, step)
        else:
            robot.seen[key] = sweep.stamp_ns
            robot.newest_input_ns = max(robot.newest_input_ns, sweep.stamp_ns)
            robot.held.append(sweep)
            robot.held.sort(key=lambda held: (held.stamp_ns, held.stream_id, held.part))

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

    def _drain(self, robot: RobotState, step: StepBuilder, *, last: bool = False) -> None:
        """Process held sweeps in event time; one that has to wait holds up its own stream only.

        last : nothing more comes, so none waits for the pose of its end
        """
        waiting: set[str] = set()
        for sweep in list(robot.held):
            if sweep.stream_id in waiting or sweep not in robot.held:  # its stream may just be forgotten
                continue
            try:
                waited = self._waited_enough(robot, sweep)
                placed = self._evidence.place(robot, sweep, waited=last or waited)
            except (NotYet, NoChainError) as error:
                if not waited:
                    waiting.add(sweep.stream_id)
                    continue
                self._discard(robot, sweep, "no_pose", f"gave up waiting: {error}", step)
            except FrameError as error:
                self._discard(robot, sweep, "no_pose", str(error), step)
            else:
                self._process(robot, placed, step)
            robot.held.remove(sweep)

    def _waited_enough(self, robot: RobotState, sweep: Sweep) -> bool:
        waited = robot.newest_input_ns - sweep.stamp_ns
        return waited > self._config.pose.max_wait_ns or len(robot.held) > self._config.pose.max_held_sweeps

    def _finish(self, robot: RobotState, reason: str, why: str, step: StepBuilder) -> None:
        """Have nothing of a robot wait any more, since nothing more will come of it."""
        for clock in robot.edge_clocks.values():
            for transform in clock.give_up():
                self._refuse(transform, f"its stamp is far ahead of those before it, and {why}", step)
        for sweep in robot.clock.give_up():
            self._reject(sweep, "bad_stamp", f"far ahead of the stamps before it, and {why}", step)
        for sweep in robot.held:
            self._discard(robot, sweep, reason, f"{why} before a transform reached its stamp", step)
        robot.held.clear()
        for stream in robot.streams.values():
            self._close(robot, stream, step)

    # ---- forgetting ------------------------------------------------------------------------------------

    def _forget_robot(self, robot_id: str, robot: RobotState, step: StepBuilder) -> None:
        """End with a robot that others are heard instead of."""
        most = self._config.limits.max_robots
        why = f"its robot was forgotten, as {most} others were heard since (limits.max_robots)"
        self._finish(robot, "forgotten", why, step)
        step.outputs.append(robot_forgotten("perceive", robot_id, robot.newest_ns, self._config.limits))

    def _forget_stream(
        self, robot: RobotState, stream_id: str, stream: StreamState, step: StepBuilder
    ) -> None:
        """End with a stream that others of its robot are heard instead of; its evidence stays."""
        most = self._config.limits.max_streams
        why = f"its stream was forgotten, as {most} others were heard since (limits.max_streams)"
        for sweep in [held for held in robot.held if held.stream_id == stream_id]:
            self._discard(robot, sweep, "forgotten", f"{why} before a transform reached its stamp", step)
            robot.held.remove(sweep)
        self._close(robot, stream, step)
        step.outputs.append(stream_forgotten("perceive", stream_id, stream.newest_ns, self._config.limits))

    # ---- from points to predictions --------------------------------------------------------------------

    def _process(self, robot: RobotState, placed: Placed, step: StepBuilder) -> None:
        """A sweep that turns out to be unusable leaves no trace: not even an open sweep is closed by it."""
        sweep = placed.sweep
        if too_late := robot.too_late(sweep.stamp_ns):  # another sensor went on while it waited
            self._discard(robot, sweep, "late", too_late, step)
            return
        if self._crowded(robot, sweep):
            most = CROWD * self._config.window.max_records
            detail = f"{most} sweeps and parts of its robot within the container's reach ({CROWD} times "
            self._discard(robot, sweep, "too_many", detail + "window.max_records)", step)
            return
        try:
            seen = self._evidence.bin(placed)
        except Unusable as fault:
            self._discard(robot, sweep, fault.reason, fault.detail, step)
            return
        if placed.jump is not None:
            self._begin_map(robot, sweep.robot_id, placed.jump, step)
        self._close_expiring(robot, sweep.stamp_ns, step)
        stream = self._stream(robot, sweep.stream_id, step)
        late = stream.is_late(sweep.stamp_ns)
        if sweep.stamp_ns > stream.newest_ns:
            self._close(robot, stream, step)
            stream.newest_ns = sweep.stamp_ns
            stream.parts_seen = set()
        record = self._evidence.fold(robot, seen, late)
        robot.seq += 1
        step.outputs.append(record)
        step.outputs.extend(not_deskewed(placed))
        step.released.append(sweep_key(sweep))
        robot.forget_old_keys()
        if late:
            return
        stream.parts_seen.add(sweep.part)
        stream.open_record = record
        if len(stream.parts_seen) == sweep.parts:
            self._close(robot, stream, step)

    def _begin_map(self, robot: RobotState, robot_id: str, jump: Jump, step: StepBuilder) -> None:
        """Localisation jumped: what was seen before lies elsewhere in this map, so nothing of it is kept."""
        for stream in robot.streams.values():
            self._close(robot, stream, step)
        if robot.begin_map(jump):
            step.outputs.append(map_reset(robot_id, jump, robot.epoch))

    def _crowded(self, robot: RobotState, sweep: Sweep) -> bool:
        """Streams without number, at one time, must not fill the memory either."""
        oldest = max(robot.container.newest_ns, sweep.stamp_ns) - robot.container.keep_ns
        near = sum(record.stamp_ns >= oldest for record in robot.container.records())
        return near >= CROWD * self._config.window.max_records

    def _close_expiring(self, robot: RobotState, stamp_ns: int, step: StepBuilder) -> None:
        """A sweep that still waits for parts is predicted before the container forgets it."""
        oldest = max(robot.container.newest_ns, stamp_ns) - robot.container.keep_ns
        for stream in robot.streams.values():
            if stream.open_record is not None and stream.open_record.stamp_ns < oldest:
                self._close(robot, stream, step)

    def _close(self, robot: RobotState, stream: StreamState, step: StepBuilder) -> None:
        """Predict from a sweep once its last part is in, or the next sweep has begun."""
        record, stream.open_record = stream.open_record, None
        if record is not None:
            self._predict(robot, stream, record, step)

    def _predict(self, robot: RobotState, stream: StreamState, record: Binned, step: StepBuilder) -> None:
        with self._stopwatch.stage("features"):
            features = robot.container.features(record)
        for model_id in self._models.next_for(record.stream_id, record.stamp_ns):
            self._activate(stream, record, model_id, step)
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
            return self._models[stream.model_id].predict(x, neighbor_index)
        except ModelFailed as error:
            fields = {"model_id": stream.model_id, "reason": str(error)}
            step.outputs.append(
                Event(kind="model_failed", stamp_ns=record.stamp_ns, robot_id=record.robot_id, fields=fields)
            )
        self._activate(stream, record, self._models.fall_back(), step)
        return self._models[stream.model_id].predict(x, neighbor_index)

    # ---- models ----------------------------------------------------------------------------------------

    @property
    def staged(self) -> str:
        """The model that the next sweep of a stream is predicted by, unless activations are followed."""
        return self._models.staged if isinstance(self._models, ServedModels) else ""

    def _stage(self, loaded: ModelLoaded, step: StepBuilder) -> None:
        if loaded.model is None:
            fields = {"model_id": loaded.model_id, "reason": loaded.reason}
            step.outputs.append(Event(kind="refused", stamp_ns=loaded.stamp_ns, fields=fields))
            return
        self._models.add(loaded, loaded.model, self._used_models())

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
                sha256=self._models.sha256(model_id),
            )
        )

    def _used_models(self) -> set[str]:
        return {stream.model_id for robot in self._robots for stream in robot.streams.values()}

    # ---- snapshots -------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Transforms, held sweeps, retained records and names of serving models of every robot."""
        return {"models": self._models.state(), **self._robots.state()}

    def restore(self, data: bytes) -> None:
        """Continue from a snapshot; ``missing_models`` says which models have to be loaded first."""
        tree = unpack_fields(data, STATE | {"models"})
        self._models.restore(tree["models"])
        self._robots = Robots.from_state(tree, self._config)

    def missing_models(self) -> tuple[str, ...]:
        """Models that have to be loaded before the next sweep."""
        return tuple(sorted(self._models.missing()))
