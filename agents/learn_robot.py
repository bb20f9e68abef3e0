"""One robot as Learn sees it: its container, and the predictions that wait for labels."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.in_order import InOrder, epoch_of
from agents.protocol import Example
from agents.roster import Roster
from native.window import CellFeatures
from stream.codecs.state import from_dict, to_dict
from stream.config import Config
from stream.container import RollingContainer
from stream.features import FeatureSchema
from stream.records import Binned, FeatureSample, Outcome, Prediction


@dataclass(slots=True, kw_only=True)
class Pending:
    """One prediction with its rebuilt features, until all its outcomes are in."""

    prediction: Prediction
    features: CellFeatures
    challengers: dict[str, NDArray[np.float32]]
    open_horizons: set[int]

    def example(self, schema: FeatureSchema) -> Example:
        """The features as a trainer takes them."""
        x = self.features.x
        return Example(
            prediction_id=self.prediction.prediction_id,
            stamp_ns=self.prediction.stamp_ns,
            x=x,
            neighbor_index=self.features.neighbor_index,
            azimuth=np.arctan2(x[:, schema.names.index("y")], x[:, schema.names.index("x")]),
        )


STOOD_NS = 10_000_000_000
"""A clock that stands for so long, by a stream that goes on, waits for none that were further."""


@dataclass(slots=True, kw_only=True)
class StreamState:
    """One stream of a robot.

    newest_ns : stamp of its newest prediction; predictions : how many there were
    lead_ns : added to its stamps, they are of the clock that all streams share; None before its first label
    seen_ns, since_ns : what that clock showed last, and the stream's own stamp when it first showed that
    """

    newest_ns: int
    predictions: int = 0
    lead_ns: int | None = None
    seen_ns: int = 0
    since_ns: int = 0

    def clock(self, now_ns: int, stamp_ns: int) -> int:
        """The clock that all streams share, which shows ``now_ns``, after a sweep with labels.

        Clocks of robots differ, so stamps of two streams are never compared: each begins where the others
        have got to, and time is what has passed for the one furthest on. When that has fallen silent, the
        others go on from there.
        """
        if self.lead_ns is None:
            self.lead_ns, self.seen_ns, self.since_ns = now_ns - stamp_ns, now_ns, stamp_ns
        elif self.seen_ns == now_ns and stamp_ns - self.since_ns > STOOD_NS:
            self.lead_ns = now_ns - self.since_ns
        then_ns = max(now_ns, stamp_ns + self.lead_ns)
        if then_ns != self.seen_ns:
            self.seen_ns, self.since_ns = then_ns, stamp_ns
        return then_ns


class RobotState:
    """One robot's container, the order of its records, and the predictions that wait for labels.

    next_seq : binned records before it have come already
    """

    def __init__(self, config: Config, next_seq: int = 0) -> None:
        self._config = config
        self.container = RollingContainer(config)
        self.order = InOrder(config.window.max_records, next_seq)
        self.roster = Roster(config.limits.max_streams)
        self.last_record: Binned | None = None
        self.pending: OrderedDict[str, Pending] = OrderedDict()
        self.streams: dict[str, StreamState] = {}
        self.held_outcomes: list[Outcome] = []

    def fold(self, record: Binned) -> None:
        """Add a binned record; in a new epoch, Perceive's container began empty."""
        last = self.last_record
        if last is not None and epoch_of(last.seq) != epoch_of(record.seq):
            self.container = RollingContainer(self._config)
        self.container.fold(record)
        self.last_record = record

    def newest_ns(self, stream_id: str) -> int:
        """Stamp of a stream's newest prediction, -1 for one that has none."""
        stream = self.streams.get(stream_id)
        return stream.newest_ns if stream else -1

    def older_than(self, age_ns: int) -> list[str]:
        """Waiting predictions that are older than the newest one by more than this."""
        if not self.pending:
            return []
        oldest = max(p.prediction.stamp_ns for p in self.pending.values()) - age_ns
        return [name for name, p in self.pending.items() if p.prediction.stamp_ns < oldest]

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "records": [to_dict(record) for record in self.container.records()],
            "last_record": to_dict(self.last_record) if self.last_record else None,
            "pending": [
                {
                    "prediction": to_dict(pending.prediction),
                    "features": to_dict(pending.features),
                    "challengers": pending.challengers,
                    "open_horizons": sorted(pending.open_horizons),
                }
                for pending in self.pending.values()
            ],
            "streams": [[name, to_dict(stream)] for name, stream in self.streams.items()],
            "roster": self.roster.names(),
            "order": self.order.state(),
            "held_outcomes": [to_dict(outcome) for outcome in self.held_outcomes],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], config: Config) -> RobotState:
        """Rebuild from ``state``."""
        robot = cls(config)
        robot.order = InOrder.from_state(state["order"], config.window.max_records)
        for values in state["records"]:
            robot.container.fold(from_dict(Binned, values))
        last = state["last_record"]
        robot.last_record = from_dict(Binned, last) if last else None
        for item in state["pending"]:
            prediction = from_dict(Prediction, item["prediction"])
            robot.pending[prediction.prediction_id] = Pending(
                prediction=prediction,
                features=from_dict(CellFeatures, item["features"]),
                challengers=item["challengers"],
                open_horizons=set(item["open_horizons"]),
            )
        older = [  # the clock of such snapshots was the stamps themselves
            [name, {"newest_ns": newest_ns, "lead_ns": 0}]
            for name, newest_ns in state.get("newest_prediction", ())
        ]
        robot.streams = {name: from_dict(StreamState, values) for name, values in state.get("streams", older)}
        robot.roster = Roster(config.limits.max_streams, state["roster"])
        robot.held_outcomes = [from_dict(Outcome, values) for values in state["held_outcomes"]]
        return robot


def sample_features(prediction: Prediction, features: CellFeatures, rate: float) -> FeatureSample:
    """Cells chosen by a hash of their id, so that one cell is followed through time."""
    mixed = features.cell_id * np.uint64(0x9E3779B97F4A7C15)
    row = np.flatnonzero((mixed >> np.uint64(40)) < np.uint64(round(rate * 2**24)))
    return FeatureSample(
        prediction_id=prediction.prediction_id,
        robot_id=prediction.robot_id,
        stream_id=prediction.stream_id,
        stamp_ns=prediction.stamp_ns,
        cell_id=features.cell_id[row],
        x=features.x[row],
    )
