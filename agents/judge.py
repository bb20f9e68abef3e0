"""Judge: joins predictions with what later sweeps of the same stream revealed, and keeps the scores."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any

import numpy as np

from agents.forgotten import Forgotten, robot_forgotten, stream_forgotten
from agents.in_order import InOrder, epoch_of
from agents.judge_stream import Observation, Pending, StreamState
from agents.protocol import Agent, Key, Step, StepBuilder
from agents.roster import Roster
from models.scores.prequential import PrequentialScores
from models.scores.regions import ErrorMap
from native.index64 import ancestor
from stream.codecs.state import unpack_fields
from stream.config import Config
from stream.records import (
    HIT,
    Binned,
    EndOfLog,
    Event,
    Outcome,
    Prediction,
    Shadow,
)

SHADOW_SWEEPS = 64
"""A forecast whose baselines have not come after so many later ones is scored without them."""

SNAPSHOT = frozenset(
    ("scores", "error_map", "missed", "streams", "orders", "roster", "stream_rosters", "forgotten")
)


class Judge(Agent):
    """Binned sweeps, predictions and shadows in; outcomes out, with running scores and the error map."""

    def __init__(self, config: Config) -> None:
        self._config = config
        task = config.task
        self.scores = PrequentialScores(task.horizons_ns, task.primary_horizon_ns, task.warmup_sweeps)
        self.error_map = ErrorMap()
        self.missed: dict[int, int] = dict.fromkeys(task.horizons_ns, 0)
        self._streams: dict[str, StreamState] = {}
        self._orders: dict[str, InOrder] = {}
        self._roster = Roster(config.limits.max_robots)
        self._stream_rosters: dict[str, Roster] = {}  # by robot
        self._forgotten = Forgotten()

    def handle(self, record: Any) -> Step:
        """Fold a Binned, Prediction, Shadow or EndOfLog."""
        step = StepBuilder()
        if isinstance(record, EndOfLog):
            for order in self._orders.values():
                self._take(order.rest(), step)
            for stream in self._streams.values():
                self._resolve(stream, step, ended=True)
        elif isinstance(record, Binned | Prediction | Shadow):
            if not self._forgotten.knows(record):
                self._fold(record, step)
            step.released.append(_key(record))
        else:
            raise TypeError(f"Judge does not handle {type(record).__name__}")
        return step.build()

    def _fold(self, record: Binned | Prediction | Shadow, step: StepBuilder) -> None:
        order = self._order(record.robot_id, step)
        if isinstance(record, Shadow):
            stream = self._stream(record.robot_id, record.stream_id, step)
            self._shadow(stream, record)
            self._resolve(stream, step)
        else:
            self._take(order.add(record), step)

    def _order(self, robot_id: str, step: StepBuilder) -> InOrder:
        for silent in self._roster.hear(robot_id):
            self._forget_robot(silent, step)
        if robot_id not in self._orders:
            next_seq = self._forgotten.next_seq(robot_id)
            self._orders[robot_id] = InOrder(self._config.window.max_records, next_seq)
            self._stream_rosters[robot_id] = Roster(self._config.limits.max_streams)
        return self._orders[robot_id]

    def _stream(self, robot_id: str, stream_id: str, step: StepBuilder) -> StreamState:
        for silent in self._stream_rosters[robot_id].hear(stream_id):
            newest_ns = self._forget_stream(silent, step)
            step.outputs.append(stream_forgotten("judge", silent, newest_ns, self._config.limits))
        if stream_id not in self._streams:
            self._streams[stream_id] = StreamState(newest_ns=self._forgotten.newest_ns(stream_id))
        return self._streams[stream_id]

    def _take(self, records: list[Binned | Prediction], step: StepBuilder) -> None:
        """Fold records in Perceive's order, so that an outcome depends on what was made, not on arrival."""
        for record in records:
            stream = self._stream(record.robot_id, record.stream_id, step)
            if epoch_of(record.seq) > stream.epoch:
                self._begin_epoch(stream, record, step)
            if isinstance(record, Binned):
                self._observe(stream, record)
            else:
                self._await(stream, record, step)
            self._resolve(stream, step)
            self._forget(stream)

    def _observe(self, stream: StreamState, record: Binned) -> None:
        observation = stream.observations.get(record.stamp_ns)
        if observation is None:
            insort(stream.stamps, record.stamp_ns)
            nothing = np.empty(0, np.uint64)
            origin = record.pose.reshape(3, 4)[:, 3].copy()
            observation = Observation(record.parts, origin, nothing, nothing, nothing)
            stream.observations[record.stamp_ns] = observation
        observation.add(record)

    def _begin_epoch(self, stream: StreamState, record: Binned | Prediction, step: StepBuilder) -> None:
        """What the stream saw before is not where it was: no outcome joins a prediction with what came after.

        Nor is a horizon decided by the nearest sweep there was: the one that would have is of another map.
        """
        for pending in stream.pending.values():
            self._miss_open(pending, record.stamp_ns, "another epoch", step)
        stream.begin_epoch(epoch_of(record.seq))

    def _forget(self, stream: StreamState) -> None:
        """Forget observations that are too old for any prediction to come, except the newest of these.

        While the newest sweep lacks parts, horizons up to it are open, and the one before may be the nearest.
        """
        if not stream.stamps:
            return
        oldest = stream.stamps[-1] - 2 * self._config.task.horizons_ns[-1]
        while len(stream.stamps) > 1 and stream.stamps[1] < oldest:
            del stream.observations[stream.stamps.pop(0)]

    def _await(self, stream: StreamState, prediction: Prediction, step: StepBuilder) -> None:
        if prediction.stamp_ns <= stream.newest_ns:
            return  # redelivered: a stream is predicted in order of its stamps
        stream.newest_ns = prediction.stamp_ns
        own = stream.observations.get(prediction.stamp_ns)
        pending = Pending(
            prediction=prediction,
            index=stream.predictions,
            origin=own.origin if own is not None else None,
            open_horizons=set(prediction.horizons_ns),
            shadow=stream.early_shadows.pop(prediction.prediction_id, None),
        )
        stream.pending[prediction.prediction_id] = pending
        stream.predictions += 1
        if epoch_of(prediction.seq) < stream.epoch:  # its sweep did not wait for it any longer
            self._miss_open(pending, prediction.stamp_ns, "another epoch", step)

    def _shadow(self, stream: StreamState, shadow: Shadow) -> None:
        pending = stream.pending.get(shadow.prediction_id)
        if pending is None:
            if shadow.stamp_ns > stream.newest_ns:  # else redelivered
                stream.early_shadows[shadow.prediction_id] = shadow
            while len(stream.early_shadows) > SHADOW_SWEEPS:
                del stream.early_shadows[next(iter(stream.early_shadows))]
        elif pending.shadow is None:
            pending.shadow = shadow

    # ---- the join --------------------------------------------------------------------------------------

    def _resolve(self, stream: StreamState, step: StepBuilder, ended: bool = False) -> None:
        """Decide every horizon whose observer is known; at each the predictions in order of their stamps.

        Archive and others tell by that order what comes again. Where stamps jitter, one sweep decides two
        predictions at one horizon.
        ended : no shadow will come
        """
        for horizon in sorted({h for pending in stream.pending.values() for h in pending.open_horizons}):
            for pending in stream.pending.values():
                if horizon in pending.open_horizons:
                    self._decide(stream, pending, horizon, step)
        for prediction_id, pending in reversed(list(stream.pending.items())):
            late = pending.index < stream.predictions - SHADOW_SWEEPS
            if pending.shadow is not None or ended or late:
                for outcome in pending.unscored:
                    self._score(pending, outcome)
                pending.unscored.clear()
            if not pending.open_horizons and not pending.unscored:
                del stream.pending[prediction_id]

    def _decide(self, stream: StreamState, pending: Pending, horizon: int, step: StepBuilder) -> None:
        """The observer is the sweep nearest in event time, known once a complete one is past the horizon."""
        target = pending.prediction.stamp_ns + horizon
        place = bisect_left(stream.stamps, target)
        if place == len(stream.stamps):
            return
        after = stream.stamps[place]
        if place == len(stream.stamps) - 1 and not stream.observations[after].complete:
            return  # more parts may come; the next stamp says they will not
        candidates = stream.stamps[max(place - 1, 0) : place + 1]
        observer = min(candidates, key=lambda stamp: (abs(stamp - target), stamp))
        pending.open_horizons.discard(horizon)
        if abs(observer - target) > self._config.task.tolerance_ns or observer <= pending.prediction.stamp_ns:
            self._miss(pending, horizon, after, {"nearest_sweep_off_by_ns": abs(observer - target)}, step)
            return
        outcome = self._outcome(pending.prediction, horizon, observer, stream.observations[observer])
        step.outputs.append(outcome)
        pending.unscored.append(outcome)

    def _miss(
        self, pending: Pending, horizon: int, stamp_ns: int, why: dict[str, Any], step: StepBuilder
    ) -> None:
        """Count and say that a horizon has no outcome."""
        prediction = pending.prediction
        self.missed[horizon] += 1
        fields = {"prediction_id": prediction.prediction_id, "horizon_ns": horizon, **why}
        step.outputs.append(
            Event(kind="outcome_missed", stamp_ns=stamp_ns, robot_id=prediction.robot_id, fields=fields)
        )

    def _miss_open(self, pending: Pending, stamp_ns: int, reason: str, step: StepBuilder) -> None:
        for horizon in sorted(pending.open_horizons):
            self._miss(pending, horizon, stamp_ns, {"reason": reason}, step)
        pending.open_horizons.clear()

    def _outcome(
        self, prediction: Prediction, horizon: int, observer: int, observation: Observation
    ) -> Outcome:
        states = observation.states(prediction.cell_id)
        row = np.flatnonzero(states).astype(np.int32)
        return Outcome(
            prediction_id=prediction.prediction_id,
            robot_id=prediction.robot_id,
            stream_id=prediction.stream_id,
            stamp_ns=prediction.stamp_ns,
            horizon_ns=horizon,
            observed_stamp_ns=observer,
            row=row,
            cell_id=prediction.cell_id[row],
            occupied=states[row] == HIT,
            before=prediction.before[row],
        )

    def _score(self, pending: Pending, outcome: Outcome) -> None:
        prediction, task = pending.prediction, self._config.task
        column = prediction.horizons_ns.index(outcome.horizon_ns)
        probability = {"online": np.ascontiguousarray(prediction.probability[outcome.row, column])}
        if outcome.horizon_ns == task.primary_horizon_ns and pending.shadow is not None:
            probability |= {name: p[outcome.row] for name, p in pending.shadow.probability.items()}
        self.scores.add(
            stamp_ns=prediction.stamp_ns,
            horizon_ns=outcome.horizon_ns,
            sweep_index=pending.index,
            cells_predicted=len(prediction.cell_id),
            probability=probability,
            occupied=outcome.occupied,
            before=outcome.before,
            range_m=pending.ranges(outcome.cell_id, self._config.grid.half_edge_m),
        )
        if outcome.horizon_ns == task.primary_horizon_ns and pending.index >= task.warmup_sweeps:
            lod = max(self._config.grid.lod - task.region_levels, 0)
            region = ancestor(outcome.cell_id, lod)
            self.error_map.add(region, probability["online"], outcome.occupied)

    # ---- forgetting ------------------------------------------------------------------------------------

    def _forget_robot(self, robot_id: str, step: StepBuilder) -> None:
        """End with a robot that others are heard instead of."""
        order, roster = self._orders[robot_id], self._stream_rosters[robot_id]
        self._take(order.rest(), step)
        newest_ns = max([0, *(self._forget_stream(stream_id, step) for stream_id in roster.names())])
        del self._orders[robot_id], self._stream_rosters[robot_id]
        self._forgotten.robot(robot_id, order.next_seq)
        step.outputs.append(robot_forgotten("judge", robot_id, newest_ns, self._config.limits))

    def _forget_stream(self, stream_id: str, step: StepBuilder) -> int:
        """Score what waits for a shadow, and say which horizons are missed; the stream's newest stamp.

        As in another epoch, the nearest sweep there was decides nothing: the one that would have is unknown.
        """
        stream = self._streams.pop(stream_id)
        self._resolve(stream, step, ended=True)
        newest_ns = max([stream.newest_ns, *stream.stamps[-1:]])
        for pending in reversed(stream.pending.values()):
            self._miss_open(pending, newest_ns, "forgotten", step)
        self._forgotten.stream(stream_id, stream.newest_ns)
        return newest_ns

    # ---- snapshots -------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Scores, error map, recent observations and waiting predictions."""
        return {
            "scores": self.scores.state(),
            "error_map": self.error_map.state(),
            "missed": {str(horizon): count for horizon, count in self.missed.items()},
            "streams": [[name, stream.state()] for name, stream in self._streams.items()],
            "orders": [[name, order.state()] for name, order in self._orders.items()],
            "roster": self._roster.names(),
            "stream_rosters": [[name, roster.names()] for name, roster in self._stream_rosters.items()],
            "forgotten": self._forgotten.state(),
        }

    def restore(self, data: bytes) -> None:
        """Continue from a snapshot of a Judge with the same configuration; raises StateError."""
        tree = unpack_fields(data, SNAPSHOT)
        self.scores = PrequentialScores.from_state(tree["scores"])
        self.error_map = ErrorMap.from_state(tree["error_map"])
        self.missed = {int(horizon): count for horizon, count in tree["missed"].items()}
        self._streams = {name: StreamState.from_state(values) for name, values in tree["streams"]}
        cap, limits = self._config.window.max_records, self._config.limits
        self._orders = {name: InOrder.from_state(values, cap) for name, values in tree["orders"]}
        self._roster = Roster(limits.max_robots, tree["roster"])
        self._stream_rosters = {
            name: Roster(limits.max_streams, names) for name, names in tree["stream_rosters"]
        }
        self._forgotten = Forgotten.from_state(tree["forgotten"])


def _key(record: Binned | Prediction | Shadow) -> Key:
    """Names an input of Judge."""
    kind = type(record).__name__.lower()
    return (kind, record.stream_id, record.stamp_ns, getattr(record, "part", 0))
