"""Inputs that are whole, from which a fuzzer goes on."""

from __future__ import annotations

import io
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import yaml
from mcap.writer import CompressionType, Writer
from plyfile import PlyData, PlyElement
from pypcd4 import Encoding, PointCloud

from agents.kafka.produce import FOXGLOVE, ROS2
from agents.simulation.run import stage
from stream.codecs.state import pack
from stream.codecs.wire import encode
from stream.config import load_config, to_dict
from stream.records import FeatureSample, LabelGiven, LabelRequested
from stream.sources import open_source
from stream.sources.base import SourceOptions
from stream.sweep import Sweep
from stream.topics import RECORDS, STATIC, SWEEPS, TRANSFORMS, topic_of
from stream.transform import Transform
from tests.data import ROOT
from tests.decoders.names import LOGS, MESSAGES

ROBOT = "robot"
SIMULATED = "sim:yard?seed=1&sweeps=3&beams=32&azimuths=64"
THIN = 100
"""One in so many points is kept: a fuzzer gets on with small inputs."""
WORLD = 7
"""A seed of the simulated cluster, whose log holds records of most topics."""
EACH = 3
"""Of every kind of record."""

_CELLS = np.arange(5, dtype=np.uint64)
_SAMPLE = FeatureSample(
    prediction_id="robot/lidar/1", robot_id=ROBOT, stream_id="robot/lidar", stamp_ns=1, cell_id=_CELLS,
    x=np.ones((5, 3), np.float32),
)  # fmt: skip
_REQUESTED = LabelRequested(
    robot_id=ROBOT, stamp_ns=1, region="1", reason="drawn", value=0.5, inclusion=0.25, cell_id=_CELLS
)
_GIVEN = LabelGiven(
    robot_id=ROBOT, stamp_ns=1, author="ann", label="car", at_ns=0, weight=1.0, cell_id=_CELLS
)
"""Of what no simulated agent writes."""


@cache
def _drive() -> list[Any]:
    items = open_source(SIMULATED, SourceOptions(robot_id=ROBOT))
    return [_thin(item) if isinstance(item, Sweep) else item for item in items]


def _thin(sweep: Sweep) -> Sweep:
    """Fewer points, and nothing that only the own format has a place for."""
    return replace(
        sweep,
        points=sweep.points[::THIN],
        intensity=sweep.intensity[::THIN],
        misses=sweep.misses[:0],
        time_offset_ns=None if sweep.time_offset_ns is None else sweep.time_offset_ns[::THIN],
    )


def mount(sweep: Sweep) -> list[Transform]:
    """Transforms that place a sweep, whatever its frame and stamp."""
    places = [("base_link", sweep.frame, True), ("odom", "base_link", False)]
    return [
        Transform(
            robot_id=sweep.robot_id, stamp_ns=sweep.stamp_ns, parent=parent, child=child,
            translation=(0.0, 0.0, 0.0), rotation=(0.0, 0.0, 0.0, 1.0), static=static,
        )
        for parent, child, static in places
    ]  # fmt: skip


def seeds_of(target: str) -> list[bytes]:
    """Whole inputs of a target, of which no two are equal."""
    return list(dict.fromkeys(_seeds()[target]))


@cache
def _seeds() -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = defaultdict(list)
    for topic, record in _records():
        found[MESSAGES[topic]].append(b"\1" + encode(record))
    for record in (_SAMPLE, _REQUESTED, _GIVEN):
        found[MESSAGES[topic_of(record)]].append(b"\1" + encode(record))
    for item in _drive():
        found[MESSAGES[topic_of(item)]].append(b"\1" + encode(item))
        for kind, words in ((0, ROS2), (2, FOXGLOVE)):
            if isinstance(item, Sweep):
                found[MESSAGES[SWEEPS]].append(bytes([kind]) + words.sweep(item))
            else:
                found[MESSAGES[TRANSFORMS]].append(bytes([kind]) + words.transforms([item]))
                found[MESSAGES[STATIC]].append(bytes([kind]) + words.transforms([item]))
    found["agents"] = found[MESSAGES[SWEEPS]]
    found["moves"] = found[MESSAGES[TRANSFORMS]]
    found["config"] = [
        yaml.safe_dump(to_dict(load_config(None, []))).encode(),
        b"grid: {lod: 9}\nlearn:\n  enabled: false\n",
    ]
    found["state"] = [pack({"a": np.arange(9), "b": [1, "two", None, {"c": np.zeros((2, 2))}]})]
    found["manifest"] = [path.read_bytes() for path in sorted((ROOT / "models").rglob("manifest.json"))]
    for suffix, name in LOGS.items():
        found[name] = _files()[suffix]
    return found


@cache
def _records() -> list[tuple[str, Any]]:
    """Some records of every topic that the agents of a simulated cluster write to."""
    cluster = stage(WORLD)
    cluster.run()
    found: dict[str, list[Any]] = {topic: [] for topic in set(RECORDS) - {SWEEPS, TRANSFORMS, STATIC}}
    for entry in cluster.log.all():
        topic = entry.place[0]
        if topic in found and len(found[topic]) < EACH:
            found[topic].append(entry.record)
    cluster.close()
    return [(topic, record) for topic, records in sorted(found.items()) for record in records]


@cache
def _files() -> dict[str, list[bytes]]:
    """A small file of each format."""
    places = np.random.default_rng(1).normal(0, 5, (20, 4)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        return {
            ".pcd": [_pcd(places, Path(folder) / f"{encoding.value}.pcd", encoding) for encoding in Encoding],
            ".ply": [_ply(places, text) for text in (True, False)],
            ".las": [_las(places, Path(folder) / "a.las")],
            ".mcap": [_mcap(compression) for compression in CompressionType],
            ".db3": [_db3(Path(folder) / "a.db3")],
            ".bin": [places.tobytes()],
            ".npy": [_saved(np.save, places > 0)],
            ".npz": [_saved(np.savez, occupancy=places > 0)],
        }


def _pcd(places: Any, path: Path, encoding: Encoding) -> bytes:
    PointCloud.from_xyzi_points(places).save(path, encoding)
    return path.read_bytes()


def _ply(places: Any, text: bool) -> bytes:
    table = np.rec.fromarrays(places.T, names="x,y,z,intensity")
    file = io.BytesIO()
    PlyData([PlyElement.describe(table, "vertex")], text=text).write(file)
    return file.getvalue()


def _las(places: Any, path: Path) -> bytes:
    cloud = laspy.LasData(laspy.LasHeader(point_format=6, version="1.4"))
    cloud.x, cloud.y, cloud.z = places[:, :3].T.astype(float)
    cloud.write(str(path))
    return path.read_bytes()


def _mcap(compression: CompressionType) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, compression=compression)
    writer.start("ros2")
    channels: dict[str, int] = {}
    for topic, kind, stamp_ns, data in _ros2():
        if topic not in channels:
            schema = writer.register_schema(kind, "ros2msg", b"")
            channels[topic] = writer.register_channel(topic, "cdr", schema)
        writer.add_message(channels[topic], stamp_ns, data, stamp_ns)
    writer.finish()
    return file.getvalue()


def _db3(path: Path) -> bytes:
    with sqlite3.connect(path) as base:
        base.execute(
            "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,"
            " serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL)"
        )
        base.execute(
            "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL,"
            " timestamp INTEGER NOT NULL, data BLOB NOT NULL)"
        )
        ids: dict[str, int] = {}
        for topic, kind, stamp_ns, data in _ros2():
            if topic not in ids:
                ids[topic] = len(ids) + 1
                base.execute("INSERT INTO topics VALUES (?, ?, ?, 'cdr', '')", (ids[topic], topic, kind))
            base.execute(
                "INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)",
                (ids[topic], stamp_ns, data),
            )
    base.close()
    return path.read_bytes()


def _ros2() -> Iterator[tuple[str, str, int, bytes]]:
    """Topic, type, stamp and payload of the messages of a drive."""
    for item in _drive():
        if isinstance(item, Sweep):
            yield "/points", "sensor_msgs/msg/PointCloud2", item.stamp_ns, ROS2.sweep(item)
        else:
            topic = "/tf_static" if item.static else "/tf"
            yield topic, "tf2_msgs/msg/TFMessage", item.stamp_ns, ROS2.transforms([item])


def _saved(save: Callable[..., None], *values: Any, **named: Any) -> bytes:
    file = io.BytesIO()
    save(file, *values, **named)
    return file.getvalue()
