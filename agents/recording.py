"""Recordings: what robots sent, and what was forecast and observed, as files that other tools open."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.archive import event_of
from agents.clock_guard import ClockGuard
from stream.config import Config
from stream.records import (
    Binned,
    Event,
    ModelActivated,
    ModelPublished,
    Outcome,
    Prediction,
    SweepRejected,
)
from stream.sinks.base import EVENTS, Cells, Line, Mounts, Shown, Sink
from stream.sinks.drive import Drive
from stream.sinks.evidence import Evidence, Forecast, forecast_of
from stream.sweep import Sweep
from stream.transform import Transform

WARNINGS = frozenset(
    ("dead_letter", "feature_skew", "forgotten", "outcome_missed", "refused", "rejected", "robot_forgotten",
     "rolled_back", "stream_forgotten", "training_failed", "transform_refused")
)  # fmt: skip
"""Events that somebody should look at; all others are news."""
NAMES: dict[type, str] = {Sweep: "sweeps", Transform: "transforms", Mounts: "transforms", Line: "events"}
MAX_EARLY = 100_000
"""Transforms and events that hold for all time and wait for the first thing that has a stamp."""


class RecordError(ValueError):
    """What cannot be recorded: names it, and the way out."""


class Recording:
    """Writes records to sinks in the order they come, each at a time of the log that follows from its stamp.

    map_frame : shared by all robots, None where it is not known
    config : what binned records, predictions and outcomes were made with; None refuses them

    Times of the log never go back within a lane, so readers, who sort by them, keep the order there. A single
    stamp that is a minute ahead of all others of its lane does not move it. What has no stamp of its own, as
    static transforms, gets the time of what comes next to it.
    """

    def __init__(self, sinks: Sequence[Sink], map_frame: str | None, config: Config | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._sinks, self._drive = sinks, Drive(map_frame)
        self._evidence = None if config is None else Evidence(config)
        self._clocks: dict[str, ClockGuard[None]] = {}
        self._newest_ns = 0
        self._early: list[Shown] = []

    @property
    def left_out(self) -> dict[str, int]:
        """What messages have no place for, and what did not come, by what it is."""
        return dict(+self._drive.left_out)

    def add(self, record: Any, lane: str = "") -> None:
        """Add one item of a log, or one record of the system.

        lane : where sweeps and transforms keep their order; what has another lane is ordered by time alone
        Raises OSError (disk full), TypeError for what cannot be shown
        """
        if isinstance(record, Sweep):
            for sweep in self._drive.sweep(record):
                self._write(sweep, lane)
        elif isinstance(record, Transform):
            for shown in self._drive.transform(record):
                self._write(shown, lane)
        elif isinstance(record, Event | ModelActivated | ModelPublished | SweepRejected):
            self._write(line_of(event_of(record)), EVENTS)
        elif isinstance(record, Line):
            self._write(record, EVENTS)
        else:
            cells = self._cells(record)
            self._write(cells, cells.topic)

    def add_pose(self, record: Binned) -> None:
        """Add where the sensor was, for recordings without the robot's own transforms."""
        assert self._evidence is not None
        pose = self._evidence.pose(record)
        self._write(pose, pose.child)

    def finish(self) -> None:
        """Write what still waits: for parts of sweeps, or for anything that has a stamp."""
        for sweep in self._drive.rest():
            self._write(sweep, sweep.stream_id)
        self._release()

    def _cells(self, record: Any) -> Cells:
        if self._evidence is None:
            raise TypeError(f"{type(record).__name__}: nobody has said what grid it is of")
        if isinstance(record, Binned):
            return self._evidence.binned(record)
        if isinstance(record, Prediction):
            return self._evidence.forecast(forecast_of(record))
        if isinstance(record, Forecast):
            return self._evidence.forecast(record)
        if isinstance(record, Outcome):
            return self._evidence.outcome(record)
        raise TypeError(f"{type(record).__name__} cannot be shown")

    def _write(self, shown: Shown, lane: str) -> None:
        stamp_ns = None if isinstance(shown, Mounts) else shown.stamp_ns
        if stamp_ns is not None and stamp_ns < 0:
            self._drive.left_out["messages with stamps before 1970"] += 1
        elif not stamp_ns:
            self._early.append(shown)
            if self._newest_ns or len(self._early) > MAX_EARLY:
                self._release()
        else:
            clock = self._clocks.setdefault(lane, ClockGuard())
            clock.admit(stamp_ns, None)
            self._newest_ns = max(self._newest_ns, clock.newest_ns)
            self._release(clock.newest_ns)
            self._put(shown, clock.newest_ns)

    def _release(self, log_time_ns: int | None = None) -> None:
        early, self._early = self._early, []
        for shown in early:
            self._put(shown, self._newest_ns if log_time_ns is None else log_time_ns)

    def _put(self, shown: Shown, log_time_ns: int) -> None:
        self.counts[_name(shown)] += 1
        for sink in self._sinks:
            sink.write(shown, log_time_ns)


def _name(shown: Shown) -> str:
    """What a thing is counted as; cells by the last part of their topic."""
    if isinstance(shown, Cells):
        return shown.topic.rpartition("/")[2].partition("_")[0]
    return NAMES[type(shown)]


def line_of(event: Mapping[str, Any]) -> Line:
    """An event, as ``event_of`` or events.jsonl has it, as a line."""
    rest = {name: value for name, value in event.items() if name not in ("event", "stamp_ns")}
    kind = str(event["event"])
    return Line(
        stamp_ns=int(event["stamp_ns"]),
        level="warning" if kind in WARNINGS or kind.startswith("drift") else "info",
        name=kind,
        text=" ".join(f"{name}={_text(value)}" for name, value in rest.items()),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


@contextmanager
def open_sinks(openers: Mapping[Path, Callable[[Path], Sink]], *, force: bool) -> Iterator[list[Sink]]:
    """Files to write, closed on leaving, whatever happens; those into which nothing was written are removed.

    openers : how to open each; force : replace a file that is there
    Raises RecordError for a place where none can be made, OSError
    """
    for path in openers:
        check_free(path, force=force)
    sinks: list[_Kept] = []
    try:
        for path, opener in openers.items():
            sinks.append(_Kept(path, opener(path)))
        yield list(sinks)
    finally:
        for sink in sinks:
            sink.close()


class _Kept:
    """A sink whose file is kept once something was written to it."""

    def __init__(self, path: Path, sink: Sink) -> None:
        self._path, self._sink, self._empty = path, sink, True

    def write(self, shown: Shown, log_time_ns: int) -> None:
        self._empty = False
        self._sink.write(shown, log_time_ns)

    def close(self) -> None:
        self._sink.close()
        if self._empty:
            self._path.unlink(missing_ok=True)


def check_free(path: Path, *, force: bool) -> None:
    """Raises RecordError for a folder, a file that is there (without ``force``), and no folder to be in."""
    if path.is_dir():
        raise RecordError(f"{path}: is a folder; name a file in it")
    if path.exists() and not force:
        raise RecordError(f"{path}: is already there; name another file or add --force")
    if not path.parent.is_dir():
        raise RecordError(f"{path}: there is no folder {path.parent}; make it first")
