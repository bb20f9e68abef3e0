"""A robot's binned records and predictions in the order in which Perceive made them.

They come on two topics, so either may run ahead, and after a crash some come again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from stream.codecs.state import from_dict, to_dict
from stream.records import Binned, Prediction

Made = Binned | Prediction

EPOCH_RECORDS = 2**32
"""Places in one epoch of a robot: what it sends until it is forgotten, or its localisation jumps."""


def first_seq(epoch: int) -> int:
    """Place of an epoch's first record. Epochs of a robot ascend, so ``seq`` does over all of them."""
    return epoch * EPOCH_RECORDS


def epoch_of(seq: int) -> int:
    """The epoch that a record belongs to; in a new one the rolling container began empty."""
    return seq // EPOCH_RECORDS


class InOrder:
    """Merges by ``seq``: a binned record comes before the predictions that name it as their last.

    max_waiting : binned records and predictions that wait for each other at most, each; beyond it the oldest
    goes on alone, > 0
    next_seq : binned records before it have come already
    """

    def __init__(self, max_waiting: int, next_seq: int = 0) -> None:
        self._max = max_waiting
        self._next_seq = next_seq
        self._binned: deque[Binned] = deque()
        self._predictions: deque[Prediction] = deque()

    @property
    def next_seq(self) -> int:
        """Binned records before it are not taken any more."""
        return self._next_seq

    def add(self, record: Made) -> list[Made]:
        """Take one record; returns those whose turn has come. A binned record that comes again is dropped."""
        if isinstance(record, Prediction):
            self._predictions.append(record)
        elif record.seq >= self._next_seq:
            self._next_seq = record.seq + 1
            self._binned.append(record)
        return list(self._ready())

    def rest(self) -> list[Made]:
        """Everything that still waits; the log has ended."""
        rest: list[Made] = [*self._binned, *self._predictions]
        self._binned.clear()
        self._predictions.clear()
        return rest

    def _ready(self) -> Iterator[Made]:
        waiting = self._predictions
        while waiting and (waiting[0].seq < self._next_seq or len(waiting) > self._max):
            while self._binned and self._binned[0].seq <= waiting[0].seq:
                yield self._binned.popleft()
            yield waiting.popleft()
        while len(self._binned) > self._max:
            yield self._binned.popleft()

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "next_seq": self._next_seq,
            "binned": [to_dict(record) for record in self._binned],
            "predictions": [to_dict(record) for record in self._predictions],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], max_waiting: int) -> InOrder:
        """Rebuild from ``state``."""
        order = cls(max_waiting, state["next_seq"])
        order._binned.extend(from_dict(Binned, values) for values in state["binned"])
        order._predictions.extend(from_dict(Prediction, values) for values in state["predictions"])
        return order
