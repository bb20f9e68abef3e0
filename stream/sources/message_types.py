"""Which message types of a log are read, and how: those of ROS 2 in CDR, those of Foxglove in protobuf."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stream.codecs import foxglove, pointcloud2, tf
from stream.transform import Transform

POINTS_TYPE = "sensor_msgs/msg/PointCloud2"
TF_TYPE = "tf2_msgs/msg/TFMessage"

_PROTOBUF = "{} in protobuf"

Data = bytes | memoryview
Cloud = tuple[int, str, NDArray[np.float32], NDArray[np.float32], NDArray[np.int32] | None]
"""Stamp in nanoseconds, frame, points, intensity and time offsets."""


class CloudType(NamedTuple):
    """How a cloud is read; both raise CodecError."""

    header: Callable[[Data], tuple[int, str]]
    decode: Callable[[Data], Cloud]


class DecodeTransforms(Protocol):
    """How a message of transforms is read; raises CodecError."""

    def __call__(self, data: Data, *, robot_id: str, static: bool = False) -> list[Transform]: ...


CLOUDS: dict[str, CloudType] = {
    POINTS_TYPE: CloudType(pointcloud2.header_cdr, pointcloud2.decode_cdr),
    _PROTOBUF.format(foxglove.CLOUD): CloudType(foxglove.header, foxglove.decode_cloud),
}
"""By type, as the log's container names it."""

FOXGLOVE_TRANSFORMS: dict[str, DecodeTransforms] = {
    _PROTOBUF.format(foxglove.TRANSFORM): foxglove.decode_transform,
    _PROTOBUF.format(foxglove.TRANSFORMS): foxglove.decode_transforms,
}
"""These do not say what holds for all time, and no topic does."""

TRANSFORMS: dict[str, DecodeTransforms] = {TF_TYPE: tf.decode_cdr} | FOXGLOVE_TRANSFORMS

_FOXGLOVE = (foxglove.CLOUD, foxglove.TRANSFORM, foxglove.TRANSFORMS)


def unread_clouds(topics: Iterable[tuple[str, str]]) -> str | None:
    """Why Foxglove's clouds of a log cannot be read; None where it has no such clouds."""
    return _in_another_encoding(topics, _FOXGLOVE[:1])


def unread_transforms(topics: Iterable[tuple[str, str]]) -> str | None:
    """The same of its transforms, None also where there are others that can be read."""
    topics = list(topics)
    if any(kind in TRANSFORMS for _, kind in topics):
        return None
    return _in_another_encoding(topics, _FOXGLOVE[1:])


def _in_another_encoding(topics: Iterable[tuple[str, str]], names: tuple[str, ...]) -> str | None:
    for topic, kind in topics:
        name, _, encoding = kind.partition(" in ")
        if name in names and encoding != "protobuf":
            return f"topic {topic} is {kind}; only protobuf is read, convert it to protobuf"
    return None


def missing_package(topics: Iterable[tuple[str, str]]) -> str | None:
    """What has to be installed before messages of these types can be read, None for nothing."""
    if not any(kind == _PROTOBUF.format(name) for _, kind in topics for name in _FOXGLOVE):
        return None
    try:
        foxglove.require()
    except ModuleNotFoundError as error:
        return str(error)
    return None
