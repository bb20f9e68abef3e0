"""What a robot offers to send, and which of it is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stream.sources.message_types import CLOUDS, TRANSFORMS, missing_package, unread_clouds, unread_transforms

Say = Callable[[str], None]
"""Tells a person one line; may be called from any thread."""

Offer = tuple[str, str]
"""Topic and type, as ``LoggedMessage`` has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """Which of a robot's topics are taken, and as whose.

    robot_id : first half of the stream ids
    topics : of point clouds; none takes all
    tf_topics : of transforms; none takes all
    static_topics : of transforms that hold for all time, beside those that end in ``/tf_static``
    """

    robot_id: str
    topics: tuple[str, ...] = ()
    tf_topics: tuple[str, ...] = ()
    static_topics: tuple[str, ...] = ()

    @property
    def named(self) -> frozenset[str]:
        """All topics that are asked for by name."""
        return frozenset((*self.topics, *self.tf_topics, *self.static_topics))


class Offers:
    """Chooses among what a robot offers, and says once of a topic why it cannot be taken.

    It outlives connections, so one that comes again says nothing twice.
    """

    def __init__(self, options: LiveOptions, say: Say) -> None:
        self._options, self._say = options, say
        self._refused: set[Offer] = set()

    def choose(self, offered: Iterable[Offer]) -> list[Offer]:
        """Those that are taken, sorted."""
        chosen = []
        for offer in sorted(offered):
            topic, kind = offer
            reason = self._reason(topic, kind)
            if reason is not None and offer not in self._refused:
                self._refused.add(offer)
                self._say(f"not taken: {topic}: {reason}")
            readable = reason is None and (kind in CLOUDS or kind in TRANSFORMS)
            if readable and self._wanted(topic, cloud=kind in CLOUDS):
                chosen.append(offer)
        return chosen

    def missing(self, offered: Iterable[str]) -> list[str]:
        """Topics that are asked for by name and not offered."""
        return sorted(self._options.named - set(offered))

    def _wanted(self, topic: str, *, cloud: bool) -> bool:
        options = self._options
        if cloud:
            return not options.topics or topic in options.topics
        return not options.tf_topics or topic in (*options.tf_topics, *options.static_topics)

    def _reason(self, topic: str, kind: str) -> str | None:
        """Why a topic cannot be taken; None where it can be, or nobody asked for it."""
        offer = [(topic, kind)]
        if kind in CLOUDS or kind in TRANSFORMS:
            return missing_package(offer) if self._wanted(topic, cloud=kind in CLOUDS) else None
        for unread, cloud in ((unread_clouds(offer), True), (unread_transforms(offer), False)):
            if unread is not None:
                return unread.removeprefix(f"topic {topic} is ") if self._wanted(topic, cloud=cloud) else None
        if self._options.named and topic not in self._options.named:
            return None
        return f"{kind} is neither a point cloud nor transforms"
