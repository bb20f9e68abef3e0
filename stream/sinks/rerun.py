"""Recordings for Rerun: the same clouds, frames and lines, coloured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from numpy.typing import NDArray

from stream.sinks.base import EVENTS, Cells, Line, Mounts, Shown, sweep_topic
from stream.sweep import Sweep
from stream.transform import Transform

APPLICATION = "octastream"
TIMELINE = "stamp"
"""``log_time`` is Rerun's own word for when a file was written."""
LEVELS = {"info": "INFO", "warning": "WARN", "error": "ERROR"}
FREE, OCCUPIED, UNKNOWN = (38, 96, 164), (232, 134, 30), (128, 128, 128)
"""Red, green and blue of a cell that is free or occupied for certain, or of which nothing is known."""
POINT_RADIUS_M = 0.03
TF_ENTITY = "/tf"


class RerunSink:
    """One ``.rrd`` file that is being written.  Raises OSError when it cannot be made"""

    def __init__(self, path: Path) -> None:
        path.touch()  # the library would not say why it cannot
        self._stream = rr.RecordingStream(APPLICATION, recording_id=path.stem)
        self._stream.save(path)
        self._frames: dict[str, str] = {}  # by topic
        self._parents: dict[str, str] = {}  # by child

    def write(self, shown: Shown, log_time_ns: int) -> None:
        """Add one thing at a time of the log."""
        self._stream.set_time(TIMELINE, timestamp=np.datetime64(log_time_ns, "ns"))
        if isinstance(shown, Sweep):
            points = rr.Points3D(shown.points, radii=POINT_RADIUS_M)
            self._cloud(sweep_topic(shown), shown.frame, points, {"intensity": shown.intensity})
        elif isinstance(shown, Cells):
            radius = shown.half_edge_m / 2
            points = rr.Points3D(shown.points, radii=radius, colors=colours(shown.columns[shown.shade]))
            self._cloud(shown.topic, shown.frame, points, dict(shown.columns) | {"cell_id": shown.cell_id})
        elif isinstance(shown, Line):
            self._stream.log(EVENTS, rr.TextLog(f"{shown.name}: {shown.text}", level=LEVELS[shown.level]))
        elif isinstance(shown, Mounts):
            for transform in shown.transforms:
                self._transform(transform)
        else:
            self._transform(shown)

    def _cloud(self, topic: str, frame: str, points: rr.Points3D, columns: dict[str, Any]) -> None:
        if self._frames.setdefault(topic, "") != frame:
            self._frames[topic] = frame
            self._stream.log(topic, rr.CoordinateFrame(frame))
        self._stream.log(topic, points, rr.AnyValues(**columns))

    def _transform(self, transform: Transform) -> None:
        self._parents[transform.child] = transform.parent
        moved = rr.Transform3D(
            translation=transform.translation,
            quaternion=rr.Quaternion(xyzw=transform.rotation),
            parent_frame=transform.parent,
            child_frame=transform.child,
        )
        self._stream.log(f"{TF_ENTITY}/{transform.child}", moved, static=transform.static)

    def close(self) -> None:
        """Write what is left, and what a viewer shows at first."""
        self._stream.send_blueprint(blueprint_of(list(self._frames), self._root()))
        self._stream.disconnect()

    def _root(self) -> str | None:
        """The frame that the first topic hangs from, of which all that hangs together is seen."""
        frame = next(iter(self._frames.values()), None)
        for _ in self._parents:  # as many steps as there are edges: a tree that bites its tail ends, too
            frame = self._parents.get(frame or "", frame)
        return frame


def colours(share: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Red, green and blue, uint8 (N, 3), of values between 0 (free) and 1 (occupied); NaN is grey."""
    known = np.isfinite(share)
    value = np.where(known, share, 0).clip(0, 1)[:, None]
    mixed = np.array(FREE) * (1 - value) + np.array(OCCUPIED) * value
    return np.where(known[:, None], mixed, UNKNOWN).astype(np.uint8)


def blueprint_of(topics: list[str], root: str | None) -> rrb.Blueprint:
    """A view of each kind of cells with the sweeps, seen from the root frame, and the events beside them."""
    kinds = sorted({topic.rpartition("/")[2] for topic in topics})
    sweeps = [topic for topic in topics if topic.endswith("/points")]
    views = [
        rrb.Spatial3DView(
            name=kind,
            contents=[*sweeps, *(topic for topic in topics if topic.endswith(f"/{kind}"))],
            spatial_information=None if root is None else rrb.SpatialInformation(target_frame=root),
        )
        for kind in kinds
        if kind != "points" or len(kinds) == 1
    ]
    return rrb.Blueprint(
        rrb.Grid(*views, rrb.TextLogView(name="events", origin=EVENTS)),
        rrb.TimePanel(timeline=TIMELINE),
        collapse_panels=True,
    )
