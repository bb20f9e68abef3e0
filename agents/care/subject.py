"""Whose data, and of what time: what a deletion is about, and how a receipt names it without naming it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CareError(ValueError):
    """A request about stored data that cannot be done; says what, and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A robot, a span of event time, or a robot's data of a span.

    robot_id : None means every robot; begin_ns, end_ns : stamps from begin up to, but without, end; None is
    open
    Raises CareError for neither robot nor time, a robot id with a slash, an end that is not after the begin
    """

    robot_id: str | None = None
    begin_ns: int | None = None
    end_ns: int | None = None

    def __post_init__(self) -> None:
        if self.robot_id is None and self.begin_ns is None and self.end_ns is None:
            raise CareError("nothing to delete is named: give --robot NAME, --from TIME or --to TIME")
        if self.robot_id is not None and (not self.robot_id or "/" in self.robot_id):
            raise CareError(f"--robot {self.robot_id!r}: must be the part of a stream id before the slash")
        if self.begin_ns is not None and self.end_ns is not None and self.begin_ns >= self.end_ns:
            raise CareError(f"--to {iso_of(self.end_ns)}: must be after --from {iso_of(self.begin_ns)}")

    @property
    def whole_robot(self) -> bool:
        """Everything of one robot is meant."""
        return self.robot_id is not None and self.begin_ns is None and self.end_ns is None

    def has_robot(self, robot_id: str) -> bool:
        """Whether data of this robot can be meant."""
        return self.robot_id is None or robot_id == self.robot_id

    def in_span(self, stamp_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which stamps lie in the span, bool (N,)."""
        inside = np.ones(len(stamp_ns), np.bool_)
        if self.begin_ns is not None:
            inside &= stamp_ns >= self.begin_ns
        if self.end_ns is not None:
            inside &= stamp_ns < self.end_ns
        return inside

    def covers(self, robot_id: str, stamp_ns: int) -> bool:
        """Whether one thing of a robot is meant."""
        return self.has_robot(robot_id) and bool(self.in_span(np.array([stamp_ns], np.int64))[0])

    def to_dict(self, salt: str) -> dict[str, Any]:
        """As a receipt keeps it: the robot as a digest, since a name would be what was to be deleted."""
        return {
            "robot_sha256": None if self.robot_id is None else robot_digest(salt, self.robot_id),
            "salt": salt,
            "from_ns": self.begin_ns,
            "to_ns": self.end_ns,
        }


def robot_digest(salt: str, robot_id: str) -> str:
    """Sha256 over ``salt:robot_id``; who has the name can check it, who has not can only guess."""
    return hashlib.sha256(f"{salt}:{robot_id}".encode()).hexdigest()


def is_about(values: Mapping[str, Any], robot_id: str, first_ns: int, last_ns: int) -> bool:
    """Whether what ``to_dict`` gave covers a stamp of a robot, first to last, both included."""
    named, begin_ns, end_ns = values["robot_sha256"], values["from_ns"], values["to_ns"]
    if named is not None and robot_digest(values["salt"], robot_id) != named:
        return False
    return (begin_ns is None or begin_ns <= last_ns) and (end_ns is None or end_ns > first_ns)


def parse_time(option: str, text: str) -> int:
    """Nanoseconds of a time: ISO 8601, UTC where no zone is named, or the nanoseconds themselves.

    Raises CareError
    """
    if text.isascii() and text.isdigit() and len(text) <= 19 and len(text) != 8:  # 20260501 is a day
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise CareError(
            f"{option} {text!r}: must be a time, as 2026-05-01T10:30 (UTC) or 2026-05-01T10:30+02:00, or a "
            "stamp in nanoseconds"
        ) from error
    time = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000


def iso_of(stamp_ns: int) -> str:
    """A stamp as ISO 8601 in UTC, to the millisecond; years beyond 9999 stay nanoseconds."""
    try:
        time = _EPOCH + timedelta(milliseconds=stamp_ns // 1_000_000)
    except OverflowError:
        return str(stamp_ns)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"
