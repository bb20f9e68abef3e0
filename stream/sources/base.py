"""What every source of sweeps offers, and nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from stream.records import SweepRejected
from stream.sweep import Sweep
from stream.transform import Transform


class SourceError(ValueError):
    """A log that cannot be read: one line that names the file, what is wrong and the way out."""


def one_line(error: Exception) -> str:
    """What an error of a library says, or its class where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """The log is damaged here and nothing after it can be read; everything before was delivered."""

    location: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How to read a log; only what the log itself does not say.

    robot_id : first half of the stream ids
    topic : point cloud topic; None takes the only one, several are an error that lists them
    rate_hz : sweeps a second for logs without stamps
    poses : pose file of logs that keep it elsewhere
    odometry : poses are made of the sweeps; those of the log are left out
    first_stamp_ns : stamp of the first sweep for logs without stamps
    """

    robot_id: str = "robot"
    topic: str | None = None
    rate_hz: float | None = None
    poses: Path | None = None
    odometry: bool = False
    first_stamp_ns: int = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """What a log holds, found without decoding its points.

    sweeps : number of sweeps, None when only reading tells
    start_ns, end_ns : stamps of the log's first and last message, None when unknown
    topics : topic (or file kind) to (type, count)
    root_frame : root of the transform tree the sweeps hang from, None when there are no transforms
    origin : where the map's zero lies in the log's own coordinates, m; None when the map is not moved
    crs : coordinate reference system of these coordinates, as the log says it (WKT or EPSG code)
    odometry : what makes the poses, with its version; None when the log has them
    """

    location: str
    format: str
    sweeps: int | None
    start_ns: int | None
    end_ns: int | None
    topics: dict[str, tuple[str, int]] = field(default_factory=dict)
    sensor_frames: tuple[str, ...] = ()
    root_frame: str | None = None
    origin: tuple[float, float, float] | None = None
    crs: str | None = None
    odometry: str | None = None


Item = Sweep | Transform | SweepRejected | Damage


class Source(Protocol):
    """A log or a simulation: transforms and sweeps in the order they were recorded.

    Iterating again starts from the beginning and gives the same items. A message that cannot be decoded is
    a ``SweepRejected``; damage that ends the log is one final ``Damage``.
    """

    def info(self) -> SourceInfo:
        """Describe the log; raises SourceError when it is not readable at all."""
        ...

    def __iter__(self) -> Iterator[Item]: ...
