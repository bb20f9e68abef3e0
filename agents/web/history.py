"""Records of the last seconds, so that a forecast that was just made can be explained from memory."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.in_order import epoch_of
from stream.records import Binned, Outcome, Prediction


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Remembered:
    """A prediction, and what it was made from and what came of it, as far as that is kept.

    window : binned sweeps in the robot's order, up to the last one that its features read
    outcomes : by horizon
    """

    prediction: Prediction
    window: list[Binned]
    outcomes: dict[int, Outcome]


class History:
    """One robot's binned sweeps, predictions and outcomes, bounded in event time and in bytes.

    span_ns : predictions are kept so long; keep_ns : binned sweeps so much longer, as far as a window reaches
    most_bytes : of all of them together; beyond, the oldest go first
    """

    def __init__(self, span_ns: int, keep_ns: int, most_bytes: int) -> None:
        self._span_ns, self._keep_ns, self._most_bytes = span_ns, keep_ns, most_bytes
        self._binned: deque[Binned] = deque()
        self._predictions: OrderedDict[str, Prediction] = OrderedDict()
        self._outcomes: dict[str, dict[int, Outcome]] = {}
        self._newest_ns = 0
        self.size_bytes = 0

    def binned(self, record: Binned) -> None:
        """Keep a binned sweep."""
        self._binned.append(record)
        self.size_bytes += _size(record)
        self._newest_ns = max(self._newest_ns, record.stamp_ns)
        self._drop_binned()

    def predicted(self, record: Prediction) -> None:
        """Keep a prediction."""
        self._predictions[record.prediction_id] = record
        self._outcomes[record.prediction_id] = {}
        self.size_bytes += _size(record)
        self._drop_predictions()

    def observed(self, record: Outcome) -> None:
        """Keep an outcome of a prediction that is kept."""
        known = self._outcomes.get(record.prediction_id)
        if known is not None and record.horizon_ns not in known:
            known[record.horizon_ns] = record
            self.size_bytes += _size(record)

    def allow(self, most_bytes: int) -> None:
        """Keep so many bytes at most, from now on."""
        self._most_bytes = most_bytes
        self._drop_predictions()
        self._drop_binned()

    def prediction(self, prediction_id: str) -> Prediction | None:
        """A prediction that is kept."""
        return self._predictions.get(prediction_id)

    def recent(self) -> list[tuple[Prediction, dict[int, Outcome]]]:
        """Every prediction that is kept, the oldest first, with its outcomes by horizon."""
        return [(prediction, dict(self._outcomes[name])) for name, prediction in self._predictions.items()]

    def remembered(self, prediction_id: str) -> Remembered | None:
        """A prediction that is kept, with all that is kept of it."""
        prediction = self._predictions.get(prediction_id)
        if prediction is None:
            return None
        return Remembered(
            prediction=prediction,
            window=self._window_of(prediction),
            outcomes=dict(self._outcomes[prediction_id]),
        )

    def poses(self, epoch: int) -> dict[str, dict[int, NDArray[np.float64]]]:
        """Poses of sweeps by stream and stamp, float64 (3, 4), sensor to map, of one epoch of the map."""
        found: dict[str, dict[int, NDArray[np.float64]]] = {}
        for record in self._binned:
            if epoch_of(record.seq) == epoch:
                found.setdefault(record.stream_id, {})[record.stamp_ns] = record.pose.reshape(3, 4)
        return found

    def _window_of(self, prediction: Prediction) -> list[Binned]:
        epoch, first_ns = epoch_of(prediction.seq), prediction.stamp_ns - self._keep_ns
        return [
            record
            for record in self._binned
            if epoch_of(record.seq) == epoch and record.seq <= prediction.seq and record.stamp_ns >= first_ns
        ]

    def _drop_binned(self) -> None:
        oldest_ns = self._newest_ns - self._span_ns - self._keep_ns
        while self._binned and (self._binned[0].stamp_ns < oldest_ns or self.size_bytes > self._most_bytes):
            self.size_bytes -= _size(self._binned.popleft())

    def _drop_predictions(self) -> None:
        """The newest one stays, whatever its size."""
        newest_ns = next(reversed(self._predictions.values())).stamp_ns if self._predictions else 0
        while len(self._predictions) > 1 and (
            next(iter(self._predictions.values())).stamp_ns < newest_ns - self._span_ns
            or self.size_bytes > self._most_bytes
        ):
            prediction_id, prediction = self._predictions.popitem(last=False)
            self.size_bytes -= _size(prediction)
            self.size_bytes -= sum(map(_size, self._outcomes.pop(prediction_id).values()))


def _size(record: Any) -> int:
    """Bytes of a record's arrays."""
    values = (getattr(record, item.name) for item in fields(record))
    return sum(value.nbytes for value in values if isinstance(value, np.ndarray))
