"""Inputs that are whole, from which a fuzzer goes on."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from agents.care.receipt import Receipt
from agents.care.subject import Subject
from agents.journal import Claim, Order
from agents.kafka.messages import encode_answer, encode_entry, encode_snapshot
from agents.kafka.produce import FOXGLOVE, ROS2
from agents.operations import Memory
from agents.protocol import Example, Labels, LoadModel, ModelLoaded, Train, Trained, TrainingFailed
from agents.simulation.run import stage
from agents.task import Answer
from models.canary import NEIGHBORS
from stream.codecs.content_type import CDR, PROTOBUF
from stream.codecs.foxglove import CLOUD, TRANSFORM, encode_transform
from stream.codecs.foxglove import TRANSFORMS as MANY
from stream.codecs.inputs import KIND, MAP_RESET, PART, PARTS, SENSOR
from stream.codecs.state import pack
from stream.codecs.wire import CONTENT_TYPE, encode
from stream.records import Binned, FeatureSample, LabelGiven, LabelRequested
from stream.sources import open_source
from stream.sources.base import SourceOptions
from stream.sweep import Sweep
from stream.topics import RECORDS, STATIC, SWEEPS, TRANSFORMS, topic_of
from stream.transform import Transform
from tests.decoders.file_seeds import IDS, file_seeds
from tests.decoders.messages import ROBOT, perceive
from tests.decoders.names import MESSAGES
from tests.decoders.parts import join
from tests.stream.test_foxglove_session import advertise, data

SIMULATED = "sim:yard?seed=1&sweeps=3&beams=32&azimuths=64"
THIN = 100
"""One in so many points is kept: a fuzzer gets on with small inputs."""
WORLD = 7
"""A seed of the simulated cluster, whose log holds records of most topics."""
EACH = 3
"""Of every kind of record."""
CONFLUENT = b"\0\0\0\0\1\0"
"""Before a message: the number of its schema, and that it is the first in it."""

_SAMPLE = FeatureSample(
    prediction_id="robot/lidar/1", robot_id=ROBOT, stream_id="robot/lidar", stamp_ns=1, cell_id=IDS[:5],
    x=np.ones((5, 3), np.float32),
)  # fmt: skip
_REQUESTED = LabelRequested(
    robot_id=ROBOT, stamp_ns=1, region="1", reason="drawn", value=0.5, inclusion=0.25, cell_id=IDS[:5]
)
_GIVEN = LabelGiven(
    robot_id=ROBOT, stamp_ns=1, author="ann", label="car", at_ns=0, weight=1.0, cell_id=IDS[:5]
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
        points=sweep.points[::THIN].copy(),
        intensity=sweep.intensity[::THIN].copy(),
        misses=sweep.misses[:0],
        time_offset_ns=None if sweep.time_offset_ns is None else sweep.time_offset_ns[::THIN].copy(),
    )


def seeds_of(target: str) -> list[bytes]:
    """Whole inputs of a target, of which no two are equal."""
    kinds = (_of_files, _of_tasks, _asked, _of_robots, _messages)  # what is quickly made comes first
    return next(list(dict.fromkeys(kind()[target])) for kind in kinds if target in kind())


@cache
def _of_files() -> dict[str, list[bytes]]:
    sweep = next(item for item in _drive() if isinstance(item, Sweep))
    return file_seeds([item for item in perceive(sweep) if isinstance(item, Binned)], _GIVEN)


@cache
def _of_robots() -> dict[str, list[bytes]]:
    found = _sent()
    return {
        "agents": found[MESSAGES[SWEEPS]],
        "moves": found[MESSAGES[TRANSFORMS]],
        "headers": list(_with_headers()),
    }


@cache
def _messages() -> dict[str, list[bytes]]:
    """Of every topic."""
    found = _sent()
    for topic, record in _records():
        found[MESSAGES[topic]].append(b"\1" + encode(record))
    for record in (_SAMPLE, _REQUESTED, _GIVEN):
        found[MESSAGES[topic_of(record)]].append(b"\1" + encode(record))
    return found


def _sent() -> dict[str, list[bytes]]:
    """Sweeps and transforms in each format, which the first byte names."""
    found: dict[str, list[bytes]] = defaultdict(list)
    for item in _drive():
        found[MESSAGES[topic_of(item)]].append(b"\1" + encode(item))
        for kind, words in ((0, ROS2), (2, FOXGLOVE)):
            if isinstance(item, Sweep):
                found[MESSAGES[SWEEPS]].append(bytes([kind]) + words.sweep(item))
            else:
                found[MESSAGES[TRANSFORMS]].append(bytes([kind]) + words.transforms([item]))
                found[MESSAGES[STATIC]].append(bytes([kind]) + words.transforms([item]))
    return found


def _with_headers() -> Iterable[bytes]:
    """Messages in each format and framing, with every header that is read."""
    sweep = next(item for item in _drive() if isinstance(item, Sweep))
    move = next(item for item in _drive() if isinstance(item, Transform) and not item.static)
    part = {SENSOR: "top", PART: "0", PARTS: "2"}
    reset = {MAP_RESET: "1"}
    sent: list[tuple[int, str, bytes, dict[str, str]]] = [
        (0, CDR, ROS2.sweep(sweep), part),
        (0, f"{PROTOBUF}; schema={CLOUD}", FOXGLOVE.sweep(sweep), part),
        (0, CONTENT_TYPE, encode(sweep), {PART: "0", PARTS: "1"}),
        (1, CDR, ROS2.transforms([move]), reset),
        (1, f"{PROTOBUF}; schema={MANY}", FOXGLOVE.transforms([move]), reset),
        (1, f"{PROTOBUF}; schema={TRANSFORM}", encode_transform(move), reset),
        (2, f"{PROTOBUF}; schema={TRANSFORM}", encode_transform(move), {}),
        (1, CONTENT_TYPE, encode(move), reset),
    ]
    for topic, kind, value, more in sent:
        yield _message(topic, {KIND: kind, **more}, value)
        if kind.startswith(PROTOBUF):
            yield _message(topic, {KIND: f"{kind}; framing=confluent", **more}, CONFLUENT + value)


def _message(topic: int, headers: dict[str, str], value: bytes) -> bytes:
    named = [text.encode() for item in headers.items() for text in item]
    return join([bytes([topic]), ROBOT.encode(), *named, value])


@cache
def _of_tasks() -> dict[str, list[bytes]]:
    """What a task writes for itself and its successors, and what they are told live."""
    load = LoadModel(model_id="m1", stamp_ns=5, number=1)
    cells, around = np.zeros((2, 3), np.float32), np.full((2, NEIGHBORS), 2, np.int32)
    example = Example(
        prediction_id="robot/lidar/1", stamp_ns=5, x=cells, neighbor_index=around, azimuth=cells[:, 0]
    )
    labels = Labels(
        prediction_id="robot/lidar/1",
        horizon=0,
        row=np.arange(2, dtype=np.int32),
        occupied=np.ones(2, np.bool_),
    )
    train = Train(
        lineage="a", stamp_ns=5, examples=(example,), labels=(labels,), steps=3, sources=({"robot": "a"},)
    )
    loaded = ModelLoaded(model_id="m1", stamp_ns=5, sha256="", model=None, reason="damaged")
    trained = Trained(
        lineage="a", stamp_ns=5, data=b"onnx", model=None,  # type: ignore[arg-type]
        weights={"w": np.ones(3, np.float32)}, report={"loss": 0.5},
    )  # fmt: skip
    memory = Memory(
        claim=1, journal=9, positions={(SWEEPS, 0): 4},
        waiting={("sweep", "robot/lidar", 5): [((SWEEPS, 0), 3)]},
        open={"perceive-0/8/0": load, "learn-0/8/1": train},
    )  # fmt: skip
    answers = [loaded, trained, TrainingFailed(lineage="a", stamp_ns=5, reason="diverged"), None]
    texts = [advertise(3, 7, 9), '{"op": "status", "level": 2, "message": "Channel 3 is not there"}']
    return {
        "journal": [encode_entry(Claim("worker 1")), encode_entry(Order(1, (((SWEEPS, 0), 3),)))],
        "answer": [encode_answer(Answer("learn-0/8/1", record)) for record in answers],
        "snapshot": [encode_snapshot(pack({"a": np.arange(3)}), memory).pack()],
        "state": [pack({"a": np.arange(9), "b": [1, "two", None, {"c": np.zeros((2, 2))}]})],
        "session": [
            join(
                [
                    texts[0].encode(),
                    b"\0" + data(3),
                    texts[1].encode(),
                    b'{"op": "unadvertise", "channelIds": [3]}',
                ]
            )
        ],
    }


@cache
def _asked() -> dict[str, list[bytes]]:
    asked = (
        {"kind": "watch", "robot": ROBOT, "level": 5, "live": True},
        {"kind": "watch", "robot": ROBOT, "level": "mixed"},
        {"kind": "past", "stamp_ns": 5, "step": -1},
        {"kind": "cell", "cell_id": str(IDS[0])},
        {"kind": "region", "region": int(IDS[0])},
        {"kind": "ping", "at": 0.5},
    )
    ticket = {"columns": ["hits"], "rank": 0, "world_size": 2, "batch_rows": 100}
    receipt = Receipt.begin("deletion", Subject(robot_id=ROBOT), 1)
    return {
        "live": [json.dumps(values).encode() for values in asked],
        "flight": [json.dumps(ticket).encode(), b"{}"],
        "tensors": [_tensors()],
        "receipt": [receipt.to_json().encode()],
    }


def _tensors() -> bytes:
    around = pa.FixedSizeListArray.from_arrays(pa.array(np.full(2 * NEIGHBORS, 2, np.int32)), NEIGHBORS)
    x = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(6, np.float32)), 3)
    batch = pa.record_batch({"x": x, "neighbor_index": around})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


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
