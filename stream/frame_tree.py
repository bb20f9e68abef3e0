"""Which frames a log has and how they hang together, whatever their poses."""

from __future__ import annotations

from collections.abc import Sequence

from stream.frames import FrameError, FrameRegistry
from stream.transform import Transform


class FrameTree:
    """The edges of one robot's transforms, each looked at until it is sound.

    Refused ones are left out: they are said, with their reason, when they are used
    """

    def __init__(self) -> None:
        self._registry = FrameRegistry(max_gap_ns=1)
        self._edges: set[tuple[str, str]] = set()

    def link(self, transform: Transform) -> None:
        """Note the edge of a transform."""
        edge = (transform.parent, transform.child)
        if edge in self._edges:
            return
        try:
            self._registry.add(transform)
        except FrameError:
            return
        self._edges.add(edge)

    def frames(self) -> tuple[str, ...]:
        """Every frame, in alphabetical order."""
        return self._registry.frames()

    def root(self, sensors: Sequence[str]) -> str | None:
        """Root above the first sensor that hangs from a tree, else of the first tree there is."""
        known = self.frames()
        hanging = [frame for frame in sensors if frame in known] or known
        return self._registry.root(hanging[0]) if hanging else None
