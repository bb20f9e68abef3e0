"""The last minutes of frames, so that the live page can go back in time."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict, deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Kept:
    """A frame of the finest level, and where it stands: stamp, and sensor position in metres."""

    stamp_ns: int
    eye: tuple[float, float, float]
    data: bytes


@dataclass(slots=True, kw_only=True)
class _Reel:
    frames: deque[Kept] = field(default_factory=deque)
    size_bytes: int = 0


class Tape:
    """Frames by robot, bounded in event time, in bytes, and in robots.

    span_ns : kept so long; step_ns : frames closer than this to the last one are left out
    most_bytes : of all robots together; beyond, the oldest frames of the longest reel go first
    most_robots : the robot that was watched longest ago makes room, but only for one that is watched
    One thread adds, any may read.
    """

    def __init__(self, *, span_ns: int, step_ns: int, most_bytes: int, most_robots: int) -> None:
        self._span_ns, self._step_ns = span_ns, step_ns
        self._most_bytes, self._most_robots = most_bytes, most_robots
        self._lock = threading.Lock()
        self._reels: OrderedDict[str, _Reel] = OrderedDict()  # the one that was watched last at the end

    def wants(self, robot_id: str, stamp_ns: int, *, watched: bool) -> bool:
        """Whether a frame of this stamp should be made for the tape."""
        with self._lock:
            if not self._span_ns:
                return False
            reel = self._reels.get(robot_id)
            if reel is None:
                return watched or len(self._reels) < self._most_robots
            if watched:
                self._reels.move_to_end(robot_id)
            if not reel.frames:
                return True
            newest_ns = reel.frames[-1].stamp_ns
            return stamp_ns >= newest_ns + self._step_ns or stamp_ns < newest_ns

    def add(self, robot_id: str, frame: Kept) -> None:
        """Keep a frame; one from before the last means that the log began again, and the reel with it."""
        with self._lock:
            if robot_id not in self._reels and len(self._reels) >= self._most_robots:
                self._reels.popitem(last=False)
            reel = self._reels.setdefault(robot_id, _Reel())
            if reel.frames and frame.stamp_ns <= reel.frames[-1].stamp_ns:
                reel.frames.clear()
                reel.size_bytes = 0
            reel.frames.append(frame)
            reel.size_bytes += len(frame.data)
            while reel.frames[0].stamp_ns < frame.stamp_ns - self._span_ns:
                _drop(reel)
            while self._size() > self._most_bytes:
                longest = max(self._reels.values(), key=lambda reel: reel.size_bytes)
                _drop(longest)

    def _size(self) -> int:
        return sum(reel.size_bytes for reel in self._reels.values())

    @property
    def size_bytes(self) -> int:
        """Bytes of all frames."""
        with self._lock:
            return self._size()

    def frames(self, robot_id: str) -> list[Kept]:
        """Every frame of a robot, the oldest first."""
        with self._lock:
            reel = self._reels.get(robot_id)
            return list(reel.frames) if reel else []

    def at(self, robot_id: str, stamp_ns: int, step: int = 0) -> Kept | None:
        """The newest frame that is not after a stamp, or so many frames later; None where there is none.

        Before the first frame and beyond the last one, these
        """
        frames = self.frames(robot_id)
        place = bisect_right(frames, stamp_ns, key=lambda frame: frame.stamp_ns) - 1 + step
        return frames[min(max(place, 0), len(frames) - 1)] if frames else None


def _drop(reel: _Reel) -> None:
    reel.size_bytes -= len(reel.frames.popleft().data)
