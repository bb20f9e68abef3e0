"""A message of ROS 2 or Foxglove, as a log keeps it or a robot sends it, as sweeps and transforms."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

from stream.codecs.cdr import CodecError
from stream.records import SweepRejected
from stream.sources.message_types import CLOUDS, FOXGLOVE_TRANSFORMS, TRANSFORMS
from stream.sweep import Sweep
from stream.transform import Transform

STATIC_TOPIC = "/tf_static"
"""A topic of transforms that ends so holds for all time."""

Edge = tuple[str, str]
"""Parent and child."""


class LoggedMessage(NamedTuple):
    """One message as it was logged: when, on which topic, of which type, and its payload."""

    log_time_ns: int
    topic: str
    kind: str
    data: bytes | memoryview


def items_of(
    message: LoggedMessage, robot_id: str, mounts: frozenset[Edge] = frozenset()
) -> Iterator[Sweep | Transform | SweepRejected]:
    """What a message of one of CLOUDS or TRANSFORMS says: one sweep, or its transforms in their order.

    mounts : edges of Foxglove's messages that hold for all time, since these do not say so
    A message that cannot be decoded is a SweepRejected with the reason ``corrupt``; stamps are the message's
    own, the log's time stands for one that cannot be read.
    """
    if message.kind in TRANSFORMS:
        yield from _transforms(message, robot_id, mounts)
    else:
        yield _sweep(message, robot_id)


def _transforms(
    message: LoggedMessage, robot_id: str, mounts: frozenset[Edge]
) -> Iterator[Transform | SweepRejected]:
    topic, decode = message.topic, TRANSFORMS[message.kind]
    static = topic.endswith(STATIC_TOPIC)
    try:
        transforms = decode(message.data, robot_id=robot_id, static=static)
    except CodecError as error:
        yield _rejected(message, robot_id, topic.removeprefix("/"), message.log_time_ns, error)
        return
    for transform in transforms:
        lone = message.kind in FOXGLOVE_TRANSFORMS and (transform.parent, transform.child) in mounts
        yield dataclasses.replace(transform, static=True) if lone else transform


def _sweep(message: LoggedMessage, robot_id: str) -> Sweep | SweepRejected:
    frame, stamp_ns = message.topic.removeprefix("/"), message.log_time_ns
    cloud = CLOUDS[message.kind]
    try:
        stamp_ns, frame = cloud.header(message.data)
        if stamp_ns == 0:
            raise CodecError("header.stamp is 0: the driver did not stamp the sweep")
        _, _, points, intensity, time_offset_ns = cloud.decode(message.data)
    except CodecError as error:
        return _rejected(message, robot_id, frame, stamp_ns, error)
    return Sweep(
        stream_id=f"{robot_id}/{frame}",
        stamp_ns=stamp_ns,
        frame=frame,
        points=points,
        intensity=intensity,
        time_offset_ns=time_offset_ns,
    )


def _rejected(
    message: LoggedMessage, robot_id: str, sensor: str, stamp_ns: int, error: CodecError
) -> SweepRejected:
    return SweepRejected(
        robot_id=robot_id,
        stream_id=f"{robot_id}/{sensor}",
        stamp_ns=stamp_ns,
        part=0,
        reason="corrupt",
        detail=f"{message.topic} at log time {message.log_time_ns}: {error}",
    )
