"""What every sink takes, and nothing more: sweeps, transforms, cells and lines, for people to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stream.sweep import Sweep
from stream.transform import Transform


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cells:
    """What is known of cells at one moment.

    topic : names what it is of which stream, as ``/ant/lidar/predictions``; frame : that of the map
    points : float32 (N, 3), sites in metres; cell_id : uint64 (N,), ascending
    columns : by name, of length N; shade : the one to colour cells by, whose values go from 0 to 1 or are NaN
    half_edge_m : of the cells
    """

    topic: str
    stamp_ns: int
    frame: str
    points: NDArray[np.float32]
    cell_id: NDArray[np.uint64]
    columns: Mapping[str, NDArray[Any]]
    shade: str
    half_edge_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounts:
    """All static transforms that are known by now, one or more."""

    transforms: tuple[Transform, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Something that happened.  level : info, warning or error; name : what kind of event it is"""

    stamp_ns: int
    level: str
    name: str
    text: str


Shown = Sweep | Transform | Mounts | Cells | Line
"""What a sink takes. Sweeps are whole and have neither rays without return nor hits only."""


class Sink(Protocol):
    """A file that is being written."""

    def write(self, shown: Shown, log_time_ns: int) -> None:
        """Add one thing at a time of the log.  Raises OSError (disk full)"""
        ...

    def close(self) -> None:
        """Write what is left, and the index. Without it a file can be read up to where it ends."""
        ...


def sweep_topic(sweep: Sweep) -> str:
    """``/robot/sensor/points``."""
    return f"/{sweep.stream_id}/points"


TF, TF_STATIC, EVENTS = "/tf", "/tf_static", "/events"
