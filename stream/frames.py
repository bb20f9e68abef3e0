"""The transform tree of one robot: where a frame is in another at a time, in the words of ROS tf2."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native import pose
from stream.jumps import Track
from stream.sweep import MAX_STAMP_NS
from stream.transform import Transform

UNIT_TOLERANCE = 1e-3
"""How far from 1 the length of a rotation's quaternion may be."""

MAX_FRAMES = 1024
"""Cap on the frames of one robot unless told otherwise: names that keep changing are the sender's error."""

Matrix = NDArray[np.float64]


class FrameError(ValueError):
    """A transform that cannot be used, or a pose that cannot be found; says which frames and why."""


class NotYet(FrameError):
    """The transforms have not reached the stamp: waiting for newer ones helps."""


class Never(FrameError):
    """The transforms have passed the stamp without a pose: newer ones do not help."""


class NoChainError(Never):
    """The frames are not connected, or one is unknown: only a transform for a new edge would help."""


class BeforeFirstError(Never):
    """The stamp is before the first transform (or the oldest one kept) of an edge."""


class GapError(Never):
    """The transforms on both sides of the stamp are too far apart to interpolate."""


class JumpError(Never):
    """Localisation jumped between the transforms around the stamp: nothing between them is a pose."""


class TransformError(FrameError):
    """A transform that the tree refuses; the tree is unchanged."""


class _Edge:
    """The pose of one frame in its parent: one for all time, or a track of them by stamp."""

    __slots__ = ("child", "parent", "stamps", "static", "vectors")

    def __init__(self, parent: str, child: str, static: bool) -> None:
        self.parent = parent
        self.child = child
        self.static = static
        self.stamps: list[int] = []
        self.vectors: dict[int, Matrix] = {}

    def insert(self, stamp_ns: int, vector: Matrix, horizon_ns: int | None) -> None:
        if stamp_ns not in self.vectors:
            insort(self.stamps, stamp_ns)
        self.vectors[stamp_ns] = vector
        if horizon_ns is not None:
            # The newest one at or before the cut stays: interpolation just after the cut needs it.
            cut = self.stamps[-1] - horizon_ns
            old = bisect_left(self.stamps, cut + 1) - 1
            for stamp in self.stamps[: max(old, 0)]:
                del self.vectors[stamp]
            del self.stamps[: max(old, 0)]

    def at(self, stamp_ns: int, max_gap_ns: int) -> Matrix:
        """Pose matrix child to parent at the stamp; raises NotYet, BeforeFirstError or GapError."""
        if self.static:
            return pose.matrix(self.vectors[self.stamps[0]])
        if stamp_ns in self.vectors:
            return pose.matrix(self.vectors[stamp_ns])
        after = bisect_left(self.stamps, stamp_ns)
        if after == len(self.stamps):
            late = stamp_ns - self.stamps[-1]
            raise NotYet(f"{self}: the newest transform is {_ms(late)} before the stamp {stamp_ns}")
        if after == 0:
            early = self.stamps[0] - stamp_ns
            raise BeforeFirstError(
                f"{self}: the oldest transform known is {_ms(early)} after the stamp {stamp_ns}"
            )
        first, last = self.stamps[after - 1], self.stamps[after]
        if last - first > max_gap_ns:
            raise GapError(
                f"{self}: no transform for {_ms(last - first)} around the stamp {stamp_ns}, "
                f"at most {_ms(max_gap_ns)} may be interpolated (pose.max_gap_ns)"
            )
        u = (stamp_ns - first) / (last - first)
        return pose.matrix(pose.interpolate(self.vectors[first], self.vectors[last], u))

    def __str__(self) -> str:
        return f"{self.parent} to {self.child}"


class FrameRegistry:
    """Transforms of one robot, kept as a tree; poses are interpolated, never extrapolated.

    max_gap_ns : neighbouring transforms of an edge further apart than this are not interpolated
    horizon_ns : each edge keeps the transforms of its newest ``horizon_ns`` and one older; None keeps all
    max_frames : names of frames at most; a transform that brings another one is refused
    Raises ValueError for a value that is not > 0

    Poses depend on the transforms added, not on their order, except that the last of several for one edge and
    stamp wins, and with a horizon a transform that is too old when it comes may be dropped. Arithmetic is the
    C core's, so equal on every machine.
    """

    def __init__(
        self, *, max_gap_ns: int, horizon_ns: int | None = None, max_frames: int = MAX_FRAMES
    ) -> None:
        if max_gap_ns <= 0:
            raise ValueError(f"max_gap_ns: expected > 0, got {max_gap_ns}")
        if horizon_ns is not None and horizon_ns <= 0:
            raise ValueError(f"horizon_ns: expected > 0 or None, got {horizon_ns}")
        if max_frames <= 0:
            raise ValueError(f"max_frames: expected > 0, got {max_frames}")
        self._max_gap_ns = max_gap_ns
        self._max_frames = max_frames
        self._horizon_ns = horizon_ns
        self._edges: dict[str, _Edge] = {}
        self._frames: set[str] = set()

    def add(self, transform: Transform) -> None:
        """Insert one transform; it may be older than others.

        Raises TransformError, and changes nothing, for values that are not finite, a rotation that is not a
        unit quaternion within 1e-3, a frame in itself, a second parent, a loop, an edge that is static and
        dynamic at once, or more than ``max_frames`` frames
        """
        vector = _vector_of(transform)
        edge = self._edges.get(transform.child)
        if edge is None:
            self._check_new(transform)
            edge = _Edge(transform.parent, transform.child, transform.static)
        elif edge.parent != transform.parent:
            raise TransformError(
                f"frame {transform.child} has two parents: {edge.parent} and {transform.parent}"
            )
        elif edge.static != transform.static:
            raise TransformError(
                f"{edge}: is both static and dynamic; publish it on one of /tf_static and /tf"
            )
        edge.insert(0 if transform.static else transform.stamp_ns, vector, self._horizon_ns)
        self._edges[transform.child] = edge
        self._frames |= {transform.parent, transform.child}

    def _check_new(self, transform: Transform) -> None:
        above = [transform.parent, *(edge.parent for edge in self._chain(transform.parent))]
        if transform.child in above:
            raise TransformError(f"{' to '.join([*above[::-1], transform.child])}: frames form a loop")
        most = self._max_frames
        if len(self._frames | {transform.parent, transform.child}) > most:
            raise TransformError(
                f"{transform.parent} to {transform.child}: more than {most} frames (limits.max_frames)"
            )

    def _chain(self, frame: str) -> Iterator[_Edge]:
        """Edges from a frame up to its root."""
        while (edge := self._edges.get(frame)) is not None:
            yield edge
            frame = edge.parent

    def _require(self, frame: str) -> None:
        if frame not in self._frames:
            known = ", ".join(self.frames()) or "none"
            raise NoChainError(f"no transform names the frame {frame} (known: {known})")

    def _branches(self, target: str, source: str) -> tuple[list[_Edge], list[_Edge]]:
        """Edges from target and from source up to their nearest common ancestor."""
        self._require(target)
        self._require(source)
        up, down = list(self._chain(source)), list(self._chain(target))
        while up and down and up[-1] is down[-1]:
            up.pop()
            down.pop()
        ends = (down[-1].parent if down else target, up[-1].parent if up else source)
        if ends[0] != ends[1]:
            raise NoChainError(
                f"{target} and {source} are not connected: their roots are {ends[0]} and {ends[1]}"
            )
        return down, up

    def look_up(self, target: str, source: str, stamp_ns: int) -> Matrix:
        """Pose matrix that takes points of ``source`` to ``target`` at the stamp.

        Returns float64 (12,), 3 x 4 row-major
        Raises NoChainError, BeforeFirstError, GapError (all Never), or NotYet when nothing worse is known
        """
        down, up = self._branches(target, source)
        poses: dict[str, Matrix] = {}
        waiting: NotYet | None = None
        for edge in (*down, *up):
            try:
                poses[edge.child] = edge.at(stamp_ns, self._max_gap_ns)
            except NotYet as error:
                waiting = waiting or error
        if waiting is not None:
            raise waiting
        upward = _product([poses[edge.child] for edge in up])
        if not down:
            return upward
        return pose.compose(pose.invert(_product([poses[edge.child] for edge in down])), upward)

    def tracks(self, target: str, source: str, stamp_ns: int) -> list[Track]:
        """Edges between the frames that move, from the source on, with levers as of the stamp.

        Raises as ``look_up``
        """
        down, up = self._branches(target, source)
        found: list[Track] = []
        way = _product([])
        for edge, upward in [*((edge, True) for edge in up), *((edge, False) for edge in reversed(down))]:
            if not edge.static:
                lever = way.reshape(3, 4)[:, 3]
                found.append(Track(stamps=edge.stamps, vectors=edge.vectors, upward=upward, lever=lever))
            step = edge.at(stamp_ns, self._max_gap_ns)
            way = pose.compose(step if upward else pose.invert(step), way)
        return found

    def watermark(self, target: str, source: str) -> int:
        """Newest stamp that every dynamic edge between the frames has reached, MAX_STAMP_NS without any.

        Up to here ``look_up`` gives a pose or Never; beyond, NotYet (or Never).  Raises NoChainError
        """
        down, up = self._branches(target, source)
        return min((edge.stamps[-1] for edge in (*down, *up) if not edge.static), default=MAX_STAMP_NS)

    def root(self, frame: str) -> str:
        """Root of the tree that holds the frame.  Raises NoChainError for an unknown frame."""
        self._require(frame)
        for edge in self._chain(frame):
            frame = edge.parent
        return frame

    def frames(self) -> tuple[str, ...]:
        """Every frame named by a transform, in alphabetical order."""
        return tuple(sorted(self._frames))

    def state(self) -> dict[str, Any]:
        """Everything as plain values and arrays, in a fixed order."""
        return {
            "max_gap_ns": self._max_gap_ns,
            "horizon_ns": self._horizon_ns,
            "max_frames": self._max_frames,
            "edges": [
                [
                    edge.parent,
                    edge.child,
                    edge.static,
                    list(edge.stamps),
                    np.array([edge.vectors[stamp] for stamp in edge.stamps], np.float64),
                ]
                for _, edge in sorted(self._edges.items())
            ],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> FrameRegistry:
        """A registry that answers bit for bit as the one whose ``state`` this is."""
        registry = cls(
            max_gap_ns=state["max_gap_ns"], horizon_ns=state["horizon_ns"], max_frames=state["max_frames"]
        )
        for parent, child, static, stamps, vectors in state["edges"]:
            edge = _Edge(parent, child, static)
            edge.stamps = list(stamps)
            edge.vectors = dict(zip(stamps, np.array(vectors, np.float64), strict=True))
            registry._edges[child] = edge
            registry._frames |= {parent, child}
        return registry


def _product(poses: list[Matrix]) -> Matrix:
    """Pose of the first edge's child in the last edge's parent."""
    result = pose.matrix(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
    for step in poses:
        result = pose.compose(step, result)
    return result


def _vector_of(transform: Transform) -> Matrix:
    """Pose vector with the quaternion scaled to unit length; raises TransformError."""
    name = f"{transform.parent} to {transform.child} at {transform.stamp_ns}"
    if not transform.parent or not transform.child:
        raise TransformError(f"{name}: a frame name is empty")
    if transform.parent == transform.child:
        raise TransformError(f"{name}: parent and child are the same frame")
    values = (*transform.translation, *transform.rotation)
    if len(values) != 7 or not all(math.isfinite(value) for value in values):
        raise TransformError(f"{name}: translation and rotation must be 3 and 4 finite numbers, got {values}")
    qx, qy, qz, qw = transform.rotation
    length = math.sqrt(qx * qx + qy * qy + qz * qz + qw * qw)
    if abs(length - 1.0) > UNIT_TOLERANCE:
        raise TransformError(
            f"{name}: rotation {transform.rotation} has length {length:.6g}, expected a unit quaternion"
        )
    return np.array([*transform.translation, *(value / length for value in transform.rotation)])


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / 1e6:.6g} ms"
