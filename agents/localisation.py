"""What a robot's poses mean: since when they are of one map, and where localisation jumped to another."""

from __future__ import annotations

from typing import Any

from stream.config import Config
from stream.frames import FrameRegistry, JumpError
from stream.jumps import Jump, jumps
from stream.records import Event
from stream.sweep import Sweep
from stream.transform import Transform

MAX_KNOWN = 16
"""Of the maps that have begun, and of the transforms that begin one no sweep has reached yet: the newest."""


class Localisation:
    """The map that a robot's poses are of.

    The newest jump is where it begins.
    """

    def __init__(self, config: Config) -> None:
        self._pose, self._map_frame = config.pose, config.grid.map_frame
        self._starts: list[int] = []
        self._declared: list[int] = []

    @property
    def since_ns(self) -> int:
        """Poses before this are of an earlier map; -1 as long as there was none."""
        return self._starts[-1] if self._starts else -1

    def note(self, transform: Transform) -> None:
        """Note a transform that says that it begins a map; one that has come to pass says nothing new."""
        if transform.resets_map and not transform.static and transform.stamp_ns > self.since_ns:
            self._declared = sorted({*self._declared, transform.stamp_ns})[-MAX_KNOWN:]

    def jumps(self, frames: FrameRegistry, sweep: Sweep, after_ns: int, end_ns: int) -> list[Jump]:
        """Jumps in which a transform behind ``after_ns`` ends, up to the end of a sweep, by time.

        The transforms must reach the sweep's stamp.
        Raises JumpError for a sweep between two transforms that are of two maps; FrameError as ``look_up``
        """
        bounded = self._pose.jump_m is not None or self._pose.jump_deg is not None
        if not bounded and not self._declared:
            return []
        found = [
            jump
            for track in frames.tracks(self._map_frame, sweep.frame, sweep.stamp_ns)
            for jump in jumps(
                track,
                self._pose,
                after_ns=after_ns,
                until_ns=end_ns,
                starts=self._starts,
                declared=self._declared,
            )
        ]
        for jump in found:
            if jump.before_ns < sweep.stamp_ns < jump.at_ns:
                raise JumpError(f"{jump}, between {jump.before_ns} and {jump.at_ns}")
        return sorted(found, key=lambda jump: jump.at_ns)

    def begin(self, jump: Jump) -> None:
        """What a jump leads to is the map from now on."""
        self._starts = [*self._starts, jump.at_ns][-MAX_KNOWN:]
        self._declared = [stamp for stamp in self._declared if stamp > jump.at_ns]

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {"starts": list(self._starts), "declared": list(self._declared)}

    @classmethod
    def from_state(cls, state: dict[str, Any], config: Config) -> Localisation:
        """Rebuild from ``state``."""
        localisation = cls(config)
        localisation._starts, localisation._declared = list(state["starts"]), list(state["declared"])
        return localisation


def map_reset(robot_id: str, jump: Jump, epoch: int) -> Event:
    """What Perceive says when a robot begins a new map; ``epoch`` is that of its ``seq`` from now on."""
    fields: dict[str, Any] = {"reason": "message" if jump.declared else "jump", "epoch": epoch}
    fields |= {"metres": round(jump.metres, 3), "degrees": round(jump.degrees, 3)}
    for name, bound in (("bound_m", jump.bound_m), ("bound_deg", jump.bound_deg)):
        fields[name] = round(bound, 3) if bound < float("inf") else None
    return Event(kind="map_reset", stamp_ns=jump.at_ns, robot_id=robot_id, fields=fields)
