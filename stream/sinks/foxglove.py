"""What is shown as messages of Foxglove, which Foxglove and all readers of its schemas draw."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.codecs import foxglove
from stream.codecs.inputs import encode_foxglove
from stream.sinks.base import EVENTS, TF, TF_STATIC, Cells, Line, Mounts, Shown, sweep_topic
from stream.sinks.mcap import McapSink, Message, Schema
from stream.sweep import Sweep
from stream.transform import Transform

ID_HIGH, ID_LOW = "cell_id_high", "cell_id_low"
"""A cell id in two columns of 32 bits, as a PointCloud has none of 64."""


def open_foxglove(path: Path) -> McapSink:
    """An MCAP file of PointCloud, FrameTransform, FrameTransforms and Log.

    Raises ModuleNotFoundError without the package of the schemas, OSError; no file is made then
    """
    foxglove.require()
    return McapSink(path, message_of)


def message_of(shown: Shown) -> Message:
    """One thing as a message; equal things give equal bytes.  Raises ValueError for a stamp below 0"""
    if isinstance(shown, Sweep):
        return Message(sweep_topic(shown), _schema(foxglove.CLOUD), encode_foxglove(shown), shown.stamp_ns)
    if isinstance(shown, Transform):
        data = foxglove.encode_transform(shown)
        return Message(TF, _schema(foxglove.TRANSFORM), data, shown.stamp_ns)
    if isinstance(shown, Mounts):
        newest_ns = max(transform.stamp_ns for transform in shown.transforms)
        data = foxglove.encode_transforms(shown.transforms)
        return Message(TF_STATIC, _schema(foxglove.TRANSFORMS), data, newest_ns)
    if isinstance(shown, Line):
        data = foxglove.encode_log(shown.stamp_ns, shown.level, shown.name, shown.text)
        return Message(EVENTS, _schema(foxglove.LOG), data, shown.stamp_ns)
    data = foxglove.encode_columns(shown.stamp_ns, shown.frame, columns_of(shown))
    return Message(shown.topic, _schema(foxglove.CLOUD), data, shown.stamp_ns)


def columns_of(cells: Cells) -> dict[str, NDArray[Any]]:
    """The columns of a cloud of cells: their sites, what is known of them, and their ids."""
    places = {name: cells.points[:, axis] for axis, name in enumerate("xyz")}
    ids = {ID_HIGH: cells.cell_id >> np.uint64(32), ID_LOW: cells.cell_id & np.uint64(0xFFFFFFFF)}
    return places | dict(cells.columns) | {name: half.astype(np.uint32) for name, half in ids.items()}


@cache
def _schema(name: str) -> Schema:
    return Schema(name, "protobuf", foxglove.schema_data(name), "protobuf")
