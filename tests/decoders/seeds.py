"""Inputs that are whole, from which a fuzzer goes on."""

from __future__ import annotations

import io
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from mcap.writer import CompressionType

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
from tests.data import ROOT
from tests.decoders.names import LOGS, MESSAGES
from tests.stream import test_las, test_mcap, test_pcd, test_ply, test_rosbag2

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
    """A small file of each format, as the tests of the format write them."""
    places = np.random.default_rng(1).normal(0, 5, (20, 4)).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = [test_ply.write(folder / f"{text}.ply", test_ply.vertices(), text) for text in (True, False)]
        logs = [
            test_mcap.write(folder / f"{kind.value}.mcap", test_mcap.drive(3), compression=kind)
            for kind in CompressionType
        ]
        test_rosbag2.write(folder / "bag", test_mcap.drive(3))
        return {
            ".pcd": [test_pcd.pcd(places, encoding) for encoding in test_pcd.ENCODINGS],
            ".ply": [path.read_bytes() for path in texts],
            ".las": [test_las.write(folder / "a.las").read_bytes()],
            ".mcap": [Path(log).read_bytes() for log in logs],
            ".db3": [(folder / "bag" / "bag.db3").read_bytes()],
            ".bin": [places.tobytes()],
            ".npy": [_saved(np.save, places > 0)],
            ".npz": [_saved(np.savez, occupancy=places > 0)],
        }


def _saved(save: Callable[..., None], *values: Any, **named: Any) -> bytes:
    file = io.BytesIO()
    save(file, *values, **named)
    return file.getvalue()
