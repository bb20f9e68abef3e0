"""Messages of ROS 2 and Foxglove in a log as sweeps and transforms, whatever container they lie in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream.codecs.cdr import CodecError
from stream.frame_tree import FrameTree
from stream.sources.base import Damage, Item, SourceError, SourceInfo, SourceOptions
from stream.sources.logged_message import Edge, LoggedMessage, items_of
from stream.sources.map_resets import MapResets, is_map_reset
from stream.sources.message_types import (
    CLOUDS,
    FOXGLOVE_TRANSFORMS,
    TRANSFORMS,
    missing_package,
    unread_clouds,
    unread_transforms,
)
from stream.sources.pose_file import MAP_FRAME, read_poses, to_transform
from stream.sweep import Sweep

Wanted = Callable[[str, str], bool]
"""Whether messages of this topic and type are read."""


class Ros2Log(Protocol):
    """The container of a log: which topics it has, and their messages in the order they were logged.

    path, format : for messages and ``info``
    """

    @property
    def path(self) -> Path: ...

    @property
    def format(self) -> str: ...

    @property
    def damage(self) -> str | None:
        """Why the log cannot be read to its end, as far as opening it told."""
        ...

    def topics(self) -> list[tuple[str, str]]:
        """Every topic with its type, sorted; a type not in CDR carries its encoding."""
        ...

    def messages(self, wanted: Wanted) -> Iterator[LoggedMessage | Damage]:
        """Messages by log time, equal times in file order; damage ends them with one final Damage."""
        ...


class Ros2Source:
    """A log of ROS 2 messages as a source.

    log : the container; options : ``topic`` picks the cloud, ``poses`` replaces the transforms of the log

    Messages come in the log's order. Damage ends the log: what is readable before it is delivered, then one
    Damage. A message that cannot be decoded is a SweepRejected with the reason ``corrupt``. Foxglove has no
    word for what holds for all time: an edge of which the log has a single transform, in a message of
    Foxglove, is static, since it would be too old for all sweeps but one.
    """

    def __init__(self, log: Ros2Log, options: SourceOptions) -> None:
        self._log = log
        self._options = options
        self._survey: _Survey | None = None
        self._info: SourceInfo | None = None

    def info(self) -> SourceInfo:
        """Describe the readable part of the log; reads all messages once, but no points.

        ``start_ns`` and ``end_ns`` are log times
        Raises SourceError when nothing is readable or ``options.topic`` is not a cloud of the log
        """
        if self._info is None:
            self._info = self._describe(self._surveyed())
        return self._info

    def __iter__(self) -> Iterator[Item]:
        """Items from the start; raises SourceError at once when the topic or the poses do not fit."""
        self._require_package()
        topic = self._topic()
        poses: list[NDArray[np.float64]] | None = None
        if self._options.poses is not None:
            poses = read_poses(self._options.poses, self.info().topics[topic][1])
            return self._items(topic, poses, frozenset())
        unread = None if self._options.odometry else unread_transforms(self._log.topics())
        if unread:
            raise SourceError(f"{self._log.path}: {unread}, or give --poses FILE")
        return self._items(topic, None, self._mounts())

    def _require_package(self) -> None:
        if missing := missing_package(self._log.topics()):
            raise SourceError(f"{self._log.path}: {missing}")

    def _surveyed(self) -> _Survey:
        if self._survey is None:
            self._require_package()
            self._survey = _Survey(self._log)
        return self._survey

    def _mounts(self) -> frozenset[Edge]:
        """Edges of which the log has one transform; only where messages do not say what is static."""
        if any(kind in FOXGLOVE_TRANSFORMS for _, kind in self._log.topics()):
            return self._surveyed().mounts()
        return frozenset()

    def _clouds(self) -> list[str]:
        """Topics to take points from: ``options.topic``, or all."""
        types = dict(self._log.topics())
        clouds = sorted(topic for topic, kind in types.items() if kind in CLOUDS)
        wanted = self._options.topic
        if wanted is None or wanted in clouds:
            return clouds if wanted is None else [wanted]
        what = f"is {types[wanted]}, not PointCloud2" if wanted in types else "is not in the log"
        listed = ", ".join(clouds) or "none"
        raise SourceError(f"{self._log.path}: topic {wanted} {what}; PointCloud2 topics: {listed}")

    def _topic(self) -> str:
        clouds, path = self._clouds(), self._log.path
        if len(clouds) == 1:
            return clouds[0]
        if clouds:
            raise SourceError(
                f"{path}: {len(clouds)} PointCloud2 topics: {', '.join(clouds)}; pick one with --topic"
            )
        if unread := unread_clouds(self._log.topics()):
            raise SourceError(f"{path}: {unread}")
        found = ", ".join(f"{name} ({kind})" for name, kind in self._log.topics())
        note = f"; the log is damaged {self._log.damage}" if self._log.damage else ""
        raise SourceError(f"{path}: no PointCloud2 topic in the log; topics: {found or 'none'}{note}")

    def _describe(self, survey: _Survey) -> SourceInfo:
        if not survey.counts:
            raise SourceError(
                f"{self._log.path}: no readable message{survey.damage and f': {survey.damage}'}"
            )
        clouds = self._clouds()
        topics: dict[str, tuple[str, int]] = {}
        for topic, kind in self._log.topics():
            first, count = topics.get(topic, (kind, 0))
            topics[topic] = (first, count + survey.counts[topic, kind])
        frames = tuple(sorted({frame for topic, frame in survey.sensors if topic in clouds}))
        return SourceInfo(
            location=str(self._log.path),
            format=self._log.format,
            sweeps=sum(topics[topic][1] for topic in clouds),
            start_ns=survey.start_ns,
            end_ns=survey.end_ns,
            topics=topics,
            sensor_frames=frames,
            root_frame=survey.root(frames) if self._options.poses is None else MAP_FRAME,
        )

    def _items(
        self, topic: str, poses: list[NDArray[np.float64]] | None, mounts: frozenset[Edge]
    ) -> Iterator[Item]:
        sweeps, resets = 0, MapResets()
        for message in self._log.messages(
            lambda name, kind: (
                name == topic or (kind in TRANSFORMS and poses is None) or is_map_reset(name, kind)
            )
        ):
            if isinstance(message, Damage):
                yield message
                continue
            if is_map_reset(message.topic, message.kind):
                resets.note()
                continue
            items: list[Item] = []
            for item in items_of(message, self._options.robot_id, mounts):
                if poses is not None and isinstance(item, Sweep):
                    vector, robot_id = poses[sweeps], self._options.robot_id
                    items.append(
                        to_transform(vector, robot_id=robot_id, stamp_ns=item.stamp_ns, child=item.frame)
                    )
                items.append(item)
            yield from resets.mark(items)
            sweeps += message.kind in CLOUDS


class _Survey:
    """One pass over the readable messages: how many, from when to when, and which frames."""

    def __init__(self, log: Ros2Log) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self.sensors: set[tuple[str, str]] = set()
        self.damage = log.damage or ""
        self._published: Counter[Edge] = Counter()
        self._tree = FrameTree()
        for message in log.messages(lambda topic, kind: True):
            if isinstance(message, Damage):
                self.damage = message.detail
            else:
                self._note(message)

    def _note(self, message: LoggedMessage) -> None:
        now = message.log_time_ns
        self.counts[message.topic, message.kind] += 1
        self.start_ns = now if self.start_ns is None else min(now, self.start_ns)
        self.end_ns = now if self.end_ns is None else max(now, self.end_ns)
        try:
            if message.kind in CLOUDS:
                self.sensors.add((message.topic, CLOUDS[message.kind].header(message.data)[1]))
            elif message.kind in TRANSFORMS:
                self._link(message)
        except CodecError:
            return  # rejected, with its reason, when it is read

    def _link(self, message: LoggedMessage) -> None:
        for transform in TRANSFORMS[message.kind](message.data, robot_id=""):
            self._published[transform.parent, transform.child] += 1
            self._tree.link(transform)

    def mounts(self) -> frozenset[Edge]:
        """Edges of which there is one transform."""
        return frozenset(edge for edge, count in self._published.items() if count == 1)

    def root(self, sensors: tuple[str, ...]) -> str | None:
        """Root above the first sensor that hangs from a tree, else of the first tree there is."""
        return self._tree.root(sensors)
