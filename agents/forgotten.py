"""How far robots and streams had got when they were forgotten: what comes again must not pass for new."""

from __future__ import annotations

from typing import Any

from agents.newest import Newest
from stream.config import LimitsConfig
from stream.records import Binned, Event, Outcome, Prediction, Shadow, robot_of

REMEMBERED = 4096
"""Robots and streams, each, whose place is kept after they were forgotten: a hundred bytes for one."""


class Forgotten:
    """Places of robots in Perceive's order, and newest predictions of streams, of those forgotten last."""

    def __init__(self) -> None:
        self._robots = Newest(REMEMBERED)  # seq that would have come next
        self._streams = Newest(REMEMBERED)  # stamp of the newest prediction

    def knows(self, record: Binned | Prediction | Shadow | Outcome) -> bool:
        """Whether a record, or the prediction it is about, came before its robot or stream was forgotten.

        It is not new, then, and must not make anybody known again.
        """
        if isinstance(record, Binned):
            return record.seq < self._robots.get(record.robot_id)
        return record.stamp_ns <= self._streams.get(record.stream_id)

    def robot(self, robot_id: str, next_seq: int) -> None:
        """A robot is forgotten."""
        self._robots.note(robot_id, next_seq)

    def stream(self, stream_id: str, newest_ns: int) -> None:
        """A stream is forgotten."""
        self._streams.note(stream_id, newest_ns)

    def next_seq(self, robot_id: str) -> int:
        """A robot is known again; where it goes on, 0 for one that was never heard."""
        return max(self._robots.pop(robot_id), 0)

    def newest_ns(self, stream_id: str) -> int:
        """A stream is known again; stamp of its newest prediction, -1 for one that was never heard."""
        return self._streams.pop(stream_id)

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {"robots": self._robots.items(), "streams": self._streams.items()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Forgotten:
        """Rebuild from ``state``."""
        forgotten = cls()
        forgotten._robots = Newest(REMEMBERED, state["robots"])
        forgotten._streams = Newest(REMEMBERED, state["streams"])
        return forgotten


def robot_forgotten(agent: str, robot_id: str, stamp_ns: int, limits: LimitsConfig) -> Event:
    """What an agent says when it forgets a robot. stamp_ns : the newest that it knew of it"""
    fields = {"agent": agent, "max_robots": limits.max_robots}
    return Event(kind="robot_forgotten", stamp_ns=stamp_ns, robot_id=robot_id, fields=fields)


def stream_forgotten(agent: str, stream_id: str, stamp_ns: int, limits: LimitsConfig) -> Event:
    """What an agent says when it forgets a stream. stamp_ns : the newest that it knew of it"""
    fields = {"agent": agent, "stream_id": stream_id, "max_streams": limits.max_streams}
    return Event(kind="stream_forgotten", stamp_ns=stamp_ns, robot_id=robot_of(stream_id), fields=fields)
