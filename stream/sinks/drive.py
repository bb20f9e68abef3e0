"""What robots send as it is shown: whole sweeps, and frames of several robots apart."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator

import numpy as np

from stream.sinks.base import Mounts
from stream.sweep import Sweep
from stream.transform import Transform


class Drive:
    """Joins parts of sweeps, collects static transforms, and keeps the frames of robots apart.

    map_frame : shared by all robots. Other frames of the first robot keep their names too, so that what is
        recorded of one robot is as it was; those of further robots begin with the robot's name, since two
        robots may both have a ``base_link``
    left_out : what no message has a place for, and what did not come, by what it is
    Deterministic: the same items in the same order give the same.
    """

    def __init__(self, map_frame: str | None) -> None:
        self.left_out: Counter[str] = Counter()
        self._map_frame = map_frame
        self._first: str | None = None
        self._static: dict[tuple[str, str], Transform] = {}
        self._parts: dict[str, list[Sweep]] = {}

    def sweep(self, sweep: Sweep) -> Iterator[Sweep]:
        """A sweep once all its parts are there, or the next of its stream begins."""
        if sweep.hits_only:
            self.left_out["sweeps of hits only"] += 1
            return
        held = self._parts.pop(sweep.stream_id, [])
        if held and held[0].stamp_ns != sweep.stamp_ns:
            yield self._joined(held)
            held = []
        if sweep.part not in {part.part for part in held}:  # else it was delivered twice
            held.append(sweep)
        if len(held) < sweep.parts:
            self._parts[sweep.stream_id] = held
        else:
            yield self._joined(held)

    def rest(self) -> Iterator[Sweep]:
        """Sweeps that still wait for parts."""
        held, self._parts = self._parts, {}
        for parts in held.values():
            yield self._joined(parts)

    def transform(self, transform: Transform) -> Iterator[Transform | Mounts]:
        """A transform; a static one together with all that are known."""
        robot = transform.robot_id
        if self._is_other(robot) and transform.child == self._map_frame:
            self.left_out["transforms of the shared map frame"] += 1
            return
        named = dataclasses.replace(
            transform, parent=self._frame(robot, transform.parent), child=self._frame(robot, transform.child)
        )
        if named.static:
            self._static.pop((named.parent, named.child), None)
            self._static[named.parent, named.child] = named
            yield Mounts(transforms=tuple(self._static.values()))
        else:
            yield named

    def _joined(self, parts: list[Sweep]) -> Sweep:
        parts = sorted(parts, key=lambda part: part.part)
        self.left_out["rays without return"] += sum(len(part.misses) for part in parts)
        self.left_out["parts of sweeps that did not come"] += parts[0].parts - len(parts)
        offsets = [part.time_offset_ns for part in parts if part.time_offset_ns is not None]
        return Sweep(
            stream_id=parts[0].stream_id,
            stamp_ns=parts[0].stamp_ns,
            frame=self._frame(parts[0].robot_id, parts[0].frame),
            points=np.concatenate([part.points for part in parts]),
            intensity=np.concatenate([part.intensity for part in parts]),
            time_offset_ns=np.concatenate(offsets) if len(offsets) == len(parts) else None,
        )

    def _is_other(self, robot: str) -> bool:
        self._first = robot if self._first is None else self._first
        return robot != self._first

    def _frame(self, robot: str, frame: str) -> str:
        return f"{robot}/{frame}" if self._is_other(robot) and frame != self._map_frame else frame
