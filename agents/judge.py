"""Judge: joins predictions with what later sweeps of the same stream revealed, and keeps the scores."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.in_order import InOrder
from agents.protocol import Key, Step, StepBuilder
from models.scores.prequential import PrequentialScores
from models.scores.regions import ErrorMap
from native.index64 import ancestor
from stream.codecs.state import from_dict, pack, to_dict, unpack_fields
from stream.config import Config
from stream.records import HIT, SEEN_THROUGH, Binned, EndOfLog, Event, Outcome, Prediction, Shadow

SHADOW_SWEEPS = 64
"""A forecast whose baselines have not come after so many later ones is scored without them."""


@dataclass(slots=True)
class Observation:
    """Everything one sweep saw, over the parts received: cell_id ascending, hits and passes added up."""

    parts: int
    cell_id: NDArray[np.uint64]
    hits: NDArray[np.uint64]
    passes: NDArray[np.uint64]
    received: set[int] = field(default_factory=set)

    def add(self, record: Binned) -> None:
        """Add one part; cells of both are merged."""
        if record.part in self.received:
            return
        self.received.add(record.part)
        ids = np.union1d(self.cell_id, record.cell_id)
        hits, passes = np.zeros(len(ids), np.uint64), np.zeros(len(ids), np.uint64)
        for cell_id, some_hits, some_passes in (
            (self.cell_id, self.hits, self.passes),
            (record.cell_id, record.hits, record.passes),
        ):
            row = np.searchsorted(ids, cell_id)
            hits[row] += some_hits
            passes[row] += some_passes
        self.cell_id, self.hits, self.passes = ids, hits, passes

    @property
    def complete(self) -> bool:
        """All parts are in."""
        return len(self.received) == self.parts

    def states(self, cell_id: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """UNOBSERVED, SEEN_THROUGH or HIT of each cell asked for, uint8 (N,)."""
        row = np.searchsorted(self.cell_id, cell_id)
        row[row == len(self.cell_id)] = 0
        known = self.cell_id[row] == cell_id if len(self.cell_id) else np.zeros(len(cell_id), bool)
        states = np.zeros(len(cell_id), np.uint8)
        states[known & (self.passes[row] > 0 if len(self.passes) else known)] = SEEN_THROUGH
        states[known & (self.hits[row] > 0 if len(self.hits) else known)] = HIT
        return states


@dataclass(slots=True)
class Pending:
    """A prediction that waits for outcomes, its place in the stream, and its baselines."""

    prediction: Prediction
    index: int
    open_horizons: set[int]
    shadow: Shadow | None = None
    unscored: list[Outcome] = field(default_factory=list)


@dataclass(slots=True)
class StreamState:
    """One stream: recent observations by stamp, and predictions that still wait."""

    stamps: list[int] = field(default_factory=list)
    observations: dict[int, Observation] = field(default_factory=dict)
    pending: dict[str, Pending] = field(default_factory=dict)
    early_shadows: dict[str, Shadow] = field(default_factory=dict)
    predictions: int = 0
    newest_ns: int = -1  # stamp of the newest prediction


class Judge:
    """Binned sweeps, predictions and shadows in; outcomes out, with running scores and the error map."""

    def __init__(self, config: Config) -> None:
        self._config = config
        task = config.task
        self.scores = PrequentialScores(task.horizons_ns, task.primary_horizon_ns, task.warmup_sweeps)
        self.error_map = ErrorMap()
        self.missed: dict[int, int] = dict.fromkeys(task.horizons_ns, 0)
        self._streams: dict[str, StreamState] = {}
        self._orders: dict[str, InOrder] = {}

    def handle(self, record: Any) -> Step:
        """Fold a Binned, Prediction, Shadow or EndOfLog."""
        step = StepBuilder()
        if isinstance(record, EndOfLog):
            for order in self._orders.values():
                self._take(order.rest(), step)
            for stream in self._streams.values():
                self._resolve(stream, step, ended=True)
        elif isinstance(record, Shadow):
            stream = self._stream(record.stream_id)
            self._shadow(stream, record)
            self._resolve(stream, step)
            step.released.append(_key(record))
        elif isinstance(record, Binned | Prediction):
            self._take(self._order(record.robot_id).add(record), step)
            step.released.append(_key(record))
        else:
            raise TypeError(f"Judge does not handle {type(record).__name__}")
        return step.build()

    def _stream(self, stream_id: str) -> StreamState:
        return self._streams.setdefault(stream_id, StreamState())

    def _order(self, robot_id: str) -> InOrder:
        if robot_id not in self._orders:
            self._orders[robot_id] = InOrder(self._config.window.max_records)
        return self._orders[robot_id]

    def _take(self, records: list[Binned | Prediction], step: StepBuilder) -> None:
        """Fold records in Perceive's order, so that an outcome depends on what was made, not on arrival."""
        for record in records:
            stream = self._stream(record.stream_id)
            if isinstance(record, Binned):
                self._observe(stream, record)
            else:
                self._await(stream, record)
            self._resolve(stream, step)
            self._forget(stream)

    def _observe(self, stream: StreamState, record: Binned) -> None:
        observation = stream.observations.get(record.stamp_ns)
        if observation is None:
            insort(stream.stamps, record.stamp_ns)
            nothing = np.empty(0, np.uint64)
            observation = Observation(record.parts, nothing, nothing, nothing)
            stream.observations[record.stamp_ns] = observation
        observation.add(record)

    def _forget(self, stream: StreamState) -> None:
        """Observations too old for any prediction to come; what was decided by them is decided by now."""
        if not stream.stamps:
            return
        oldest = stream.stamps[-1] - 2 * self._config.task.horizons_ns[-1]
        while stream.stamps[0] < oldest:
            del stream.observations[stream.stamps.pop(0)]

    def _await(self, stream: StreamState, prediction: Prediction) -> None:
        if prediction.stamp_ns <= stream.newest_ns:
            return  # redelivered: a stream is predicted in order of its stamps
        stream.newest_ns = prediction.stamp_ns
        stream.pending[prediction.prediction_id] = Pending(
            prediction=prediction,
            index=stream.predictions,
            open_horizons=set(prediction.horizons_ns),
            shadow=stream.early_shadows.pop(prediction.prediction_id, None),
        )
        stream.predictions += 1

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
        """Decide every horizon whose observer is known; newest predictions first, their labels are fresh."""
        for prediction_id, pending in reversed(list(stream.pending.items())):
            for horizon in sorted(pending.open_horizons):
                self._decide(stream, pending, horizon, step)
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
        if not stream.observations[after].complete and place == len(stream.stamps) - 1:
            return  # more parts may come; the next stamp says they will not
        candidates = stream.stamps[max(place - 1, 0) : place + 1]
        observer = min(candidates, key=lambda stamp: (abs(stamp - target), stamp))
        pending.open_horizons.discard(horizon)
        if abs(observer - target) > self._config.task.tolerance_ns or observer <= pending.prediction.stamp_ns:
            self.missed[horizon] += 1
            step.outputs.append(
                Event(
                    kind="outcome_missed",
                    stamp_ns=after,
                    robot_id=pending.prediction.robot_id,
                    fields={
                        "prediction_id": pending.prediction.prediction_id,
                        "horizon_ns": horizon,
                        "nearest_sweep_off_by_ns": abs(observer - target),
                    },
                )
            )
            return
        outcome = self._outcome(pending.prediction, horizon, observer, stream.observations[observer])
        step.outputs.append(outcome)
        pending.unscored.append(outcome)

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
        )
        if outcome.horizon_ns == task.primary_horizon_ns and pending.index >= task.warmup_sweeps:
            lod = max(self._config.grid.lod - task.region_levels, 0)
            region = ancestor(outcome.cell_id, lod)
            self.error_map.add(region, probability["online"], outcome.occupied)

    # ---- snapshots -------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """Scores, error map, recent observations and waiting predictions."""
        return pack(
            {
                "scores": self.scores.state(),
                "error_map": self.error_map.state(),
                "missed": {str(horizon): count for horizon, count in self.missed.items()},
                "streams": {name: _save_stream(stream) for name, stream in self._streams.items()},
                "orders": {name: order.state() for name, order in self._orders.items()},
            }
        )

    def restore(self, data: bytes) -> None:
        """Continue from a snapshot of a Judge with the same configuration; raises StateError."""
        tree = unpack_fields(data, frozenset({"scores", "error_map", "missed", "streams", "orders"}))
        self.scores = PrequentialScores.from_state(tree["scores"])
        self.error_map = ErrorMap.from_state(tree["error_map"])
        self.missed = {int(horizon): count for horizon, count in tree["missed"].items()}
        self._streams = {name: _load_stream(values) for name, values in tree["streams"].items()}
        cap = self._config.window.max_records
        self._orders = {name: InOrder.from_state(values, cap) for name, values in tree["orders"].items()}


def _key(record: Binned | Prediction | Shadow) -> Key:
    """Names an input of Judge."""
    kind = type(record).__name__.lower()
    return (kind, record.stream_id, record.stamp_ns, getattr(record, "part", 0))


def _save_stream(stream: StreamState) -> dict[str, Any]:
    return {
        "observations": [
            {"stamp_ns": stamp, "received": sorted(seen.received), "parts": seen.parts,
             "cell_id": seen.cell_id, "hits": seen.hits, "passes": seen.passes}
            for stamp, seen in sorted(stream.observations.items())
        ],
        "pending": [
            {
                "prediction": to_dict(pending.prediction),
                "index": pending.index,
                "open_horizons": sorted(pending.open_horizons),
                "shadow": to_dict(pending.shadow) if pending.shadow else None,
                "unscored": [to_dict(outcome) for outcome in pending.unscored],
            }
            for pending in stream.pending.values()
        ],
        "early_shadows": [to_dict(shadow) for shadow in stream.early_shadows.values()],
        "predictions": stream.predictions,
        "newest_ns": stream.newest_ns,
    }  # fmt: skip


def _load_stream(values: dict[str, Any]) -> StreamState:
    stream = StreamState(predictions=values["predictions"], newest_ns=values["newest_ns"])
    for seen in values["observations"]:
        stream.stamps.append(seen["stamp_ns"])
        stream.observations[seen["stamp_ns"]] = Observation(
            seen["parts"], seen["cell_id"], seen["hits"], seen["passes"], set(seen["received"])
        )
    for item in values["pending"]:
        prediction = from_dict(Prediction, item["prediction"])
        stream.pending[prediction.prediction_id] = Pending(
            prediction=prediction,
            index=item["index"],
            open_horizons=set(item["open_horizons"]),
            shadow=from_dict(Shadow, item["shadow"]) if item["shadow"] else None,
            unscored=[from_dict(Outcome, outcome) for outcome in item["unscored"]],
        )
    for item in values["early_shadows"]:
        shadow = from_dict(Shadow, item)
        stream.early_shadows[shadow.prediction_id] = shadow
    return stream
