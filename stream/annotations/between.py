"""Boxes at moments at which nobody drew any: between the two nearest of the same thing."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from native import pose
from stream.annotations.boxes import Box, in_map
from stream.frames import FrameError, FrameRegistry

NEARLY_EQUAL = 0.9995
"""Cosine of half the angle from which on an arc is as good as a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxTimes:
    """How far in time a box may be from the sweep that it labels.

    between_ns : an instance that is drawn before and after a sweep, at most so far apart, is where it would
        be on the way from one to the other; 0 never
    within_ns : any other instance is where it was drawn, if that is at most so long before or after
    counts : of boxes, over all calls: ``drawn`` at the very stamp, ``between`` two stamps, ``nearest``; and
        ``unplaced``, how often a thing could not be put between two stamps for want of a pose
    """

    between_ns: int
    within_ns: int
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def reach_ns(self) -> int:
        """No box that is farther away is of use."""
        return max(self.between_ns, self.within_ns)

    def boxes_at(
        self, boxes: Sequence[Box], stamp_ns: int, map_frame: str, frames: FrameRegistry
    ) -> list[Box]:
        """The boxes of a moment, by instance.

        boxes : ascending by stamp; frames : where each box's frame was at its own stamp
        A box between two stamps is in the map frame: its position moves in a line there, and its rotation on
        the shorter arc. Boxes of an instance that has other parts at the two stamps, or whose frame has no
        pose at one of them, are not paired
        """
        first = bisect_left(boxes, stamp_ns - self.reach_ns, key=lambda box: box.stamp_ns)
        last = bisect_right(boxes, stamp_ns + self.reach_ns, key=lambda box: box.stamp_ns)
        drawn: dict[int, dict[int, list[Box]]] = {}
        for box in boxes[first:last]:
            drawn.setdefault(box.instance, {}).setdefault(box.stamp_ns, []).append(box)
        found: list[Box] = []
        for instance in sorted(drawn):
            how, own = self._of(drawn[instance], stamp_ns, map_frame, frames)
            self.counts[how] += len(own)
            found += own
        return found

    def _of(
        self, drawn: dict[int, list[Box]], stamp_ns: int, map_frame: str, frames: FrameRegistry
    ) -> tuple[str, list[Box]]:
        """How the boxes of an instance were found, and those."""
        if stamp_ns in drawn:
            return "drawn", drawn[stamp_ns]
        before = max((at for at in drawn if at < stamp_ns), default=None)
        after = min((at for at in drawn if at > stamp_ns), default=None)
        if before is not None and after is not None and after - before <= self.between_ns:
            pairs = list(zip(drawn[before], drawn[after], strict=False))
            same = len(drawn[before]) == len(drawn[after])
            if same and all(a.label == b.label for a, b in pairs):
                share = (stamp_ns - before) / (after - before)
                try:
                    return "between", [between(a, b, share, stamp_ns, map_frame, frames) for a, b in pairs]
                except FrameError:
                    self.counts["unplaced"] += 1
        nearest = min(drawn, key=lambda at: (abs(at - stamp_ns), at))  # of two equally near ones the earlier
        return "nearest", drawn[nearest] if abs(nearest - stamp_ns) <= self.within_ns else []

    def lines(self) -> list[str]:
        """The counts in words; none where there are none."""
        said = (
            ("drawn", "drawn at a sweep's stamp"), ("between", "between two stamps"),
            ("nearest", "taken from the nearest stamp"),
            ("unplaced", "times no pose for one of two stamps"),
        )  # fmt: skip
        counted = [f"{self.counts[how]:,} {words}" for how, words in said if self.counts[how]]
        return [f"boxes: {', '.join(counted)}"] if counted else []


def between(
    before: Box, after: Box, share: float, stamp_ns: int, map_frame: str, frames: FrameRegistry
) -> Box:
    """The box a share of the way from one to the other, in the map frame.

    share : 0..1, 0 at ``before``; its size goes along a line, too
    Raises FrameError where a box's frame has no pose at its stamp, PoseError
    """
    a, b = (pose.vector(in_map(box, map_frame, frames)) for box in (before, after))
    place = a[:3] + share * (b[:3] - a[:3])
    size = np.array(before.size_m) + share * (np.array(after.size_m) - np.array(before.size_m))
    x, y, z = place.tolist()
    qx, qy, qz, qw = slerp(a[3:], b[3:], share).tolist()
    length, width, height = size.tolist()
    return dataclasses.replace(
        before, frame=map_frame, stamp_ns=stamp_ns, pose=(x, y, z, qx, qy, qz, qw),
        size_m=(length, width, height),
    )  # fmt: skip


def slerp(a: NDArray[np.float64], b: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Unit quaternion a share of the way on the shorter arc, at one rate of turn. Source: Shoemake 1985

    a, b : float64 (4,), of unit length; share : 0..1
    """
    cosine = float(a @ b)
    b, cosine = (-b, -cosine) if cosine < 0 else (b, cosine)
    if cosine > NEARLY_EQUAL:
        found = a + share * (b - a)
    else:
        angle = np.arccos(cosine)
        found = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)
    unit: NDArray[np.float64] = found / np.linalg.norm(found)
    return unit
