"""ROS 2 logs in MCAP: PointCloud2 and TFMessage, in the order they were logged."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream.codecs import pointcloud2, tf
from stream.codecs.cdr import CodecError
from stream.frames import FrameError, FrameRegistry
from stream.records import SweepRejected
from stream.sources.base import Damage, Item, SourceError, SourceInfo, SourceOptions
from stream.sources.mcap_file import DamageError, McapFile, Message
from stream.sources.pose_file import MAP_FRAME, read_poses, require_count, to_transform
from stream.sweep import Sweep

POINTS_TYPE = "sensor_msgs/msg/PointCloud2"
TF_TYPE = "tf2_msgs/msg/TFMessage"
STATIC_TOPIC = "/tf_static"
"""A TFMessage topic that ends so holds for all time."""


class McapSource:
    """One MCAP file as a source.

    path : the file; options : ``topic`` picks the cloud, ``poses`` replaces the transforms of the log
    Raises SourceError when the file is not MCAP

    Messages come in log-time order, equal times in file order. Damage ends the log: what the readable chunks
    before it hold is delivered, then one Damage. A message that cannot be decoded is a SweepRejected with the
    reason ``corrupt``.
    """

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self._file = McapFile(path)
        self._options = options
        self._info: SourceInfo | None = None

    def info(self) -> SourceInfo:
        """Describe the readable part of the log; reads all chunks once, but no points.

        ``start_ns`` and ``end_ns`` are log times
        Raises SourceError when nothing is readable or ``options.topic`` is not a cloud of the log
        """
        if self._info is None:
            self._info = self._describe(_Survey(self._file))
        return self._info

    def __iter__(self) -> Iterator[Item]:
        """Items from the start; raises SourceError at once when the topic or the poses do not fit."""
        if not self._file.contents.knows_channels:
            self.info()
        topic = self._topic()
        poses: list[NDArray[np.float64]] | None = None
        if self._options.poses is not None:
            poses = read_poses(self._options.poses)
            require_count(self._options.poses, poses, self.info().topics[topic][1])
        return self._items(topic, poses)

    def _clouds(self) -> list[str]:
        """Topics to take points from: ``options.topic``, or all."""
        types = dict(self._file.channels().values())
        clouds = sorted(topic for topic, kind in types.items() if kind == POINTS_TYPE)
        wanted = self._options.topic
        if wanted is None or wanted in clouds:
            return clouds if wanted is None else [wanted]
        what = f"is {types[wanted]}, not PointCloud2" if wanted in types else "is not in the log"
        listed = ", ".join(clouds) or "none"
        raise SourceError(f"{self._file.path}: topic {wanted} {what}; PointCloud2 topics: {listed}")

    def _topic(self) -> str:
        clouds, path = self._clouds(), self._file.path
        if len(clouds) == 1:
            return clouds[0]
        if clouds:
            raise SourceError(
                f"{path}: {len(clouds)} PointCloud2 topics: {', '.join(clouds)}; pick one with --topic"
            )
        found = ", ".join(f"{name} ({kind})" for name, kind in sorted(self._file.channels().values()))
        damage = self._file.contents.damage
        note = f"; the log is damaged {damage}" if damage else ""
        raise SourceError(f"{path}: no PointCloud2 topic in the log; topics: {found or 'none'}{note}")

    def _describe(self, survey: _Survey) -> SourceInfo:
        if not survey.counts:
            raise SourceError(
                f"{self._file.path}: no readable message{survey.damage and f': {survey.damage}'}"
            )
        clouds = self._clouds()
        topics: dict[str, tuple[str, int]] = {}
        for number, (topic, kind) in sorted(self._file.channels().items(), key=lambda item: item[1]):
            topics[topic] = (kind, topics.get(topic, (kind, 0))[1] + survey.counts[number])
        frames = tuple(sorted({frame for topic, frame in survey.sensors if topic in clouds}))
        return SourceInfo(
            location=str(self._file.path),
            format="mcap",
            sweeps=sum(topics[topic][1] for topic in clouds),
            start_ns=survey.start_ns,
            end_ns=survey.end_ns,
            topics=topics,
            sensor_frames=frames,
            root_frame=survey.root(frames) if self._options.poses is None else MAP_FRAME,
        )

    def _items(self, topic: str, poses: list[NDArray[np.float64]] | None) -> Iterator[Item]:
        channels = {
            number: (name, kind)
            for number, (name, kind) in self._file.channels().items()
            if name == topic or (kind == TF_TYPE and poses is None)
        }
        sweeps = 0
        for message in self._in_order(set(channels)):
            if isinstance(message, Damage):
                yield message
                continue
            name, kind = channels[message.channel_id]
            if kind == TF_TYPE:
                yield from self._transforms(message, name)
                continue
            item = self._sweep(message, name)
            if poses is not None and isinstance(item, Sweep):
                vector, robot_id = poses[sweeps], self._options.robot_id
                yield to_transform(vector, robot_id=robot_id, stamp_ns=item.stamp_ns, child=item.frame)
            sweeps += 1
            yield item

    def _in_order(self, channels: set[int]) -> Iterator[Message | Damage]:
        """Messages of these channels by log time; holds only chunks that overlap in time."""
        damage = self._file.contents.damage
        held: list[Message] = []
        for unit in self._file.contents.units:
            while held and held[0].log_time_ns < unit.start_ns:
                yield heapq.heappop(held)
            try:
                messages = self._file.messages(unit)
            except DamageError as error:
                damage = str(error)
                break
            for message in messages:
                if message.channel_id in channels:
                    heapq.heappush(held, message)
        while held:
            yield heapq.heappop(held)
        if damage is not None:
            yield Damage(location=str(self._file.path), detail=damage)

    def _transforms(self, message: Message, topic: str) -> Iterator[Item]:
        robot_id = self._options.robot_id
        try:
            yield from tf.decode_cdr(message.data, robot_id=robot_id, static=topic.endswith(STATIC_TOPIC))
        except CodecError as error:
            yield self._rejected(message, topic, topic.removeprefix("/"), message.log_time_ns, error)

    def _sweep(self, message: Message, topic: str) -> Sweep | SweepRejected:
        frame, stamp_ns = topic.removeprefix("/"), message.log_time_ns
        try:
            stamp_ns, frame = pointcloud2.header_cdr(message.data)
            if stamp_ns == 0:
                raise CodecError("header.stamp is 0: the driver did not stamp the sweep")
            _, _, points, intensity, time_offset_ns = pointcloud2.decode_cdr(message.data)
        except CodecError as error:
            return self._rejected(message, topic, frame, stamp_ns, error)
        return Sweep(
            stream_id=f"{self._options.robot_id}/{frame}",
            stamp_ns=stamp_ns,
            frame=frame,
            points=points,
            intensity=intensity,
            time_offset_ns=time_offset_ns,
        )

    def _rejected(
        self, message: Message, topic: str, sensor: str, stamp_ns: int, error: CodecError
    ) -> SweepRejected:
        return SweepRejected(
            robot_id=self._options.robot_id,
            stream_id=f"{self._options.robot_id}/{sensor}",
            stamp_ns=stamp_ns,
            part=0,
            reason="corrupt",
            detail=f"{topic} at log time {message.log_time_ns}: {error}",
        )


class _Survey:
    """One pass over the readable chunks: how many messages, from when to when, and which frames."""

    def __init__(self, file: McapFile) -> None:
        self.counts: Counter[int] = Counter()
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self.sensors: set[tuple[str, str]] = set()
        self.damage = file.contents.damage or ""
        self._edges: set[tuple[str, str]] = set()
        self._registry = FrameRegistry(max_gap_ns=1)
        for unit in file.contents.units:
            try:
                messages = file.messages(unit)
            except DamageError as error:
                self.damage = str(error)
                break
            channels = file.channels()
            for message in messages:
                self._note(message, *channels.get(message.channel_id, ("", "")))

    def _note(self, message: Message, topic: str, kind: str) -> None:
        now = message.log_time_ns
        self.counts[message.channel_id] += 1
        self.start_ns = now if self.start_ns is None else min(now, self.start_ns)
        self.end_ns = now if self.end_ns is None else max(now, self.end_ns)
        try:
            if kind == POINTS_TYPE:
                self.sensors.add((topic, pointcloud2.header_cdr(message.data)[1]))
            elif kind == TF_TYPE:
                self._link(message.data)
        except CodecError:
            return  # rejected, with its reason, when it is read

    def _link(self, data: memoryview) -> None:
        for transform in tf.decode_cdr(data, robot_id=""):
            if (transform.parent, transform.child) in self._edges:
                continue
            try:
                self._registry.add(transform)
            except FrameError:
                continue  # refused, with its reason, when it is used
            self._edges.add((transform.parent, transform.child))

    def root(self, sensors: tuple[str, ...]) -> str | None:
        """Root above the first sensor that hangs from a tree, else of the first tree there is."""
        known = self._registry.frames()
        hanging = [frame for frame in sensors if frame in known] or known
        return self._registry.root(hanging[0]) if hanging else None
