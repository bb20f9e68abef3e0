"""A producer that knows nothing of octastream: what it sends is understood, and forecast from."""

from __future__ import annotations

import asyncio
import os
import runpy
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.FrameTransforms_pb2 import FrameTransforms
from foxglove_schemas_protobuf.PackedElementField_pb2 import PackedElementField
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud

from agents.kafka.settings import KafkaSettings
from stream.codecs.inputs import decode_sweep, decode_transforms
from stream.topics import BINNED, PREDICTIONS, REJECTED, STATIC, TRANSFORMS
from stream.topics import SWEEPS as SWEEPS_TOPIC
from tests.data import ROOT
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import fresh_topics, read

EXAMPLE = ROOT / "examples" / "produce_pointcloud2.py"
SWEEPS = 5
STAMP_NS = 1_700_000_000_123_456_789


def test_what_it_writes_is_ros_2s_own() -> None:
    example = runpy.run_path(str(EXAMPLE), run_name="example")
    points = example["scene"](1.0)
    sweep = decode_sweep(example["cloud"](STAMP_NS, points), [("octa_sensor", b"top")], b"ant")
    assert (sweep.stream_id, sweep.stamp_ns, sweep.frame) == ("ant/top", STAMP_NS, "lidar")
    np.testing.assert_array_equal(sweep.points, points[:, :3].astype(np.float32))
    np.testing.assert_array_equal(sweep.intensity, points[:, 3].astype(np.float32))

    data = example["transform"](STAMP_NS, "odom", "base_link", 1.5, 0.25)
    [transform] = decode_transforms(data, [], b"ant", static=False)
    assert (transform.parent, transform.child, transform.stamp_ns) == ("odom", "base_link", STAMP_NS)
    assert (transform.translation, transform.rotation) == ((1.5, 0.0, 0.25), (0.0, 0.0, 0.0, 1.0))


def worker_of(settings: KafkaSettings, log: Path, *options: str) -> subprocess.Popen[bytes]:
    """Perceive as an operator starts it."""
    command = [
        sys.executable, "-c", "import sys; from agents.cli import main; sys.exit(main())",
        "worker", "perceive", "--bootstrap", settings.bootstrap, "--partitions", str(settings.partitions),
        "--folder", str(settings.folder), "--set", "grid.map_frame=odom", *options,
    ]  # fmt: skip
    with log.open("wb") as file:
        return subprocess.Popen(
            command,
            cwd=log.parent,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def predictions_of(settings: KafkaSettings, worker: subprocess.Popen[bytes], log: Path) -> list[Any]:
    """One prediction a sweep, once they are there; the worker is told to stop."""
    try:
        end = time.monotonic() + 120
        while len(predictions := read(settings, PREDICTIONS)) < SWEEPS:
            assert worker.poll() is None, log.read_text()
            assert time.monotonic() < end, (log.read_text(), read(settings, REJECTED))
            time.sleep(0.5)
        return predictions
    finally:
        worker.terminate()
        worker.wait(60)


def check_forecasts(settings: KafkaSettings, predictions: list[Any]) -> None:
    assert [item.stream_id for item in predictions] == ["ant/top"] * SWEEPS
    assert all(len(item.cell_id) > 100 for item in predictions)
    assert read(settings, REJECTED) == []
    poses = [item.pose.reshape(3, 4)[:, 3] for item in read(settings, BINNED)]
    np.testing.assert_allclose(poses, [(0.2 * number, 0.0, 1.7) for number in range(SWEEPS)], atol=1e-9)


def test_a_worker_forecasts_from_what_it_sends(kafka: LocalBroker, tmp_path: Path) -> None:
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=2, folder=tmp_path / "state")
    fresh_topics(settings)
    log = tmp_path / "log"
    worker = worker_of(settings, log)
    subprocess.run([sys.executable, str(EXAMPLE), kafka.bootstrap, str(SWEEPS)], check=True, timeout=60)
    check_forecasts(settings, predictions_of(settings, worker, log))


# ---- Foxglove ------------------------------------------------------------------------------------------

CLOUD = "application/x-protobuf; schema=foxglove.PointCloud"
FRAME = "application/x-protobuf; schema=foxglove.FrameTransform"
FRAMED = "application/x-protobuf; schema=foxglove.FrameTransforms; framing=confluent"
REGISTRY = b"\x00\x00\x00\x00\x07\x00"
"""What a serializer of Confluent's puts first: magic byte, schema id, first message of the schema's file."""


def foxglove_cloud(stamp_ns: int, points: np.ndarray) -> bytes:
    message = PointCloud(frame_id="lidar", point_stride=16, data=points.astype("<f4").tobytes())
    message.timestamp.FromNanoseconds(stamp_ns)
    for place, name in enumerate(["x", "y", "z", "intensity"]):
        message.fields.add(name=name, offset=4 * place, type=PackedElementField.FLOAT32)
    return bytes(message.SerializeToString())


def foxglove_transform(stamp_ns: int, parent: str, child: str, x: float, z: float) -> FrameTransform:
    message = FrameTransform(
        parent_frame_id=parent, child_frame_id=child, translation={"x": x, "z": z}, rotation={"w": 1.0}
    )
    message.timestamp.FromNanoseconds(stamp_ns)
    return message


async def send_foxglove(bootstrap: str, transactional_id: str | None) -> None:
    """Clouds say what they are in; transforms do not, and those of the mount come from a schema registry.

    transactional_id : None sends without transactions, which end with markers that have offsets, too
    """
    scene = runpy.run_path(str(EXAMPLE), run_name="example")["scene"]
    start_ns = time.time_ns()
    headers = [("octa_sensor", b"top"), ("content-type", CLOUD.encode())]
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", transactional_id=transactional_id
    ) as producer:
        transaction = producer.transaction if transactional_id else nullcontext
        mount = FrameTransforms(transforms=[foxglove_transform(start_ns, "base_link", "lidar", 0.0, 1.7)])
        async with transaction():
            await producer.send_and_wait(STATIC, REGISTRY + mount.SerializeToString(), key=b"ant")
        for number in range(SWEEPS):
            stamp_ns, x = start_ns + number * 10**8, 0.2 * number
            pose = foxglove_transform(stamp_ns, "odom", "base_link", x, 0.0)
            async with transaction():
                await producer.send_and_wait(TRANSFORMS, pose.SerializeToString(), key=b"ant")
                await producer.send_and_wait(
                    SWEEPS_TOPIC, foxglove_cloud(stamp_ns, scene(x)), key=b"ant", headers=headers
                )
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("transactional_id", [None, "foxglove"])
def test_a_worker_forecasts_from_foxglove(
    kafka: LocalBroker, tmp_path: Path, transactional_id: str | None
) -> None:
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=2, folder=tmp_path / "state")
    fresh_topics(settings)
    log = tmp_path / "log"
    types = [f"{TRANSFORMS}={FRAME}", f"{STATIC}={FRAMED}"]
    worker = worker_of(settings, log, *(item for text in types for item in ("--content-type", text)))
    asyncio.run(send_foxglove(kafka.bootstrap, transactional_id))
    check_forecasts(settings, predictions_of(settings, worker, log))
